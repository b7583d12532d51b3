"""Vocabulary: which tags there are, by kind: what a client offers as filters.

    tags_by_type("model")   {"library": ["transformers", …], "license": ["license:mit", …], …}

Made from the tags of public repos alone, of the hundred thousand most downloaded ones of the type,
so that its cost does not grow without end: some three seconds then. An answer is kept for a hundred
times what it took to make, so that this never takes more than a hundredth of the hub: a small one
is up to date after a second, a large one after some minutes. One thread makes it anew, the others
go on with the old one.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from sqlalchemy import Select, Subquery, func, select

from headwater.catalog import schema as s
from headwater.catalog.db import Db
from headwater.catalog.tasks import PIPELINE_TAGS
from headwater.names import RepoType

REPOS_MAX = 100_000
PER_KIND_MAX = 1000
TAGS_MAX = 50_000  # looked at, the most used first
KEPT_TIMES = 100  # as long as it took to make, within these bounds
KEPT_MIN_S, KEPT_MAX_S = 1.0, 600.0
# What stands before the colon of a tag, for each type of repo. Others are not offered.
_PREFIXES: dict[str, frozenset[str]] = {
    "model": frozenset({"license", "dataset", "region", "benchmark"}),
    "dataset": frozenset(
        "license language task_categories task_ids size_categories multilinguality "
        "language_creators annotations_creators source_datasets benchmark region format modality "
        "library".split()
    ),
}
# Their number has no end, and a search by name finds them better.
_LEFT_OUT = ("base_model:", "arxiv:", "doi:", "model:")
_LANGUAGE_CHARS = (2, 3)  # ISO 639: `en`, `yue`


class Vocabulary:
    def __init__(self, db: Db) -> None:
        self.db = db
        self._making = {type: threading.Lock() for type in _PREFIXES}
        self._made: dict[str, tuple[float, dict[str, list[str]]]] = {}  # (good until, tags)

    def tags_by_type(self, type: RepoType) -> dict[str, list[str]]:
        """Tags of public repos of this type ("model" or "dataset"), the most used first."""
        made = self._made.get(type)
        lock = self._making[type]
        if made is not None and time.monotonic() < made[0]:
            return made[1]
        if not lock.acquire(blocking=made is None):
            assert made is not None
            return made[1]
        try:
            again = self._made.get(type)  # perhaps made by another while this one waited
            if again is made or again is None:
                began = time.monotonic()
                tags = self._make(type)
                now = time.monotonic()
                kept_s = min(KEPT_MAX_S, max(KEPT_MIN_S, KEPT_TIMES * (now - began)))
                again = self._made[type] = (now + kept_s, tags)
            return again[1]
        finally:
            lock.release()

    def _make(self, type: RepoType) -> dict[str, list[str]]:
        looked_at = (
            select(s.repo.c.id, s.repo.c.library_name)
            .where(s.repo.c.type == type, s.repo.c.private.is_(False))
            .order_by(s.repo.c.downloads.desc(), s.repo.c.id.desc())
            .limit(REPOS_MAX)
            .subquery()
        )
        with self.db.read() as conn:
            tags = list(conn.execute(_most_used(looked_at)).scalars())
            name = looked_at.c.library_name
            libraries = set(
                conn.execute(select(name).where(name.is_not(None)).distinct()).scalars()
            )
        kinds: dict[str, list[str]] = {}
        for tag in tags:
            kind = _kind(type, tag, libraries)
            if kind and len(kinds.setdefault(kind, [])) < PER_KIND_MAX:
                kinds[kind].append(tag)
        return kinds


def _most_used(looked_at: Subquery) -> Select[Any]:
    tag = s.repo_tag.c.tag
    return (
        select(tag)
        .join(looked_at, looked_at.c.id == s.repo_tag.c.repo_id)
        .where(*(~tag.startswith(prefix, autoescape=True) for prefix in _LEFT_OUT))
        .group_by(tag)
        .order_by(func.count().desc(), tag)
        .limit(TAGS_MAX)
    )


def _kind(type: str, tag: str, libraries: set[str]) -> str | None:
    """Under which heading a tag is offered."""
    prefix, colon, _ = tag.partition(":")
    if colon and prefix in _PREFIXES[type]:
        return prefix
    if type == "model":
        if tag in PIPELINE_TAGS:
            return "pipeline_tag"
        if tag in libraries or tag in ("safetensors", "gguf", "onnx", "pytorch", "tf", "jax"):
            return "library"
        if len(tag) in _LANGUAGE_CHARS and tag.isascii() and tag.isalpha() and tag.islower():
            return "language"
    return "other"
