"""Query files: the file whose requests are counted as downloads of a model.

Hugging Face counts every GET and HEAD of a repo's query file: one of five by default, others for
some libraries, and every GGUF file. Source of the rows: `model-libraries.ts` of the package
`@huggingface/tasks` 0.21.54. The libraries here are those that self-hosted hubs are likely to
hold; one that is not listed counts by the default, as most of the public hub's do.
"""

from __future__ import annotations

DEFAULT = frozenset({"config.json", "config.yaml", "hyperparams.yaml", "params.json", "meta.yaml"})
# Library -> whole paths, and endings written with a star.
LIBRARIES: dict[str, frozenset[str]] = {
    "adapter-transformers": frozenset({"adapter_config.json"}),
    "asteroid": frozenset({"pytorch_model.bin"}),
    "audiocraft": frozenset({"state_dict.bin"}),
    "chat_tts": frozenset({"asset/GPT.pt"}),
    "f5-tts": frozenset({"*.safetensors", "*.pt"}),
    "fasttext": frozenset({"*.bin"}),
    "flair": frozenset({"pytorch_model.bin"}),
    "keras": frozenset({"config.json", "*.keras"}),
    "litert": frozenset({"*.tflite"}),
    "ml-agents": frozenset({"*.onnx"}),
    "mlc-llm": frozenset({"mlc-chat-config.json"}),
    "nemo": frozenset({"*.nemo", "model_config.yaml", "*.json"}),
    "open_clip": frozenset(
        {
            "open_clip_model.safetensors",
            "model.safetensors",
            "open_clip_pytorch_model.bin",
            "pytorch_model.bin",
        }
    ),
    "paddlenlp": frozenset({"model_config.json"}),
    "peft": frozenset({"adapter_config.json"}),
    "sam2": frozenset({"*.pt"}),
    "sample-factory": frozenset({"cfg.json"}),
    "sklearn": frozenset({"sklearn_model.joblib"}),
    "spacy": frozenset({"*.whl"}),
    "speechbrain": frozenset({"hyperparams.yaml"}),
    "stable-baselines3": frozenset({"*.zip"}),
    "stanza": frozenset({"models/default.zip"}),
    "timm": frozenset({"pytorch_model.bin", "model.safetensors"}),
    "ultralytics": frozenset({"*.pt"}),
    "unity-sentis": frozenset({"*.sentis"}),
}


def is_query_file(library: str | None, path: str) -> bool:
    """Whether a request for `path` of a model made with `library` is a download of it."""
    if path.endswith(".gguf"):
        return True
    rules = LIBRARIES.get(library or "", DEFAULT)
    _, dot, ending = path.rpartition(".")
    return path in rules or (bool(dot) and f"*.{ending}" in rules)
