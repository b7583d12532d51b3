"""Discussions and pull requests: for now what a listing shows; commits open them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select

from headwater.catalog import schema as s
from headwater.catalog.db import Db
from headwater.catalog.models import Repo
from headwater.errors import NotFound

PAGE_ROWS = 50
PAGES_MAX = 10**6  # beyond it every page is empty, and numbers still fit the database
NUM_MAX = 2**31 - 1  # what the column holds


@dataclass(frozen=True, slots=True)
class Discussion:
    num: int
    title: str
    description: str
    status: str
    is_pr: bool
    author: str
    target_ref: str | None
    created_ms: int


class Discussions:
    def __init__(self, db: Db) -> None:
        self.db = db

    def page(self, repo: Repo, page: int) -> tuple[int, list[Discussion]]:
        """(how many there are, those of this page, newest first). Pages are counted from 0."""
        table = s.discussion
        mine = table.c.repo_id == repo.id
        with self.db.read() as conn:
            count = conn.execute(select(func.count()).select_from(table).where(mine)).scalar_one()
            rows = conn.execute(
                _query()
                .where(mine)
                .order_by(table.c.num.desc())
                .limit(PAGE_ROWS)
                .offset(max(0, min(page, PAGES_MAX)) * PAGE_ROWS)
            )
            return count, [_discussion(row) for row in rows]

    def find(self, repo: Repo, num: int) -> Discussion:
        """The discussion or pull request of that number, or NotFound."""
        if not 0 < num <= NUM_MAX:
            raise NotFound(f"no discussion {num} in {repo.full}")
        query = _query().where(s.discussion.c.repo_id == repo.id, s.discussion.c.num == num)
        with self.db.read() as conn:
            row = conn.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"no discussion {num} in {repo.full}")
        return _discussion(row)


def _query() -> Select[Any]:
    return select(s.discussion, s.account.c.name.label("author")).outerjoin(
        s.account, s.account.c.id == s.discussion.c.author_id
    )


def _discussion(row: Any) -> Discussion:
    return Discussion(
        row.num,
        row.title,
        row.description,
        row.status,
        row.is_pr,
        row.author or "operator",
        row.target_ref,
        row.created_ms,
    )
