"""Listings: the repos a caller may see, searched, filtered, sorted, a page at a time.

Pages are keyset pages: the cursor holds the sort value and id of the last row, so a page costs
the same however deep it lies, and a repo pushed meanwhile moves no other out of sight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, exists, func, or_, select

from headwater.catalog import cards, rights
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.db import Db
from headwater.catalog.models import Repo
from headwater.errors import BadRequest
from headwater.names import GitOid, RepoType, shown

LIMIT_DEFAULT = 1000
LIMIT_MAX = 1000
SEARCH_CHARS_MAX = 200
FILTERS_MAX = 20
SORTS: dict[str, Any] = {
    "lastModified": s.repo.c.updated_ms,
    "last_modified": s.repo.c.updated_ms,
    "updatedAt": s.repo.c.updated_ms,
    "createdAt": s.repo.c.created_ms,
    "created_at": s.repo.c.created_ms,
    "downloads": s.repo.c.downloads,
    "likes": s.repo.c.likes,
    "trendingScore": s.repo.c.downloads,
    "trending_score": s.repo.c.downloads,
}


@dataclass(frozen=True, slots=True)
class Query:
    type: RepoType
    search: tuple[str, ...] = ()
    author: str | None = None
    filters: tuple[str, ...] = ()  # tags, all of which must be there
    pipeline_tag: str | None = None
    gated: bool | None = None
    sort: str = "createdAt"
    limit: int = LIMIT_DEFAULT
    cursor: tuple[int, int] | None = None  # (sort value, repo row id) of the last row seen


@dataclass(frozen=True, slots=True)
class Listed:
    repo: Repo
    tags: tuple[str, ...]
    head: GitOid | None


@dataclass(frozen=True, slots=True)
class Page:
    rows: tuple[Listed, ...]
    cursor: tuple[int, int] | None  # where the next page begins; None at the end


class Listing:
    def __init__(self, db: Db) -> None:
        self.db = db

    def page(self, actor: Actor, query: Query) -> Page:
        if query.sort not in SORTS:
            raise BadRequest(f"cannot sort by {shown(query.sort)}; one of {', '.join(SORTS)}")
        column = SORTS[query.sort]
        limit = max(1, min(query.limit, LIMIT_MAX))
        statement = select(s.repo).where(s.repo.c.type == query.type, rights.visible(actor))
        for text in query.search[:FILTERS_MAX]:
            pattern = _like(text[:SEARCH_CHARS_MAX].lower())
            statement = statement.where(s.repo.c.key.like(pattern, escape="\\"))
        if query.author is not None:
            statement = statement.where(func.lower(s.repo.c.namespace) == query.author.lower())
        for tag in (*query.filters, *([query.pipeline_tag] if query.pipeline_tag else [])):
            statement = statement.where(
                exists().where(s.repo_tag.c.repo_id == s.repo.c.id, s.repo_tag.c.tag == tag)
            )
        if query.gated is not None:
            statement = statement.where((s.repo.c.gated != "") == query.gated)
        if query.cursor is not None:
            value, repo_id = query.cursor
            statement = statement.where(
                or_(column < value, and_(column == value, s.repo.c.id < repo_id))
            )
        statement = statement.order_by(column.desc(), s.repo.c.id.desc()).limit(limit + 1)
        with self.db.read() as conn:
            rows = conn.execute(statement).all()
            repos = [Repo.of(row) for row in rows[:limit]]
            tags = cards.tags_of(conn, [r.id for r in repos])
            heads = _heads(conn, [r.id for r in repos])
        cursor = None
        if len(rows) > limit:
            last = rows[limit - 1]
            cursor = (int(getattr(last, column.key)), int(last.id))
        return Page(
            tuple(Listed(r, tuple(tags.get(r.id, ())), heads.get(r.id)) for r in repos), cursor
        )

    def one(self, repo: Repo) -> Listed:
        """A found repo with its tags and the commit of main."""
        with self.db.read() as conn:
            tags = cards.tags_of(conn, [repo.id])
            heads = _heads(conn, [repo.id])
        return Listed(repo, tuple(tags.get(repo.id, ())), heads.get(repo.id))


def _like(text: str) -> str:
    for special in ("\\", "%", "_"):
        text = text.replace(special, "\\" + special)
    return f"%{text}%"


def _heads(conn: Connection, repo_ids: Sequence[int]) -> dict[int, GitOid]:
    query = select(s.ref.c.repo_id, s.ref.c.commit).where(
        s.ref.c.repo_id.in_(repo_ids), s.ref.c.name == "refs/heads/main"
    )
    return {repo_id: GitOid(commit) for repo_id, commit in conn.execute(query)}
