"""Space search: words against the name, title, description and tags of spaces.

Hugging Face compares meanings here; this compares text, and says so with its score: the share of
the words that were found, those in a name or title counting whole, those elsewhere half. Looks at
the SCAN_MAX spaces with the most likes, so its cost has a bound.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import exists, func, or_, select

from headwater.catalog import rights
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.db import Db
from headwater.catalog.listing import TEXT_CHARS_MAX, TEXTS_MAX
from headwater.catalog.models import Repo
from headwater.errors import BadRequest

SCAN_MAX = 20_000
SCORED_MAX = 500  # spaces with a hit of any kind that are looked at closely
RESULTS_MAX = 50
QUERY_CHARS_MAX = 500
WORDS_MAX = 12
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class SpaceHit:
    repo: Repo
    score: float  # 0 to 1
    title: str
    emoji: str | None
    tags: tuple[str, ...]


class SpaceSearch:
    def __init__(self, db: Db) -> None:
        self.db = db

    def search(
        self, actor: Actor, text: str, *, tags: Sequence[str] = (), sdks: Sequence[str] = ()
    ) -> list[SpaceHit]:
        """Spaces that the actor may see, the best first; all must have these tags, any of these
        SDKs."""
        asked = [*tags, *sdks]
        if len(text) > QUERY_CHARS_MAX or "\0" in text:
            raise BadRequest(f"a search has at most {QUERY_CHARS_MAX} characters, and no NUL")
        if len(asked) > TEXTS_MAX or any(len(t) > TEXT_CHARS_MAX or "\0" in t for t in asked):
            raise BadRequest(f"at most {TEXTS_MAX} filters of {TEXT_CHARS_MAX} characters")
        words = list(dict.fromkeys(_WORD.findall(text.lower())))[:WORDS_MAX]
        if not words:
            return []
        looked_at = (
            select(s.repo.c.id)
            .where(s.repo.c.type == "space")
            .order_by(s.repo.c.likes.desc(), s.repo.c.id.desc())
            .limit(SCAN_MAX)
            .subquery()
        )
        places = (s.repo.c.key, func.lower(s.repo.c.card), func.lower(s.repo.c.tags))
        found = select(s.repo).where(
            s.repo.c.id.in_(select(looked_at.c.id)),
            rights.visible(actor),
            or_(*(place.contains(word, autoescape=True) for place in places for word in words)),
        )
        for tag in tags:
            found = found.where(
                exists().where(s.repo_tag.c.repo_id == s.repo.c.id, s.repo_tag.c.tag == tag)
            )
        if sdks:
            found = found.where(s.repo.c.sdk.in_(sdks))
        found = found.order_by(s.repo.c.likes.desc(), s.repo.c.id.desc()).limit(SCORED_MAX)
        with self.db.read() as conn:
            hits = [_hit(Repo.of(row), words) for row in conn.execute(found)]
        best = sorted((hit for hit in hits if hit.score > 0), key=lambda hit: -hit.score)
        return best[:RESULTS_MAX]


def _hit(repo: Repo, words: Sequence[str]) -> SpaceHit:
    card: dict[str, Any] = msgspec.json.decode(repo.card)
    tags: tuple[str, ...] = msgspec.json.decode(repo.tags, type=tuple[str, ...])
    title, emoji = _text(card, "title"), _text(card, "emoji")
    near = f"{repo.full} {title}".lower()
    far = " ".join([_text(card, "short_description"), *tags]).lower()
    points = sum(1.0 if word in near else 0.5 if word in far else 0.0 for word in words)
    score = round(points / len(words), 4)
    return SpaceHit(repo, score, title or repo.name, emoji or None, tags)


def _text(card: dict[str, Any], key: str) -> str:
    value = card.get(key)
    return value if isinstance(value, str) else ""
