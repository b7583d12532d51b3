"""What packing made of each blob, which blobs wait for it, and what they are packed against.

    packing.waiting(since_ms, until_ms, limit)   held by a repo, large enough, never packed
    packing.stale(before_ms, limit)              packed, and their bases may have changed since
    packing.cold(before_ms, limit)               packed, and nobody has asked for them since
    packing.look(oid)                            its bases, and a fingerprint of them
    packing.settle(oid, state, fingerprint, …)   what became of it
    packing.sharing(oid)                         packed blobs that use its xorbs

A fingerprint stands for those bases that were settled themselves: when another one is, or a card
names another, it changes, and the blob is worth packing anew. A row says nothing of what a blob
holds or who may see it, and nobody but the operator is shown one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from sqlalchemy import Connection, delete, exists, func, or_, select, update

from headwater.catalog import schema as s
from headwater.catalog import schema_lineage as sl
from headwater.catalog.clock import day_of, now_ms
from headwater.catalog.db import IN_MAX, Db
from headwater.catalog.git import GitObjects
from headwater.catalog.kin import BYTES_MIN, KinSearch
from headwater.names import Digest

State = Literal["packed", "small", "kept", "failed", "unpacked"]
SETTLED = ("packed", "small", "kept")  # tried, and worth another look when its bases change
FINGERPRINT_CHARS = 32
ERROR_CHARS_MAX = 500
SHARING_MAX = 5_000  # blobs of one xorb: fine-tunes of many begin with the same chunk


@dataclass(frozen=True, slots=True)
class Settled:
    state: State
    fingerprint: str
    error: str | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a blob before it is packed."""

    oid: Digest
    created_ms: int  # when its bytes came last
    roots: tuple[Digest, ...]  # what it was made from
    unsettled: tuple[Digest, ...]  # those of them that were never packed nor left alone
    beside: tuple[Digest, ...]
    fingerprint: str
    row: Settled | None

    @property
    def bases(self) -> tuple[Digest, ...]:
        """All that it may be packed against, the best first."""
        return (*self.roots, *self.beside)


