"""Reading all cards again after an upgrade that reads more from them.

    recards.step() -> how many were read; 0 when there is nothing left to do

Progress stands in `meta`, so that a restart goes on where it was and several processes share the
work; each repo is one short transaction. Times of repos stay as they are.
"""

from __future__ import annotations

import math
import time
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from headwater.catalog import cards
from headwater.catalog import schema as s
from headwater.catalog.db import Db
from headwater.catalog.files import Files
from headwater.catalog.git import GitObjects
from headwater.catalog.models import Repo
from headwater.catalog.repos import MAIN
from headwater.errors import HeadwaterError

KEY = "card_rules"
STEP_REPOS = 20  # read in one transaction, some milliseconds each: writers wait no longer


class Recards:
    def __init__(self, db: Db, git: GitObjects, files: Files) -> None:
        self.db = db
        self.git = git
        self.files = files

    def step(self) -> int:
        """Read some cards again, if this hub's are of older rules; how many."""
        with self.db.read() as conn:
            if self._state(conn) == [cards.CARD_RULES, None]:
                return 0
        with self.db.write() as conn:
            rules, after = self._state(conn)
            if rules != cards.CARD_RULES:
                rules, after = cards.CARD_RULES, 0
            if after is None:
                return 0
            rows = conn.execute(_next(after)).all()
            for row in rows:
                self._read(conn, Repo.of(row), row[-1])
            done = [rules, rows[-1].id if len(rows) == STEP_REPOS else None]
            value = {"value": msgspec.json.encode(done).decode()}
            conn.execute(self.db.upsert(s.meta, ["key"], value), {"key": KEY, **value})
            return len(rows)

    def all(self, seconds: float = math.inf) -> int:
        """Read all that there are to read, or as many as `seconds` suffice for; how many."""
        total, deadline = 0, time.monotonic() + seconds
        while time.monotonic() < deadline and (done := self.step()):
            total += done
        return total

    def _state(self, conn: Connection) -> Any:
        """[rules, the last repo read]; None in its place when all were."""
        text = conn.execute(select(s.meta.c.value).where(s.meta.c.key == KEY)).scalar_one_or_none()
        return msgspec.json.decode(text, type=list[int | None]) if text else [0, 0]

    def _read(self, conn: Connection, repo: Repo, commit: str) -> None:
        try:
            tree = self.git.commit(conn, repo.id, commit).tree
            cards.refresh(self.files, self.git, conn, repo, tree, moved=False)
        except HeadwaterError:
            return  # a damaged history is for `headwater check` to report


def _next(after: int) -> Any:
    return (
        select(s.repo, s.ref.c.commit)
        .join(s.ref, (s.ref.c.repo_id == s.repo.c.id) & (s.ref.c.name == MAIN))
        .where(s.repo.c.id > after)
        .order_by(s.repo.c.id)
        .limit(STEP_REPOS)
    )
