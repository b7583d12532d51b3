"""Which bytes exist, who has shown that they hold them, which repo holds them.

Knowing a hash never gives bytes (safety rule T1). A blob may be linked into a repo only by someone

    who just uploaded those very bytes (`upload`, expires), or
    who may read the bytes of a repo that holds them (`repo_blob`).

For anybody else the blob does not exist, and every door (LFS, commit, copy, Xet) says the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, Table, delete, exists, or_, select, true

from headwater.catalog import rights
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import OPERATOR, Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import IN_MAX, Db
from headwater.catalog.models import Repo
from headwater.names import Digest, XetHash

HOLDERS_LOOKED_AT_MAX = 200  # of one blob: a popular file is in many repos, one readable is enough


class Blobs:
    def __init__(self, db: Db, upload_ttl_s: int) -> None:
        self.db = db
        self.upload_ttl_ms = upload_ttl_s * 1000

    def uploaded(
        self,
        actor: Actor,
        oid: Digest,
        size_bytes: int,
        *,
        xet_hash: XetHash | None = None,
        xorbs: Iterable[XetHash] = (),
        eligible: Iterable[tuple[bytes, XetHash]] = (),
    ) -> None:
        """Note that durable bytes `oid` came from `actor`, who may link them for a while.

        `xorbs` are those the blob is made of, `eligible` the (chunk, xorb) pairs that later
        uploads may ask for.
        """
        at = now_ms()
        with self.db.write() as conn:
            values = {"size_bytes": size_bytes, "created_ms": at}
            update = values | ({"xet_hash": xet_hash} if xet_hash else {})
            conn.execute(
                self.db.upsert(s.blob, ["oid"], update),
                {"oid": oid, "xet_hash": xet_hash, **values},
            )
            if actor != OPERATOR:  # who has no account, and may link whatever is there
                expires = {"expires_ms": at + self.upload_ttl_ms}
                conn.execute(
                    self.db.upsert(s.upload, ["user_id", "oid"], expires),
                    {"user_id": actor.user_id, "oid": oid, **expires},
                )
            _insert_new(self.db, conn, s.xorb_blob, [{"xorb": x, "oid": oid} for x in set(xorbs)])
            _insert_new(self.db, conn, s.dedup, [{"chunk": c, "xorb": x} for c, x in set(eligible)])

    def held(self, actor: Actor, oids: Sequence[Digest]) -> dict[str, int]:
        """Of `oids`, those the actor may link, each with its size in bytes."""
        with self.db.read() as conn:
            return held(conn, actor, oids)

    def in_repo(self, repo: Repo, oid: Digest) -> int | None:
        """The size of a blob that this repo holds, or None."""
        query = select(s.repo_blob.c.size_bytes).where(
            s.repo_blob.c.repo_id == repo.id, s.repo_blob.c.oid == oid
        )
        with self.db.read() as conn:
            return conn.execute(query).scalar_one_or_none()

    def by_xet_hash(self, xet_hash: XetHash) -> Digest | None:
        query = select(s.blob.c.oid).where(s.blob.c.xet_hash == xet_hash)
        with self.db.read() as conn:
            found = conn.execute(query).scalar_one_or_none()
        return Digest(found) if found else None

    def readable_file(self, actor: Actor, repo: Repo, xet_hash: XetHash) -> Digest | None:
        """The blob that a Xet file hash names, if this repo holds it or the actor just sent it."""
        oid = self.by_xet_hash(xet_hash)
        if oid is None:
            return None
        with self.db.read() as conn:
            in_repo = conn.execute(
                select(s.repo_blob.c.oid).where(
                    s.repo_blob.c.repo_id == repo.id, s.repo_blob.c.oid == oid
                )
            ).first()
            if in_repo or _just_sent(conn, actor, [oid]):
                return oid
        return None

    def offers(
        self, actor: Actor, chunk: bytes, limit: int = 4
    ) -> dict[XetHash, tuple[Digest, ...]]:
        """Xorbs that `chunk` leads to, each with the files made of it that the actor may read.

        A xorb may hold chunks of files of others, too: show those of these files only.
        """
        query = (
            select(s.dedup.c.xorb, s.xorb_blob.c.oid)
            .join(s.xorb_blob, s.xorb_blob.c.xorb == s.dedup.c.xorb)
            .where(s.dedup.c.chunk == chunk, _may_be_held(actor))
            .limit(HOLDERS_LOOKED_AT_MAX)
        )
        with self.db.read() as conn:
            rows = conn.execute(query).all()
            mine = held(conn, actor, [Digest(row.oid) for row in rows])
        found: dict[XetHash, list[Digest]] = {}
        for row in rows:
            if row.oid in mine:
                found.setdefault(XetHash(row.xorb), []).append(Digest(row.oid))
        return {xorb: tuple(oids) for xorb, oids in list(found.items())[:limit]}

    def forget_expired(self) -> int:
        """Drop possession notes that ran out; the number dropped."""
        with self.db.write() as conn:
            return conn.execute(delete(s.upload).where(s.upload.c.expires_ms < now_ms())).rowcount


def _insert_new(db: Db, conn: Connection, table: Table, rows: list[dict[str, object]]) -> None:
    if rows:
        conn.execute(db.insert_new(table), rows)


def _just_sent(conn: Connection, actor: Actor, oids: Sequence[str]) -> set[str]:
    if actor.user_id is None:
        return set()
    if actor == OPERATOR:
        return set(conn.execute(select(s.blob.c.oid).where(s.blob.c.oid.in_(oids))).scalars())
    query = select(s.upload.c.oid).where(
        s.upload.c.user_id == actor.user_id,
        s.upload.c.oid.in_(oids),
        s.upload.c.expires_ms > now_ms(),
    )
    return set(conn.execute(query).scalars())


def _may_be_held(actor: Actor) -> ColumnElement[bool]:
    """SQL: a first sieve over `xorb_blob`, so that a limit cuts off no file that `held` would let
    through: fine-tunes of many people begin with the same header and so the same chunk."""
    in_repo = exists().where(
        s.repo_blob.c.oid == s.xorb_blob.c.oid,
        s.repo.c.id == s.repo_blob.c.repo_id,
        or_(rights.open_to_all(), _let_in(actor)),
    )
    sent = exists().where(s.upload.c.oid == s.xorb_blob.c.oid, s.upload.c.user_id == actor.user_id)
    return or_(in_repo, sent)


def _let_in(actor: Actor) -> ColumnElement[bool]:
    """SQL: a first sieve of repos whose bytes are not for everybody. Of a popular file there may
    be any number of holders, and only those that this actor has to do with are worth a look."""
    if actor.is_admin:
        return true()
    mine = s.repo.c.owner_id.in_([actor.user_id or 0, *(org.org_id for org in actor.orgs)])
    asked = so.access_request.c
    accepted = exists().where(
        asked.repo_id == s.repo.c.id,
        asked.user_id == (actor.user_id or 0),
        asked.status == "accepted",
    )
    return or_(mine, accepted)


def held(conn: Connection, actor: Actor, oids: Sequence[Digest]) -> dict[str, int]:
    """As `Blobs.held`, inside a transaction. The same queries run whatever exists."""
    found: set[str] = set()
    sizes: dict[str, int] = {}
    for at in range(0, len(oids), IN_MAX):
        part = [str(oid) for oid in oids[at : at + IN_MAX]]
        found |= _just_sent(conn, actor, part)
        holder = (s.repo_blob.c.oid == s.blob.c.oid) & (s.repo.c.id == s.repo_blob.c.repo_id)
        public = select(s.blob.c.oid).where(
            s.blob.c.oid.in_(part), exists().where(holder, rights.open_to_all())
        )
        found |= set(conn.execute(public).scalars())
        query = (
            select(s.repo, s.repo_blob.c.oid)
            .join(s.repo_blob, s.repo_blob.c.repo_id == s.repo.c.id)
            .where(s.repo_blob.c.oid.in_(part), ~rights.open_to_all(), _let_in(actor))
        )
        for row in conn.execute(query):
            if row.oid not in found and rights.allowed(actor, Repo.of(row), "bytes"):
                found.add(row.oid)
        known = select(s.blob.c.oid, s.blob.c.size_bytes).where(s.blob.c.oid.in_(part))
        sizes.update({row.oid: row.size_bytes for row in conn.execute(known)})
    return {oid: sizes[oid] for oid in found if oid in sizes}


def restore(
    db: Db, conn: Connection, actor: Actor, repo_id: int, blobs: Iterable[tuple[Digest, int]]
) -> list[Digest]:
    """Of blobs that a repo's files name already, take back those that were deleted from it."""
    offered = dict(blobs)
    gone = withdrawn(conn, repo_id, list(offered))
    link(db, conn, actor, repo_id, [(oid, offered[oid]) for oid in gone])
    return gone


