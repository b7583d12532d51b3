"""Likes: who likes which repo.

`repo.likes` is kept as a count beside the rows, changed in the same transaction; liking twice is
liking once. A list of likes holds only repos that the reader may see.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import BigInteger, delete, insert, literal, select, tuple_, update

from headwater.catalog import audit, persons, repos, rights, standing
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.persons import PersonPage
from headwater.names import RepoType

PAGE_MAX = 1000


@dataclass(frozen=True, slots=True)
class Like:
    type: RepoType
    full: str
    hub_id: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class LikePage:
    rows: tuple[Like, ...]
    cursor: tuple[int, int] | None  # (when, repo row id) of the last row; None at the end


class Likes:
    def __init__(self, db: Db) -> None:
        self.db = db

    def like(self, actor: Actor, type: RepoType, full: str) -> None:
        """Like the repo; nothing happens when the caller does already."""
        self._set(actor, type, full, True)

    def unlike(self, actor: Actor, type: RepoType, full: str) -> None:
        """Take the like back; nothing happens when there is none."""
        self._set(actor, type, full, False)

    def _set(self, actor: Actor, type: RepoType, full: str, wanted: bool) -> None:
        like = so.repo_like
        with self.db.write() as conn:
            repo = repos.find(conn, actor, type, full, "see")
            user_id = standing.demand_person(actor, "like a repository")
            mine = (like.c.repo_id == repo.id) & (like.c.user_id == user_id)
            if (conn.execute(select(like.c.user_id).where(mine)).first() is not None) == wanted:
                return
            if wanted:
                values = {"repo_id": repo.id, "user_id": user_id, "created_ms": now_ms()}
                conn.execute(insert(like).values(values))
            else:
                conn.execute(delete(like).where(mine))
            step = 1 if wanted else -1
            conn.execute(
                update(s.repo).where(s.repo.c.id == repo.id).values(likes=s.repo.c.likes + step)
            )
            action = "repo.like" if wanted else "repo.unlike"
            audit.record(conn, actor.audit_name, action, repo.prefix + repo.full)

    def likers(
        self, actor: Actor, type: RepoType, full: str, *, after: int = 0, limit: int = PAGE_MAX
    ) -> PersonPage:
        """Who likes the repo."""
        with self.db.read() as conn:
            repo = repos.find(conn, actor, type, full, "see")
            found = (
                select(s.account)
                .join(so.repo_like, so.repo_like.c.user_id == s.account.c.id)
                .where(so.repo_like.c.repo_id == repo.id)
            )
            return persons.listed(conn, actor, found, so.repo_like.c.user_id, after, limit)

    def of_user(
        self,
        actor: Actor,
        name: str,
        *,
        cursor: tuple[int, int] | None = None,
        limit: int = PAGE_MAX,
    ) -> LikePage:
        """What the user likes of what `actor` may see, newest first; NotFound for nobody."""
        limit = max(1, min(limit, PAGE_MAX))
        like = so.repo_like
        with self.db.read() as conn:
            user = persons.named(conn, name, "user")
            found = (
                select(s.repo.c.type, s.repo.c.namespace, s.repo.c.name, s.repo.c.hub_id, like)
                .join(like, like.c.repo_id == s.repo.c.id)
                .where(like.c.user_id == user.id, rights.visible(actor))
            )
            if cursor is not None:
                last = tuple_(*(literal(value, BigInteger) for value in cursor))
                found = found.where(tuple_(like.c.created_ms, like.c.repo_id) < last)
            found = found.order_by(like.c.created_ms.desc(), like.c.repo_id.desc())
            rows = conn.execute(found.limit(limit + 1)).all()
        page = rows[:limit]
        likes = tuple(
            Like(row.type, f"{row.namespace}/{row.name}", row.hub_id, row.created_ms)
            for row in page
        )
        more = len(rows) > limit
        return LikePage(likes, (page[-1].created_ms, page[-1].repo_id) if more else None)
