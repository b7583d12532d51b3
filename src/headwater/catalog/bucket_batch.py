"""One batch of changes to a bucket, inside one transaction.

    batch = Batch(db, conn, actor, bucket)
    batch.put(Put(…)); batch.drop(Drop(…))   raise what is wrong with that change alone
    batch.settle()                           links the blobs, writes the journal and the audit row

A file is put by its Xet hash, which gives nothing to those who do not hold its bytes (rule T1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from headwater.catalog import audit, blobs, events
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.models import Repo
from headwater.catalog.repos import find
from headwater.errors import BadRequest, EntryNotFound
from headwater.names import Digest, RepoPath, RepoType, XetHash, shown

CHANGES_KEPT_MS = 24 * 3600_000  # who was away for longer lists the bucket anew
RETRY_WINDOW_MS = 600_000  # clients give up on one request within minutes
_SAME = ("oid", "xet_hash", "content_type", "mtime_ms")  # a file is what it was


@dataclass(frozen=True, slots=True)
class Put:
    """A file that was uploaded over Xet, or is held by a repo that the caller names."""

    path: RepoPath
    xet_hash: XetHash
    mtime_ms: int
    content_type: str | None = None
    source: tuple[RepoType, str] | None = None  # for a copy: the repo that holds it


@dataclass(frozen=True, slots=True)
class Drop:
    path: RepoPath


class Batch:
    """The changes of one request, inside its transaction."""

    def __init__(self, db: Db, conn: Connection, actor: Actor, bucket: Repo) -> None:
        self.db = db
        self.conn = conn
        self.actor = actor
        self.bucket = bucket
        self._linked: dict[Digest, int] = {}
        self._noted: list[dict[str, Any]] = []
        self._at_ms = now_ms()

    def put(self, change: Put) -> None:
        oid, size = self._source(change)
        self._refuse_in_the_way(change.path)
        values = {
            "oid": oid,
            "size_bytes": size,
            "xet_hash": change.xet_hash,
            "content_type": change.content_type,
            "mtime_ms": change.mtime_ms,
            "uploaded_ms": self._at_ms,
        }
        here = self._here(change.path)
        if here and all(values[name] == here[name] for name in _SAME):
            return  # the retry of a put whose answer was lost, or a file sent again: no news
        self.conn.execute(
            self.db.upsert(s.bucket_file, ["repo_id", "path"], values),
            {"repo_id": self.bucket.id, "path": change.path, **values},
        )
        self._linked[oid] = size
        self._note(change.path, "update" if here else "add", size, change.xet_hash, change.mtime_ms)

    def drop(self, change: Drop) -> None:
        if not self._here(change.path):
            if self._just_dropped(change.path):
                return  # the retry of a removal whose answer was lost
            raise EntryNotFound("there is no file of this name")
        self.conn.execute(delete(s.bucket_file).where(*self._at(change.path)))
        self._note(change.path, "delete")

    def settle(self) -> None:
        """Link the blobs, tell those who follow, and note who did it."""
        if not self._noted:
            return
        conn, bucket = self.conn, self.bucket
        blobs.link(self.db, conn, self.actor, bucket.id, self._linked.items())
        conn.execute(insert(s.bucket_change), self._noted)
        old = s.bucket_change.c.at_ms < self._at_ms - CHANGES_KEPT_MS
        conn.execute(delete(s.bucket_change).where(s.bucket_change.c.repo_id == bucket.id, old))
        conn.execute(s.repo.update().where(s.repo.c.id == bucket.id).values(updated_ms=self._at_ms))
        subject = bucket.prefix + bucket.full
        audit.record(conn, self.actor.audit_name, "bucket.batch", subject, changes=len(self._noted))
        events.refs_moved(conn, self.actor, bucket)

    def _source(self, change: Put) -> tuple[Digest, int]:
        """The blob meant, when the caller may link it; foreign and unknown are told apart by no
        word (rule T1)."""
        query = select(s.blob.c.oid, s.blob.c.size_bytes).where(
            s.blob.c.xet_hash == change.xet_hash
        )
        row = self.conn.execute(query).one_or_none()
        if change.source is not None:
            repo = find(self.conn, self.actor, *change.source, "bytes")
            holds = select(s.repo_blob.c.oid).where(
                s.repo_blob.c.repo_id == repo.id, s.repo_blob.c.oid == (row.oid if row else "")
            )
            if row is None or self.conn.execute(holds).first() is None:
                raise EntryNotFound(f"{repo.full} holds no file with this Xet hash")
        elif row is None or row.oid not in blobs.held(self.conn, self.actor, [Digest(row.oid)]):
            raise BadRequest("no upload of yours has this Xet hash; upload the file first")
        assert row is not None
        return Digest(row.oid), row.size_bytes

    def _refuse_in_the_way(self, path: RepoPath) -> None:
        """A file cannot be a folder, too: no file system of a client could hold both."""
        parts = path.segments
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        mine = s.bucket_file.c.repo_id == self.bucket.id
        query = select(s.bucket_file.c.path).where(mine, s.bucket_file.c.path.in_(above))
        if above and (found := self.conn.execute(query).scalar()) is not None:
            raise BadRequest(f"{shown(found)} is a file, so nothing can lie below it")
        below = (s.bucket_file.c.path > f"{path}/") & (s.bucket_file.c.path < f"{path}0")
        if self.conn.execute(select(s.bucket_file.c.path).where(mine, below).limit(1)).first():
            raise BadRequest("there is a folder of this name")

    def _at(self, path: RepoPath) -> tuple[Any, Any]:
        return s.bucket_file.c.repo_id == self.bucket.id, s.bucket_file.c.path == path

    def _here(self, path: RepoPath) -> dict[str, Any] | None:
        """The file of that path, as it is."""
        query = select(s.bucket_file).where(*self._at(path))
        row = self.conn.execute(query).mappings().one_or_none()
        return None if row is None else dict(row)

    def _just_dropped(self, path: RepoPath) -> bool:
        table = s.bucket_change
        mine = (table.c.repo_id == self.bucket.id) & (table.c.path == path)
        recent = table.c.at_ms > self._at_ms - RETRY_WINDOW_MS
        query = select(table.c.op).where(mine, recent).order_by(table.c.id.desc()).limit(1)
        return self.conn.execute(query).scalar() == "delete"

    def _note(
        self,
        path: RepoPath,
        op: str,
        size_bytes: int | None = None,
        xet_hash: XetHash | None = None,
        mtime_ms: int | None = None,
    ) -> None:
        self._noted.append(
            {
                "repo_id": self.bucket.id,
                "path": path,
                "op": op,
                "size_bytes": size_bytes,
                "xet_hash": xet_hash,
                "mtime_ms": mtime_ms,
                "at_ms": self._at_ms,
            }
        )