def withdrawn(conn: Connection, repo_id: int, oids: Sequence[Digest]) -> list[Digest]:
    """Of these blobs, those whose content was deleted from the repo for good."""
    gone: list[Digest] = []
    for at in range(0, len(oids), IN_MAX):
        query = select(s.withdrawn.c.oid).where(
            s.withdrawn.c.repo_id == repo_id, s.withdrawn.c.oid.in_(oids[at : at + IN_MAX])
        )
        gone += map(Digest, conn.execute(query).scalars())
    return gone


def link(
    db: Db, conn: Connection, actor: Actor, repo_id: int, blobs: Iterable[tuple[Digest, int]]
) -> None:
    """Note that a repo holds these blobs, in the transaction that commits them. The note that the
    actor uploaded them has done its work: whoever may read the repo may link them from now on."""
    at = now_ms()
    rows = [
        {"repo_id": repo_id, "oid": oid, "size_bytes": size, "created_ms": at}
        for oid, size in dict(blobs).items()
    ]
    if rows:
        conn.execute(db.insert_new(s.repo_blob), rows)
    oids = [row["oid"] for row in rows]
    for start in range(0, len(oids), IN_MAX):
        some = oids[start : start + IN_MAX]
        mine = (s.upload.c.user_id == actor.user_id) & s.upload.c.oid.in_(some)
        conn.execute(delete(s.upload).where(mine))
        back = (s.withdrawn.c.repo_id == repo_id) & s.withdrawn.c.oid.in_(some)
        conn.execute(delete(s.withdrawn).where(back))  # deleted once, and here again


def withdraw(db: Db, conn: Connection, repo_id: int, oids: Iterable[Digest]) -> None:
    """Note that these were taken out of the repo for good, where they came with that note."""
    at = now_ms()
    rows: list[dict[str, object]] = [
        {"repo_id": repo_id, "oid": oid, "deleted_ms": at} for oid in set(oids)
    ]
    _insert_new(db, conn, s.withdrawn, rows)
