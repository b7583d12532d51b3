"""What gc needs to know from the catalog, and what it may drop there.

    dead_blobs(…), forget_blob(…)   blobs that no repo holds, no comment shows, no upload waits with
    forget_xorb(…)                  xorbs that no blob is made of
    sweep_objects(…)                git objects of a repo that no ref reaches

Everything is looked at again under the write lock before it goes, so that an upload or a commit
of the same moment wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlalchemy import ColumnElement, Connection, delete, exists, select

from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.clock import now_ms
from headwater.catalog.db import IN_MAX, Db
from headwater.catalog.git import GitObjects
from headwater.errors import HeadwaterError
from headwater.names import Digest, XetHash


class Sweep:
    def __init__(self, db: Db, git: GitObjects) -> None:
        self.db = db
        self.git = git

    def dead_blobs(self, older_than_ms: int) -> list[Digest]:
        """Known blobs that no repo holds, no comment shows and no upload waits with."""
        with self.db.read() as conn:
            query = select(s.blob.c.oid).where(_dead(older_than_ms)).order_by(s.blob.c.oid)
            return [Digest(oid) for oid in conn.execute(query).scalars()]

    def forget_blob(self, oid: Digest, older_than_ms: int, remove: Callable[[], bool]) -> bool:
        """Drop the blob's row if it is still dead, and its bytes by `remove`, under the lock: an
        upload or commit of this moment comes before, and wins, or after, and finds nothing."""
        with self.db.write() as conn:
            done = conn.execute(delete(s.blob).where(s.blob.c.oid == oid, _dead(older_than_ms)))
            if not done.rowcount:
                return False
            conn.execute(delete(s.xorb_blob).where(s.xorb_blob.c.oid == oid))
            conn.execute(delete(s.packing).where(s.packing.c.oid == oid))
            return remove()

    def forget_stray(self, oid: Digest, remove: Callable[[], bool]) -> bool:
        """As `forget_blob`, for bytes that never got a row: an upload that died before it."""
        with self.db.write() as conn:
            return not _known(conn, oid) and remove()

    def is_stray(self, oid: Digest) -> bool:
        with self.db.read() as conn:
            return not _known(conn, oid)

    def is_unused(self, xorb: XetHash) -> bool:
        """Whether no blob is made of this xorb."""
        with self.db.read() as conn:
            return _users(conn, xorb) is None

    def forget_xorb(self, xorb: XetHash, remove: Callable[[], bool]) -> bool:
        """Drop a xorb that no blob uses, its dedup rows and its bytes, under the lock."""
        with self.db.write() as conn:
            if _users(conn, xorb) is not None or not remove():
                return False
            conn.execute(delete(s.dedup).where(s.dedup.c.xorb == xorb))
            return True

    def repo_ids(self) -> list[int]:
        with self.db.read() as conn:
            return list(conn.execute(select(s.repo.c.id)).scalars())

    def sweep_objects(self, repo_id: int, older_than_ms: int) -> int:
        """Drop unreachable objects of one repo that are older than the grace time.

        With them go the links to blobs that no pointer and no bucket file names any more.
        Returns the number of objects dropped; NotFound or Corrupt, with nothing dropped, when the
        history has a gap.
        """
        seen: set[str] = set()
        with self.db.read() as conn:  # the long walk, while others write
            for _ in self.reachable(conn, repo_id, seen):
                pass
        with self.db.write() as conn:
            # What was committed meanwhile: its objects are young, but a new ref may lead to old
            # ones. The walk ends where the first one was.
            for _ in self.reachable(conn, repo_id, seen):
                pass
            mine, old = s.git_object.c.repo_id == repo_id, s.git_object.c.created_ms
            query = select(s.git_object.c.oid).where(mine, old < older_than_ms)
            dead = [oid for oid in conn.execute(query).scalars() if oid not in seen]
            for at in range(0, len(dead), IN_MAX):
                some = s.git_object.c.oid.in_(dead[at : at + IN_MAX])
                conn.execute(delete(s.git_object).where(mine, some))
            self._unlink(conn, repo_id, older_than_ms)
            self._forget_withdrawn(conn, repo_id)
            return len(dead)

    def _unlink(self, conn: Connection, repo_id: int, older_than_ms: int) -> None:
        named = select(s.git_object.c.lfs_oid).where(
            s.git_object.c.repo_id == repo_id, s.git_object.c.lfs_oid.is_not(None)
        )
        in_bucket = select(s.bucket_file.c.oid).where(s.bucket_file.c.repo_id == repo_id)
        mine = s.repo_blob.c.repo_id == repo_id
        held = select(s.repo_blob.c.oid).where(mine, s.repo_blob.c.created_ms < older_than_ms)
        names = set(conn.execute(named).scalars()) | set(conn.execute(in_bucket).scalars())
        unnamed = sorted(set(conn.execute(held).scalars()) - names)
        for at in range(0, len(unnamed), IN_MAX):
            some = s.repo_blob.c.oid.in_(unnamed[at : at + IN_MAX])
            conn.execute(delete(s.repo_blob).where(mine, some))

    def _forget_withdrawn(self, conn: Connection, repo_id: int) -> None:
        """What was taken out for good and is named by no pointer any more needs no note."""
        named = exists().where(
            s.git_object.c.repo_id == repo_id, s.git_object.c.lfs_oid == s.withdrawn.c.oid
        )
        conn.execute(delete(s.withdrawn).where(s.withdrawn.c.repo_id == repo_id, ~named))

    def reachable(
        self,
        conn: Connection,
        repo_id: int,
        seen: set[str],
        gap: Callable[[HeadwaterError], None] | None = None,
        under: tuple[str, ...] = ("refs/",),
    ) -> Iterator[str]:
        """Every object that a ref of the repo leads to and that is not in `seen`, once each.

        An object that is missing or rotten is raised, or given to `gap` and walked past. `under`
        says which refs: their names begin with one of these.
        """
        rows = conn.execute(
            select(s.ref.c.name, s.ref.c.target, s.ref.c.commit).where(s.ref.c.repo_id == repo_id)
        ).all()
        todo: list[tuple[str, str]] = []
        for row in rows:
            if not row.name.startswith(under):
                continue
            todo.append((row.commit, "commit"))
            if row.target != row.commit:
                todo.append((row.target, "tag"))
        while todo:
            oid, kind = todo.pop()
            if oid in seen:
                continue
            seen.add(oid)
            yield oid
            try:
                todo += self.git.links(conn, repo_id, oid, kind)
            except HeadwaterError as error:
                if gap is None:
                    raise
                gap(error)


def _dead(older_than_ms: int) -> ColumnElement[bool]:
    held = exists().where(s.repo_blob.c.oid == s.blob.c.oid)
    shown = exists().where(so.attachment.c.oid == s.blob.c.oid)
    waiting = exists().where(s.upload.c.oid == s.blob.c.oid, s.upload.c.expires_ms > now_ms())
    return (s.blob.c.created_ms < older_than_ms) & ~held & ~shown & ~waiting


def _known(conn: Connection, oid: Digest) -> bool:
    return conn.execute(select(s.blob.c.oid).where(s.blob.c.oid == oid)).first() is not None


def _users(conn: Connection, xorb: XetHash) -> str | None:
    """A blob that is made of this xorb, if there is one."""
    query = select(s.xorb_blob.c.oid).where(s.xorb_blob.c.xorb == xorb).limit(1)
    return conn.execute(query).scalar()
