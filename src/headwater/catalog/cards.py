"""Cards: what a repo says of itself, as tags that listings filter by.

Read when `main` moves, in the same transaction, from README.md's front matter, the config files and
the kinds of files there are. Whatever is wrong in them is left out; a commit never fails by it.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from headwater.catalog import schema as s
from headwater.catalog.card_tags import (
    FIELD_CHARS_MAX,
    Known,
    bases_of,
    one_text,
    tags_of,
)
from headwater.catalog.clock import now_ms
from headwater.catalog.files import Files
from headwater.catalog.git import GitObjects
from headwater.catalog.models import Repo
from headwater.errors import HeadwaterError
from headwater.formats.front_matter import read_card
from headwater.names import GitOid

__all__ = ["CARD_RULES", "FIELD_CHARS_MAX", "TAGS_MAX", "TAG_CHARS_MAX", "refresh"]

CARD_RULES = 1  # of what is read from cards; a hub with older ones reads all cards again
TAG_CHARS_MAX = 200
SDK_CHARS_MAX = 32  # the column's width
TAGS_MAX = 500  # of one repo; real cards have up to some dozens
FILES_LOOKED_AT_MAX = 5_000  # for their endings
CONFIG_BYTES_MAX = 2**20
README_BYTES_MAX = 10 * 2**20
TEXT_BYTES_MAX = 2**20  # of a README, looked through for papers
TEMPLATE_CHARS_MAX = 65_536
_CONFIGS = ("config.json", "tokenizer_config.json", "model_index.json", "adapter_config.json")
_CONFIG_KEYS = ("architectures", "model_type", "quantization_config", "auto_map")
_TOKENS = (
    "bos_token",
    "eos_token",
    "pad_token",
    "unk_token",
    "mask_token",
    "sep_token",
    "cls_token",
)


def refresh(
    files: Files,
    git: GitObjects,
    conn: Connection,
    repo: Repo,
    tree: GitOid,
    *,
    moved: bool = True,
) -> None:
    """Set the repo's card, config, tags and bases from the tree that `main` has, and its time
    unless it is only read again (`moved=False`)."""
    oids = files.path_oids(conn, repo.id, tree, ["README.md", *_CONFIGS])
    readme = _ordinary(git, conn, repo, oids["README.md"], README_BYTES_MAX) or b""
    card = read_card(readme)
    configs = {name: _json(git, conn, repo, oids[name]) for name in _CONFIGS}
    walk = files.walk(conn, repo.id, tree, "", True, ())
    names = tuple(found.path for found in islice(walk, FILES_LOOKED_AT_MAX))
    text = readme[card.body_offset :][:TEXT_BYTES_MAX].decode("utf-8", "replace")
    known = Known(repo.type, dict(card.metadata), _config(configs), names, text)
    tags = sorted(islice(dict.fromkeys(t for t in tags_of(known) if _fits(t)), TAGS_MAX))
    values: dict[str, Any] = {
        "card": msgspec.json.encode(known.card).decode(),
        "config": msgspec.json.encode(known.config).decode(),
        "tags": msgspec.json.encode(tags).decode(),
        "library_name": known.library,
        "pipeline_tag": known.pipeline,
    }
    sdk = one_text(known.card.get("sdk"))
    if repo.type == "space" and sdk and len(sdk) <= SDK_CHARS_MAX:
        values["sdk"] = sdk
    if moved:
        values["updated_ms"] = now_ms()
    conn.execute(update(s.repo).where(s.repo.c.id == repo.id).values(**values))
    conn.execute(delete(s.repo_tag).where(s.repo_tag.c.repo_id == repo.id))
    if tags:
        conn.execute(insert(s.repo_tag), [{"repo_id": repo.id, "tag": tag} for tag in tags])
    _set_bases(conn, repo, bases_of(known))


def _set_bases(conn: Connection, repo: Repo, bases: list[tuple[str, str]]) -> None:
    conn.execute(delete(s.base_edge).where(s.base_edge.c.repo_id == repo.id))
    rows = {
        base.lower(): {
            "repo_id": repo.id,
            "base_key": base.lower(),
            "base": base,
            "relation": relation,
        }
        for base, relation in reversed(bases)  # of two spellings the first stays
        if len(base.lower()) <= TAG_CHARS_MAX and base.lower() != repo.key
    }
    if rows:
        conn.execute(insert(s.base_edge), list(rows.values()))


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


def _json(git: GitObjects, conn: Connection, repo: Repo, oid: GitOid | None) -> dict[str, Any]:
    text = _ordinary(git, conn, repo, oid, CONFIG_BYTES_MAX)
    try:
        found = msgspec.json.decode(text) if text else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _config(configs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What listings show of the config files: Hugging Face's selection."""
    main = configs["config.json"]
    config = {key: main[key] for key in _CONFIG_KEYS if key in main}
    if tokenizer := _tokenizer(configs["tokenizer_config.json"]):
        config["tokenizer_config"] = tokenizer
    if name := one_text(configs["model_index.json"].get("_class_name")):
        config["diffusers"] = {"_class_name": name}
    adapter = configs["adapter_config.json"]
    peft = {key: one_text(adapter.get(key)) for key in ("base_model_name_or_path", "task_type")}
    if any(peft.values()):
        config["peft"] = {key: value for key, value in peft.items() if value}
    return config


def _tokenizer(tokenizer: dict[str, Any]) -> dict[str, str]:
    """The special tokens, each as text, and the chat template."""
    found: dict[str, str] = {}
    for key in _TOKENS:
        value = tokenizer.get(key)
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str) and len(value) <= FIELD_CHARS_MAX:
            found[key] = value
    template = tokenizer.get("chat_template")
    if isinstance(template, str) and len(template) <= TEMPLATE_CHARS_MAX:
        found["chat_template"] = template
    return found
