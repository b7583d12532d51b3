"""History: the commits behind a revision, and the last one that touched a path."""

from __future__ import annotations

from collections.abc import Iterable

from headwater.catalog.db import Db
from headwater.catalog.files import Files
from headwater.catalog.git import GitObjects
from headwater.catalog.models import CommitInfo, Repo
from headwater.names import GitOid

# How far back `last_touched` looks: each step compares two trees, and costs by their rows. Beyond
# either the oldest commit reached is named, which is true of the path and at most too young.
STEPS_MAX = 2_000
ROWS_MAX = 400_000  # about half a second of reading


class History:
    def __init__(self, db: Db, git: GitObjects, files: Files) -> None:
        self.db = db
        self.git = git
        self.files = files

    def list(
        self, repo: Repo, start: GitOid, limit: int, *, skip: bool = False
    ) -> list[CommitInfo]:
        """Up to `limit` commits, newest first, along first parents; `skip` leaves out `start`."""
        found: list[CommitInfo] = []
        with self.db.read() as conn:
            at: GitOid | None = start
            while at is not None and len(found) < limit + skip:
                info = self.git.commit(conn, repo.id, at)
                found.append(info)
                at = info.parents[0] if info.parents else None
        return found[1:] if skip else found

    def last_touched(
        self, repo: Repo, start: GitOid, paths: Iterable[str]
    ) -> dict[str, CommitInfo]:
        """For each path that is there at `start`, the newest commit up to it that changed it."""
        touched: dict[str, CommitInfo] = {}
        with self.db.read() as conn:
            info = self.git.commit(conn, repo.id, start)
            here = self.files.path_oids(conn, repo.id, info.tree, paths)
            left = {path: path for path, oid in here.items() if oid is not None}
            rows = 0
            for _ in range(STEPS_MAX):
                if not left or not info.parents or rows > ROWS_MAX:
                    break
                parent = self.git.commit(conn, repo.id, info.parents[0])
                rows += len(self.git.tree(conn, repo.id, parent.tree))
                found = self.files.changed(conn, repo.id, parent.tree, info.tree, left)
                for path in list(found):
                    touched[path] = info
                    del left[path]
                info = parent
            touched.update(dict.fromkeys(left, info))
        return touched
