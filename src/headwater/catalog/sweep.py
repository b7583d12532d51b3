"""What gc needs to know from the catalog, and what it may drop there.

    live_blobs()        every blob a repo holds or an upload still waits with
    drop(...)           forget blobs that nothing names, re-checked under the write lock
    sweep_objects(...)  git objects that no ref reaches, older than the grace time
"""

from __future__ import annotations

from collections.abc import Iterator

from dulwich.objects import Tag
from sqlalchemy import ColumnElement, Connection, delete, exists, select

from headwater.catalog import schema as s
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.git import GitObjects
from headwater.names import Digest, GitOid, XetHash


class Sweep:
    def __init__(self, db: Db, git: GitObjects) -> None:
        self.db = db
        self.git = git

    def dead_blobs(self, older_than_ms: int) -> list[Digest]:
        """Known blobs that no repo holds and no upload waits with."""
        with self.db.read() as conn:
            query = select(s.blob.c.oid).where(_dead(older_than_ms))
            return [Digest(oid) for oid in conn.execute(query).scalars()]

    def forget_blob(self, oid: Digest, older_than_ms: int) -> bool:
        """Drop the blob's row if it is still dead: under the lock, so that an upload or commit
        of this moment wins. True when the caller may now delete its bytes."""
        with self.db.write() as conn:
            done = conn.execute(delete(s.blob).where(s.blob.c.oid == oid, _dead(older_than_ms)))
            if done.rowcount:
                conn.execute(delete(s.xorb_blob).where(s.xorb_blob.c.oid == oid))
            return bool(done.rowcount)

    def knows_blob(self, oid: Digest) -> bool:
        with self.db.read() as conn:
            return (
                conn.execute(select(s.blob.c.oid).where(s.blob.c.oid == oid)).first() is not None
            )

    def forget_xorb(self, xorb: XetHash) -> bool:
        """Drop a xorb's dedup rows unless a blob uses it. True when its bytes may go."""
        with self.db.write() as conn:
            used = conn.execute(select(s.xorb_blob.c.oid).where(s.xorb_blob.c.xorb == xorb)).first()
            if used:
                return False
            conn.execute(delete(s.dedup).where(s.dedup.c.xorb == xorb))
            return True

    def repo_ids(self) -> list[int]:
        with self.db.read() as conn:
            return list(conn.execute(select(s.repo.c.id)).scalars())

    def sweep_objects(self, repo_id: int, older_than_ms: int) -> int:
        """Drop unreachable objects of one repo that are older than the grace time."""
        with self.db.write() as conn:
            live = set(self.reachable(conn, repo_id))
            query = select(s.git_object.c.oid).where(
                s.git_object.c.repo_id == repo_id, s.git_object.c.created_ms < older_than_ms
            )
            dead = [oid for oid in conn.execute(query).scalars() if oid not in live]
            for at in range(0, len(dead), 500):
                conn.execute(
                    delete(s.git_object).where(
                        s.git_object.c.repo_id == repo_id,
                        s.git_object.c.oid.in_(dead[at : at + 500]),
                    )
                )
            return len(dead)

    def reachable(self, conn: Connection, repo_id: int) -> Iterator[str]:
        """Every object that a ref of the repo leads to, once each. NotFound names a gap."""
        seen: set[str] = set()
        rows = conn.execute(
            select(s.ref.c.name, s.ref.c.target, s.ref.c.commit).where(s.ref.c.repo_id == repo_id)
        ).all()
        for row in rows:
            if row.target != row.commit and row.target not in seen:
                Tag.from_string(self.git.read(conn, repo_id, row.target, "tag"))
                seen.add(row.target)
                yield row.target
        todo = [GitOid(row.commit) for row in rows]
        while todo:
            commit = todo.pop()
            if commit in seen:
                continue
            seen.add(commit)
            yield commit
            info = self.git.commit(conn, repo_id, commit)
            todo += info.parents
            yield from self._tree(conn, repo_id, info.tree, seen)

    def _tree(self, conn: Connection, repo_id: int, root: GitOid, seen: set[str]) -> Iterator[str]:
        todo = [root]
        while todo:
            tree = todo.pop()
            if tree in seen:
                continue
            seen.add(tree)
            yield tree
            for row in self.git.tree(conn, repo_id, tree):
                if row.is_tree:
                    todo.append(row.oid)
                elif row.oid not in seen:
                    seen.add(row.oid)
                    yield row.oid


def _dead(older_than_ms: int) -> ColumnElement[bool]:
    held = exists().where(s.repo_blob.c.oid == s.blob.c.oid)
    waiting = exists().where(s.upload.c.oid == s.blob.c.oid, s.upload.c.expires_ms > now_ms())
    return (s.blob.c.created_ms < older_than_ms) & ~held & ~waiting


