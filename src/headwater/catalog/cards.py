"""Cards: what a repo says of itself, as tags that listings filter by.

Read when `main` moves, in the same transaction, from README.md's front matter, config.json and
the kinds of files there are. Whatever is wrong in them is left out; a commit never fails by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from headwater.catalog import schema as s
from headwater.catalog.clock import now_ms
from headwater.catalog.files import Files
from headwater.catalog.git import GitObjects
from headwater.catalog.models import Repo
from headwater.errors import HeadwaterError
from headwater.formats.front_matter import read_card
from headwater.names import GitOid

TAG_CHARS_MAX = 200
FIELD_CHARS_MAX = 96  # the columns' width
TAGS_MAX = 500  # of one repo; real cards have up to some dozens
FILES_LOOKED_AT_MAX = 5_000  # for their endings
CONFIG_BYTES_MAX = 2**20
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
_CONFIG_KEYS = ("architectures", "model_type", "quantization_config", "tokenizer_config")
# Card fields whose values become `field:value` on datasets (Hugging Face's prefixes).
_DATASET_FIELDS = (
    "task_categories",
    "task_ids",
    "size_categories",
    "language_creators",
    "annotations_creators",
    "multilinguality",
    "source_datasets",
)


def refresh(files: Files, git: GitObjects, conn: Connection, repo: Repo, tree: GitOid) -> None:
    """Set the repo's card, config, tags and time from the tree that `main` now has."""
    oids = files.path_oids(conn, repo.id, tree, ["README.md", "config.json"])
    card = _card(git, conn, repo, oids["README.md"])
    config = _config(git, conn, repo, oids["config.json"])
    walk = files.walk(conn, repo.id, tree, "", True, ())
    names = [found.path for found in islice(walk, FILES_LOOKED_AT_MAX)]
    implied = "transformers" if "model_type" in config else None
    library = _text(card.get("library_name")) or implied
    pipeline = _text(card.get("pipeline_tag"))
    found = (tag for tag in _tags(repo, card, names, library, pipeline) if _fits(tag))
    tags = sorted(islice(dict.fromkeys(found), TAGS_MAX))
    conn.execute(
        update(s.repo)
        .where(s.repo.c.id == repo.id)
        .values(
            card=msgspec.json.encode(card).decode(),
            config=msgspec.json.encode(config).decode(),
            tags=msgspec.json.encode(tags).decode(),
            library_name=library,
            pipeline_tag=pipeline,
            updated_ms=now_ms(),
        )
    )
    conn.execute(delete(s.repo_tag).where(s.repo_tag.c.repo_id == repo.id))
    if tags:
        conn.execute(insert(s.repo_tag), [{"repo_id": repo.id, "tag": tag} for tag in tags])


def _fits(tag: str) -> bool:
    return 0 < len(tag) <= TAG_CHARS_MAX and tag.isprintable()


def _ordinary(
    git: GitObjects, conn: Connection, repo: Repo, oid: GitOid | None, bytes_max: int
) -> bytes | None:
    """An ordinary file's bytes; None when absent, large or an LFS pointer."""
    if oid is None:
        return None
    row = conn.execute(
        select(s.git_object.c.lfs_oid, s.git_object.c.size_bytes).where(
            s.git_object.c.repo_id == repo.id, s.git_object.c.oid == oid
        )
    ).one_or_none()
    if row is None or row.lfs_oid is not None or row.size_bytes > bytes_max:
        return None
    try:
        return git.read(conn, repo.id, oid, "blob")
    except HeadwaterError:
        return None


def _card(git: GitObjects, conn: Connection, repo: Repo, oid: GitOid | None) -> dict[str, Any]:
    text = _ordinary(git, conn, repo, oid, 10 * 2**20)
    return dict(read_card(text).metadata) if text else {}


def _config(git: GitObjects, conn: Connection, repo: Repo, oid: GitOid | None) -> dict[str, Any]:
    text = _ordinary(git, conn, repo, oid, CONFIG_BYTES_MAX)
    try:
        config = msgspec.json.decode(text) if text else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return {k: config[k] for k in _CONFIG_KEYS if k in config} if isinstance(config, dict) else {}


def _text(value: Any) -> str | None:
    """A card field that a column of its own will hold."""
    fits = isinstance(value, str) and 0 < len(value) <= FIELD_CHARS_MAX and value.isprintable()
    return value if fits else None


def _texts(value: Any) -> list[str]:
    """A card field that may be one text or a list of them."""
    if isinstance(value, str):
        return [value]
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def _tags(
    repo: Repo, card: dict[str, Any], names: list[str], library: str | None, pipeline: str | None
) -> Iterator[str]:
    yield from (tag for tag in (library, pipeline) if tag)
    if repo.type == "model":
        kinds = {tag for name in names for end, tag in _BY_ENDING.items() if name.endswith(end)}
        yield from sorted(kinds)
    yield from _texts(card.get("tags"))
    yield from (f"license:{value}" for value in _texts(card.get("license")))
    language = "language:" if repo.type == "dataset" else ""
    yield from (language + value for value in _texts(card.get("language")))
    yield from (f"dataset:{value}" for value in _texts(card.get("datasets")))
    if repo.type == "dataset":
        for field in _DATASET_FIELDS:
            yield from (f"{field}:{value}" for value in _texts(card.get(field)))
    bases = _texts(card.get("base_model"))
    relation = card.get("base_model_relation")
    for base in bases:
        yield f"base_model:{base}"
        yield f"base_model:{relation if relation in RELATIONS else _relation(bases, names)}:{base}"


def _relation(bases: list[str], names: list[str]) -> str:
    """What a card leaves unsaid, by the hub's usual rule."""
    if len(bases) > 1:
        return "merge"
    if "adapter_config.json" in names:
        return "adapter"
    return "quantized" if any(name.endswith(".gguf") for name in names) else "finetune"
