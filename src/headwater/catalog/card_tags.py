"""The tags that a card, a config and the names of files come to.

    tags_of(known) -> the tags, in order of importance, not yet bounded
    bases_of(known) -> [(base, relation)]: what the card says that the model was made from

Hugging Face's prefixes (`license:`, `dataset:`, `base_model:finetune:` …), so that the client's
filters find what they look for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from headwater.formats.architectures import task_of
from headwater.names import RepoType

BASES_MAX = 50  # of one model; a merge of more than some dozens is not seen
BASE_CHARS_MAX = 180  # with its prefix a tag still fits
ARXIV_MAX = 50  # papers of one card
FIELD_CHARS_MAX = 96  # the columns' width
REGION = "region:us"  # what clients of the public hub filter by: a hub has one place
RELATIONS = frozenset({"finetune", "adapter", "quantized", "merge"})
_BY_ENDING = {
    ".safetensors": "safetensors",
    ".gguf": "gguf",
    ".onnx": "onnx",
    ".bin": "pytorch",
    ".pt": "pytorch",
    ".h5": "tf",
    ".msgpack": "jax",
}
# Card fields whose values become `field:value` on datasets.
_DATASET_FIELDS = (
    "task_categories task_ids size_categories language_creators annotations_creators "
    "multilinguality source_datasets"
).split()
_ARXIV = re.compile(
    r"(?:arxiv\.org/(?:abs|pdf|html)/|arxiv:\s?|(?:huggingface\.co|hf\.co)/papers/)"
    r"(\d{4}\.\d{4,5})(?!\d)",
    re.IGNORECASE | re.ASCII,
)
_ARXIV_ID = re.compile(r"\d{4}\.\d{4,5}\Z", re.ASCII)
_DOI = re.compile(r"(?:https?://doi\.org/|doi:)?(10\.\d{4,9}/\S{1,120})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Known:
    """What a repo says of itself, read and bounded."""

    type: RepoType
    card: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    text: str = ""  # the README below its front matter

    @property
    def library(self) -> str | None:
        """As the card says; else by the files that only one library writes."""
        stated = one_text(self.card.get("library_name"))
        if stated or self.type != "model":
            return stated
        for name, library in (
            ("modules.json", "sentence-transformers"),
            ("adapter_config.json", "peft"),
            ("model_index.json", "diffusers"),
        ):
            if name in self.names:
                return library
        return "transformers" if "model_type" in self.config else None

    @property
    def pipeline(self) -> str | None:
        """As the card says; else as the architecture does."""
        stated = one_text(self.card.get("pipeline_tag"))
        if stated or self.type != "model":
            return stated
        if self.library == "sentence-transformers":
            return "sentence-similarity"
        return task_of(self.config) if self.library == "transformers" else None


def one_text(value: Any) -> str | None:
    """A card field that a column of its own will hold."""
    fits = isinstance(value, str) and 0 < len(value) <= FIELD_CHARS_MAX and value.isprintable()
    return value if fits else None


def texts(value: Any) -> list[str]:
    """A card field that may be one text or a list of them."""
    if isinstance(value, str):
        return [value]
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def tags_of(known: Known) -> Iterator[str]:
    card, is_model = known.card, known.type == "model"
    yield from (tag for tag in (known.library, known.pipeline) if tag)
    if known.type == "space" and (sdk := one_text(card.get("sdk"))):
        yield sdk
    if is_model:
        names = known.names
        yield from sorted(
            {t for name in names for end, t in _BY_ENDING.items() if name.endswith(end)}
        )
        yield from _config_tags(known.config)
    yield from texts(card.get("tags"))
    yield from (f"license:{value}" for value in texts(card.get("license")))
    language = "language:" if known.type == "dataset" else ""
    yield from (language + value for value in texts(card.get("language")))
    yield from (f"dataset:{value}" for value in texts(card.get("datasets")))
    if known.type == "space":
        yield from (f"model:{value}" for value in texts(card.get("models")))
    if known.type == "dataset":
        for name in _DATASET_FIELDS:
            yield from (f"{name}:{value}" for value in texts(card.get(name)))
    if is_model:
        if card.get("model-index") or card.get("eval_results"):
            yield "eval-results"
        for base, relation in bases_of(known):
            yield f"base_model:{base}"
            yield f"base_model:{relation}:{base}"
    yield from _papers(known)
    yield REGION


def _config_tags(config: dict[str, Any]) -> Iterator[str]:
    kind = one_text(config.get("model_type"))
    if kind:
        yield kind
    if "auto_map" in config:
        yield "custom_code"
    quantized = config.get("quantization_config")
    if isinstance(quantized, dict):
        method = one_text(quantized.get("quant_method"))
        if method:
            yield method
        bits = quantized.get("bits") or (4 if quantized.get("load_in_4bit") is True else None)
        bits = bits or (8 if quantized.get("load_in_8bit") is True else None)
        if bits in (4, 8):
            yield f"{bits}-bit"


def _papers(known: Known) -> Iterator[str]:
    """Papers and DOIs that the card's fields name, and papers that its text links to."""
    found = dict.fromkeys(v for v in texts(known.card.get("arxiv")) if _ARXIV_ID.match(v))
    found |= dict.fromkeys(match[1] for match in _ARXIV.finditer(known.text))
    yield from (f"arxiv:{paper}" for paper in list(found)[:ARXIV_MAX])
    for text in texts(known.card.get("doi")):
        if match := _DOI.match(text):
            yield f"doi:{match[1]}"


def bases_of(known: Known) -> list[tuple[str, str]]:
    """(base, relation) for each `base_model` of a model's card."""
    if known.type != "model":
        return []
    bases = [b for b in dict.fromkeys(texts(known.card.get("base_model"))) if _is_base(b)]
    stated = known.card.get("base_model_relation")
    is_known = isinstance(stated, str) and stated in RELATIONS
    relation = str(stated) if is_known else _relation(bases, known.names)
    return [(base, relation) for base in bases[:BASES_MAX]]


def _is_base(text: str) -> bool:
    return 0 < len(text) <= BASE_CHARS_MAX and text.isprintable()


def _relation(bases: list[str], names: tuple[str, ...]) -> str:
    """What a card leaves unsaid, by the hub's usual rule."""
    if len(bases) > 1:
        return "merge"
    if "adapter_config.json" in names:
        return "adapter"
    return "quantized" if any(name.endswith(".gguf") for name in names) else "finetune"
