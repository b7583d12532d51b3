"""Tasks: the words that a card may write as `pipeline_tag`, with how they are read."""

from __future__ import annotations

_WORDS = """
any-to-any audio-classification audio-text-to-text audio-to-audio automatic-speech-recognition
depth-estimation document-question-answering visual-document-retrieval feature-extraction fill-mask
graph-ml image-classification image-feature-extraction image-segmentation image-text-to-image
image-text-to-text image-text-to-video image-to-3d image-to-image image-to-text image-to-video
keypoint-detection mask-generation multiple-choice object-detection question-answering
reinforcement-learning robotics sentence-similarity summarization table-question-answering
tabular-classification tabular-regression text-classification text-generation text-ranking
text-retrieval text-to-3d text-to-audio text-to-image text-to-speech text-to-video
time-series-forecasting token-classification translation unconditional-image-generation
video-classification video-text-to-text video-to-video visual-question-answering
voice-activity-detection zero-shot-classification zero-shot-image-classification
zero-shot-object-detection
"""
_SHORT = {"ml": "ML", "3d": "3D", "to": "to"}
PIPELINE_TAGS: tuple[str, ...] = tuple(sorted(_WORDS.split()))


def label(tag: str) -> str:
    """`text-to-3d` as people write it: `Text to 3D`."""
    return " ".join(_SHORT.get(word, word.capitalize()) for word in tag.split("-"))
