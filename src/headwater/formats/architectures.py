"""What the class names in a `config.json` say of a model's task and of the class that loads it.

    task_of(config) -> "text-generation" | … | None
    auto_model_of(config) -> ("AutoModelForCausalLM", "AutoTokenizer") | None

`transformers` names its classes by task, so the ending tells. Only what the ending says for certain
stands here; encoder-decoders that may do several things are named by model type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEXT, _IMAGE, _SOUND, _BOTH = (
    "AutoTokenizer", "AutoImageProcessor", "AutoFeatureExtractor", "AutoProcessor"
)  # fmt: skip
# Ending of the architecture -> task, auto class, processor. Longer endings stand first.
_ENDINGS: tuple[tuple[str, str, str, str], ...] = (
    ("ForCausalLM", "text-generation", "AutoModelForCausalLM", _TEXT),
    ("LMHeadModel", "text-generation", "AutoModelForCausalLM", _TEXT),
    ("ForMaskedLM", "fill-mask", "AutoModelForMaskedLM", _TEXT),
    ("ForVideoClassification", "video-classification", "AutoModelForVideoClassification", _IMAGE),
    ("ForImageClassification", "image-classification", "AutoModelForImageClassification", _IMAGE),
    ("ForAudioClassification", "audio-classification", "AutoModelForAudioClassification", _SOUND),
    ("ForSequenceClassification", "text-classification", "AutoModelForSequenceClassification",
     _TEXT),
    ("ForTokenClassification", "token-classification", "AutoModelForTokenClassification", _TEXT),
    ("ForTableQuestionAnswering", "table-question-answering", "AutoModelForTableQuestionAnswering",
     _TEXT),
    ("ForQuestionAnswering", "question-answering", "AutoModelForQuestionAnswering", _TEXT),
    ("ForMultipleChoice", "multiple-choice", "AutoModelForMultipleChoice", _TEXT),
    ("ForZeroShotObjectDetection", "zero-shot-object-detection",
     "AutoModelForZeroShotObjectDetection", _BOTH),
    ("ForObjectDetection", "object-detection", "AutoModelForObjectDetection", _IMAGE),
    ("ForSemanticSegmentation", "image-segmentation", "AutoModelForSemanticSegmentation", _IMAGE),
    ("ForDepthEstimation", "depth-estimation", "AutoModelForDepthEstimation", _IMAGE),
    ("ForSpeechSeq2Seq", "automatic-speech-recognition", "AutoModelForSpeechSeq2Seq", _BOTH),
    ("ForCTC", "automatic-speech-recognition", "AutoModelForCTC", _BOTH),
)  # fmt: skip
# Model type -> the same, for endings that leave it open (ForConditionalGeneration, MTModel).
_TYPES: dict[str, tuple[str, str, str]] = {
    "whisper": ("automatic-speech-recognition", "AutoModelForSpeechSeq2Seq", _BOTH),
    "marian": ("translation", "AutoModelForSeq2SeqLM", _TEXT),
    "m2m_100": ("translation", "AutoModelForSeq2SeqLM", _TEXT),
    "pegasus": ("summarization", "AutoModelForSeq2SeqLM", _TEXT),
    "clip": ("zero-shot-image-classification", "AutoModelForZeroShotImageClassification", _BOTH),
    "siglip": ("zero-shot-image-classification", "AutoModelForZeroShotImageClassification", _BOTH),
    "llava": ("image-text-to-text", "AutoModelForImageTextToText", _BOTH),
    "qwen2_vl": ("image-text-to-text", "AutoModelForImageTextToText", _BOTH),
    "qwen2_5_vl": ("image-text-to-text", "AutoModelForImageTextToText", _BOTH),
    "vits": ("text-to-speech", "AutoModelForTextToWaveform", _TEXT),
}


def _row(config: Mapping[str, Any]) -> tuple[str, str, str] | None:
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    for ending, *row in _ENDINGS:
        if name.endswith(ending):
            return row[0], row[1], row[2]
    kind = config.get("model_type")
    return _TYPES.get(kind) if name and isinstance(kind, str) else None


def task_of(config: Mapping[str, Any]) -> str | None:
    """The `pipeline_tag` that a model without one has."""
    row = _row(config)
    return row[0] if row else None


def auto_model_of(config: Mapping[str, Any]) -> tuple[str, str] | None:
    """The auto class that loads it, and the one that prepares its input."""
    row = _row(config)
    return (row[1], row[2]) if row else None