class Packing:
    def __init__(self, db: Db, git: GitObjects) -> None:
        self.db = db
        self.kin = KinSearch(git)

    def waiting(self, since_ms: int, until_ms: int, limit: int) -> list[Digest]:
        """Blobs that came to a repo in this time, none of them since, the first to come first."""
        held, blob = s.repo_blob.c, s.blob.c
        query = (
            select(held.oid, func.min(held.created_ms).label("came_ms"))
            .join(s.blob, blob.oid == held.oid)
            .where(held.created_ms >= since_ms, held.created_ms <= until_ms)
            .where(blob.created_ms <= until_ms, blob.size_bytes >= BYTES_MIN)
            .where(~exists().where(s.packing.c.oid == held.oid))
            .group_by(held.oid)
            .order_by("came_ms", held.oid)
            .limit(limit)
        )
        with self.db.read() as conn:
            return [Digest(row.oid) for row in conn.execute(query)]

    def stale(self, before_ms: int, limit: int) -> list[Digest]:
        """Settled blobs whose bases nobody has looked up since `before_ms`, although something on
        the hub has changed since they were."""
        row = s.packing.c
        pushed = select(func.max(s.repo.c.updated_ms)).scalar_subquery()
        settled = select(func.max(row.at_ms)).scalar_subquery()
        traced = select(func.max(sl.ancestry.c.at_ms)).scalar_subquery()
        query = (
            select(row.oid)
            .where(row.looked_ms < before_ms, row.state.in_(SETTLED))
            .where(or_(row.looked_ms <= pushed, row.looked_ms <= settled, row.looked_ms <= traced))
            .order_by(row.looked_ms)
            .limit(limit)
        )
        with self.db.read() as conn:
            return [Digest(oid) for oid in conn.execute(query).scalars()]

    def cold(self, before_ms: int, limit: int) -> list[Digest]:
        """Blobs that were packed before that time and that no repo has given to anybody since."""
        row = s.packing.c
        asked = (
            select(s.repo_blob.c.oid)
            .join(s.download_day, s.download_day.c.repo_id == s.repo_blob.c.repo_id)
            .where(s.repo_blob.c.oid == row.oid, s.download_day.c.day >= day_of(before_ms))
        )
        query = (
            select(row.oid)
            .where(row.state == "packed", row.at_ms < before_ms, ~asked.exists())
            .order_by(row.at_ms, row.oid)
            .limit(limit)
        )
        with self.db.read() as conn:
            return [Digest(oid) for oid in conn.execute(query).scalars()]

    def look(self, oid: Digest) -> Look | None:
        """What there is to know of a blob; None when the catalog does not know it."""
        with self.db.read() as conn:
            blob = conn.execute(select(s.blob).where(s.blob.c.oid == oid)).one_or_none()
            if blob is None:
                return None
            kin = self.kin.of(conn, oid)
            settled = _settled(conn, kin.roots)
            row = conn.execute(select(s.packing).where(s.packing.c.oid == oid)).one_or_none()
        return Look(
            oid,
            blob.created_ms,
            kin.roots,
            tuple(root for root in kin.roots if root not in settled),
            kin.beside,
            fingerprint(settled),
            None
            if row is None
            else Settled(cast(State, row.state), row.bases, row.error, row.at_ms),
        )

    def settle(self, oid: Digest, state: State, fingerprint: str, error: str | None = None) -> None:
        """Note what became of a blob; nothing when it was deleted meanwhile."""
        at = now_ms()
        values = {
            "state": state,
            "bases": fingerprint,
            "error": error[:ERROR_CHARS_MAX].replace("\0", " ") if error else None,
            "at_ms": at,
            "looked_ms": at,
        }
        with self.db.write() as conn:
            if conn.execute(select(s.blob.c.oid).where(s.blob.c.oid == oid)).first() is not None:
                conn.execute(self.db.upsert(s.packing, ["oid"], values), {"oid": oid, **values})

    def looked(self, oids: Sequence[Digest]) -> None:
        """Note that the bases of these were looked up now, and had not changed."""
        with self.db.write() as conn:
            for at in range(0, len(oids), IN_MAX):
                some = s.packing.c.oid.in_([str(oid) for oid in oids[at : at + IN_MAX]])
                conn.execute(update(s.packing).where(some).values(looked_ms=now_ms()))

    def forget(self, oid: Digest) -> None:
        """As if it had never been packed: it waits again. Harmless when there is no row."""
        with self.db.write() as conn:
            conn.execute(delete(s.packing).where(s.packing.c.oid == oid))

    def sharing(self, oid: Digest) -> list[Digest]:
        """Packed blobs that are made of the xorbs that this one is made of, itself included."""
        mine = select(s.xorb_blob.c.xorb).where(s.xorb_blob.c.oid == oid)
        packed = exists().where(
            s.packing.c.oid == s.xorb_blob.c.oid, s.packing.c.state.in_(("packed", "small"))
        )
        query = (
            select(s.xorb_blob.c.oid)
            .where(s.xorb_blob.c.xorb.in_(mine), packed)
            .distinct()
            .order_by(s.xorb_blob.c.oid)
            .limit(SHARING_MAX)
        )
        with self.db.read() as conn:
            return [Digest(found) for found in conn.execute(query).scalars()]


def fingerprint(oids: Iterable[str]) -> str:
    """What stands for a set of bases."""
    return hashlib.sha256("\n".join(sorted(oids)).encode()).hexdigest()[:FINGERPRINT_CHARS]


def _settled(conn: Connection, oids: Sequence[Digest]) -> set[str]:
    """Those of them that have a row."""
    found: set[str] = set()
    for at in range(0, len(oids), IN_MAX):
        some = s.packing.c.oid.in_([str(oid) for oid in oids[at : at + IN_MAX]])
        found |= set(conn.execute(select(s.packing.c.oid).where(some)).scalars())
    return found
