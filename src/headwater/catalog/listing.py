"""Listings: the repos a caller may see, searched, filtered, sorted, a page at a time.

Pages are keyset pages: the cursor holds the sort value and id of the last row, so a page costs
the same however deep it lies, and a repo pushed meanwhile moves no other out of sight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Select, and_, bindparam, exists, literal, or_, select, tuple_

from headwater.catalog import rights
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.db import Db
from headwater.catalog.models import Repo
from headwater.catalog.repos import MAIN
from headwater.errors import BadRequest
from headwater.names import GitOid, RepoType, shown

LIMIT_DEFAULT = 1000
LIMIT_MAX = 1000
TEXTS_MAX = 20  # filters, searches and author together; each is one more test of every row
TEXT_CHARS_MAX = 200  # as long as the longest tag
CURSOR_MAX = 2**63 - 1  # what the columns hold
LINKS = ("model:", "dataset:")  # tags by which a space names what it uses
SORTS: dict[str, Any] = {
    "lastModified": s.repo.c.updated_ms,
    "last_modified": s.repo.c.updated_ms,
    "updatedAt": s.repo.c.updated_ms,
    "createdAt": s.repo.c.created_ms,
    "created_at": s.repo.c.created_ms,
    "downloads": s.repo.c.downloads,
    "likes": s.repo.c.likes,
    "trendingScore": s.repo.c.trending,
    "trending_score": s.repo.c.trending,
}


@dataclass(frozen=True, slots=True)
class Query:
    type: RepoType
    search: tuple[str, ...] = ()
    author: str | None = None
    filters: tuple[str, ...] = ()  # tags, all of which must be there
    pipeline_tag: str | None = None
    gated: bool | None = None
    parameters: tuple[int | None, int | None] = (None, None)  # at least, at most
    linked: bool = False  # names a model or dataset that it uses
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


_HEAD = select(s.ref.c.commit).where(s.ref.c.repo_id == bindparam("repo_id"), s.ref.c.name == MAIN)
_LISTED = select(s.repo, s.ref.c.commit).outerjoin(
    s.ref, and_(s.ref.c.repo_id == s.repo.c.id, s.ref.c.name == MAIN)
)
_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode


class Listing:
    def __init__(self, db: Db) -> None:
        self.db = db

    def page(self, actor: Actor, query: Query) -> Page:
        """The repos that `actor` may see `query` asks for; BadRequest when it makes no sense."""
        statement, limit = statement_of(actor, query), _limit(query)
        with self.db.read() as conn:
            rows = conn.execute(statement).all()
        found = tuple(_listed(Repo.of(row), row[-1]) for row in rows[:limit])
        return Page(found, cursor_behind(query, found[-1]) if len(rows) > limit else None)

    def one(self, repo: Repo) -> Listed:
        """A found repo with its tags and the commit of main."""
        with self.db.read() as conn:
            return _listed(repo, conn.execute(_HEAD, {"repo_id": repo.id}).scalar_one_or_none())


def cursor_behind(query: Query, last: Listed) -> tuple[int, int]:
    """Where a page begins that follows this row."""
    return int(getattr(last.repo, SORTS[query.sort].key)), last.repo.id


def _listed(repo: Repo, head: str | None) -> Listed:
    return Listed(repo, _decode_tags(repo.tags), GitOid(head) if head else None)


def _limit(query: Query) -> int:
    return max(1, min(query.limit, LIMIT_MAX))


def statement_of(actor: Actor, query: Query) -> Select[Any]:
    """SQL for a page and one row more, each row a repo and the commit of its main."""
    if query.sort not in SORTS:
        raise BadRequest(f"cannot sort by {shown(query.sort)}; one of {', '.join(SORTS)}")
    column = SORTS[query.sort]
    tags = [*query.filters, *([query.pipeline_tag] if query.pipeline_tag else [])]
    texts = [*tags, *query.search, query.author or ""]
    if len(texts) > TEXTS_MAX or any(len(t) > TEXT_CHARS_MAX or "\0" in t for t in texts):
        raise BadRequest(
            f"a listing takes up to {TEXTS_MAX} filters and searches of {TEXT_CHARS_MAX} characters"
        )
    found = _LISTED.where(s.repo.c.type == query.type, rights.visible(actor))
    for text in query.search:
        found = found.where(s.repo.c.key.like(_like(text.lower()), escape="\\"))
    if query.author is not None:
        owner = select(s.account.c.id).where(s.account.c.key == query.author.lower())
        found = found.where(s.repo.c.owner_id == owner.scalar_subquery())
    for tag in tags:
        found = found.where(
            exists().where(s.repo_tag.c.repo_id == s.repo.c.id, s.repo_tag.c.tag == tag)
        )
    if query.gated is not None:
        found = found.where(s.repo.c.gated != "" if query.gated else s.repo.c.gated == "")
    least, most = query.parameters
    if not all(n is None or 0 <= n <= CURSOR_MAX for n in (least, most)):
        raise BadRequest("not a number of parameters")
    if least is not None:
        found = found.where(s.repo.c.parameters >= least)
    if most is not None:
        found = found.where(s.repo.c.parameters <= most)
    if query.linked:
        links = [s.repo_tag.c.tag.startswith(prefix) for prefix in LINKS]
        found = found.where(exists().where(s.repo_tag.c.repo_id == s.repo.c.id, or_(*links)))
    if query.cursor is not None:
        if not all(0 <= value <= CURSOR_MAX for value in query.cursor):
            raise BadRequest("not a cursor of this listing")
        last = tuple_(*(literal(value, BigInteger) for value in query.cursor))
        found = found.where(tuple_(column, s.repo.c.id) < last)
    return found.order_by(column.desc(), s.repo.c.id.desc()).limit(_limit(query) + 1)


def _like(text: str) -> str:
    for special in ("\\", "%", "_"):
        text = text.replace(special, "\\" + special)
    return f"%{text}%"
