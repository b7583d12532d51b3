"""Download counting: what counts, and how often.

Three figures are kept apart, because they answer different questions:

    raw     requests for a *query file*, the one file that loading a repo always asks for: Hugging
            Face's rule (see `query_files`), comparable with the public hub's figures
    marked  file requests that the client itself marks with `X-HF-Download-Counter`
    dedup   callers that downloaded by either rule, at most once a repo and day: nearer to people

A caller is a keyed hash of token owner or address; addresses themselves are not kept. Counts are
gathered in memory and written each second: a crash loses at most that second, and no promise.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, delete, func, select, update

from headwater.catalog import query_files
from headwater.catalog import schema as s
from headwater.catalog.clock import day_of, now_ms
from headwater.catalog.db import IN_MAX, Db
from headwater.catalog.models import Repo
from headwater.errors import HeadwaterError

FLUSH_S = 1.0
PENDING_MAX = 50_000  # distinct (repo, day, caller) waiting; beyond it dedup runs low
WINDOW_DAYS = 30
SEEN_DAYS = 2  # how long a caller's hash is kept; a day is over everywhere after two


def is_query_file(repo: Repo, path: str) -> bool:
    """Whether a request for `path` is, by the public hub's rule, a download of `repo`."""
    if repo.type != "model":
        return True  # datasets and spaces have no query file: each file asked for counts
    return query_files.is_query_file(repo.library_name, path)


@dataclass(frozen=True, slots=True)
class Downloads:
    raw: int
    marked: int
    dedup: int


@dataclass(slots=True)
class _Noted:
    """What waits to be written. Keys: (repo row id, day), for callers with their mark."""

    raw: Counter[tuple[int, int]] = field(default_factory=Counter)
    marked: Counter[tuple[int, int]] = field(default_factory=Counter)
    callers: set[tuple[int, int, bytes]] = field(default_factory=set)

    def add(self, other: _Noted) -> None:
        for key, number in other.raw.items():
            self.raw[key] += number
        self.marked.update(other.marked)
        self.callers |= other.callers


class Counting:
    def __init__(self, db: Db, secret: bytes) -> None:
        self.db = db
        self._key = hashlib.sha256(b"download caller" + secret).digest()
        self._lock = threading.Lock()
        self._noted = _Noted()

    def note(self, repo: Repo, path: str, caller: str, *, marked: bool) -> None:
        """One request for a file, if it counts; cheap, in memory."""
        by_rule = is_query_file(repo, path)
        if not (by_rule or marked):
            return
        day = day_of(now_ms())
        mark = hashlib.blake2b(caller.encode(), key=self._key, digest_size=16).digest()
        with self._lock:
            self._noted.raw[(repo.id, day)] += by_rule
            self._noted.marked[(repo.id, day)] += marked
            if len(self._noted.callers) < PENDING_MAX:
                self._noted.callers.add((repo.id, day, mark))

    def flush(self) -> None:
        """Write what was noted. Called each second, and at the end. A busy database loses none."""
        with self._lock:
            noted, self._noted = self._noted, _Noted()
        if not noted.raw:
            return
        try:
            with self.db.write() as conn:
                _write(self.db, conn, noted)
        except HeadwaterError:
            with self._lock:
                self._noted.add(noted)
            raise

    def roll(self) -> None:
        """Take days that left the window out of the 30-day figure. Called once an hour."""
        today = day_of(now_ms())
        window = (
            select(func.coalesce(func.sum(s.download_day.c.raw), 0))
            .where(
                s.download_day.c.repo_id == s.repo.c.id,
                s.download_day.c.day > today - WINDOW_DAYS,
            )
            .scalar_subquery()
        )
        with self.db.write() as conn:
            conn.execute(delete(s.download_seen).where(s.download_seen.c.day < today - SEEN_DAYS))
            conn.execute(update(s.repo).where(s.repo.c.downloads > 0).values(downloads=window))

    def of(self, repo: Repo, days: int | None = WINDOW_DAYS) -> Downloads:
        """Counts of the last `days`, or of all time."""
        query = select(
            func.coalesce(func.sum(s.download_day.c.raw), 0),
            func.coalesce(func.sum(s.download_day.c.marked), 0),
            func.coalesce(func.sum(s.download_day.c.dedup), 0),
        ).where(s.download_day.c.repo_id == repo.id)
        if days is not None:
            query = query.where(s.download_day.c.day > day_of(now_ms()) - days)
        with self.db.read() as conn:
            return Downloads(*map(int, conn.execute(query).one()))


def _write(db: Db, conn: Connection, noted: _Noted) -> None:
    repo_ids = list({repo_id for repo_id, _ in noted.raw})
    alive: set[int] = set()
    for at in range(0, len(repo_ids), IN_MAX):
        query = select(s.repo.c.id).where(s.repo.c.id.in_(repo_ids[at : at + IN_MAX]))
        alive.update(conn.execute(query).scalars())
    callers = [
        {"repo_id": repo_id, "day": day, "caller": caller}
        for repo_id, day, caller in noted.callers
        if repo_id in alive
    ]
    seen = s.download_seen.c
    new: Counter[tuple[int, int]] = Counter()
    if callers:
        fresh = db.insert_new(s.download_seen).returning(seen.repo_id, seen.day)
        new.update((row.repo_id, row.day) for row in conn.execute(fresh, callers))
    days = [
        {"repo_id": key[0], "day": key[1], "raw": number, "marked": noted.marked[key],
         "dedup": new[key]}
        for key, number in noted.raw.items()
        if key[0] in alive
    ]  # fmt: skip
    if not days:
        return
    sums = ("raw", "marked", "dedup")
    conn.execute(db.upsert_adding(s.download_day, ["repo_id", "day"], sums), days)
    downloads = (
        update(s.repo)
        .where(s.repo.c.id == bindparam("at"))
        .values(
            downloads=s.repo.c.downloads + bindparam("more"),
            downloads_all=s.repo.c.downloads_all + bindparam("more"),
        )
    )
    conn.execute(downloads, [{"at": row["repo_id"], "more": row["raw"]} for row in days])
