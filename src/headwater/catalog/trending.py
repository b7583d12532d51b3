"""Trending: what has been liked and downloaded of late, as one whole number.

    score = sum over the last 7 days of  weight(day) * (10 * likes + people)  / 100

`people` are deduplicated downloads (callers, at most once a repo and day), so that one machine in
a loop moves nothing; a like counts for ten of them, because it is given by hand and once. Weights
halve every three days: today 100, then 79, 63, 50, 40, 31, 25. A day is a UTC day.

The figure lies in `repo.trending`, so that a listing sorts by an index. `refresh` is run by the
housekeeping of each process, once an hour: a second run finds nothing to change. It reads the
rows of seven days by their indexes and writes only what differs, in short transactions.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    bindparam,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    union_all,
    update,
)

from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.clock import day_of, now_ms
from headwater.catalog.db import Db

WEIGHTS = (100, 79, 63, 50, 40, 31, 25)  # by age in days
LIKE_WORTH = 10  # deduplicated downloads
DAY_MS = 86_400_000
CHANGES_MAX = 100_000  # of one run; the rest is left to the next
BATCH = 1000  # rows of one write transaction: others wait some milliseconds for it


class Trending:
    def __init__(self, db: Db) -> None:
        self.db = db

    def refresh(self) -> int:
        """Bring every repo's figure up to now; how many changed."""
        with self.db.read() as conn:
            changes = [
                {"at": row.id, "score": int(row.score)}
                for row in conn.execute(_changed(day_of(now_ms())).limit(CHANGES_MAX))
            ]
        statement = update(s.repo).where(s.repo.c.id == bindparam("at"))
        statement = statement.values(trending=bindparam("score"))
        for first in range(0, len(changes), BATCH):
            with self.db.write() as conn:
                conn.execute(statement, changes[first : first + BATCH])
        return len(changes)


def _changed(today: int) -> Select[tuple[int, int]]:
    """Repos whose figure is no longer right, with what it should be; the most lively first."""
    oldest = today - len(WEIGHTS) + 1
    download, like = s.download_day, so.repo_like
    day = like.c.created_ms // DAY_MS
    activity = union_all(
        select(download.c.repo_id, (_weight(today, download.c.day) * download.c.dedup).label("n"))
        .where(download.c.day >= oldest, download.c.day <= today),
        select(like.c.repo_id, (_weight(today, day) * LIKE_WORTH).label("n"))
        .where(like.c.created_ms >= oldest * DAY_MS),
    ).subquery()  # fmt: skip
    scores = (
        select(activity.c.repo_id, (cast(func.sum(activity.c.n), BigInteger) // 100).label("score"))
        .group_by(activity.c.repo_id)
        .subquery()
    )
    score = func.coalesce(scores.c.score, 0).label("score")
    return (
        select(s.repo.c.id, score)
        .outerjoin(scores, scores.c.repo_id == s.repo.c.id)
        .where(
            or_(s.repo.c.trending > 0, scores.c.repo_id.is_not(None)), s.repo.c.trending != score
        )
        .order_by(score.desc(), s.repo.c.id)
    )


def _weight(today: int, day: ColumnElement[int]) -> ColumnElement[int]:
    """SQL for what something of that day is worth, in hundredths."""
    ages = ((day == today - age, literal(weight)) for age, weight in enumerate(WEIGHTS))
    return case(*ages, else_=0)
