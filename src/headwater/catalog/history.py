"""History: the commits behind a revision, and the last one that touched a path."""

from __future__ import annotations

from collections.abc import Iterable

from headwater.catalog.db import Db
from headwater.catalog.files import Files
from headwater.catalog.git import GitObjects
from headwater.catalog.models import CommitInfo, Repo
from headwater.names import GitOid

# How far back `last_touched` looks: each step compares two trees. Beyond it the oldest commit
# reached is named, which is true of the path and at most too young.
STEPS_MAX = 2_000


class History:
    def __init__(self, db: Db, git: GitObjects, files: Files) -> None:
        self.db = db
        self.git = git
        self.files = files

    def list(self, repo: Repo, start: GitOid, limit: int, *, skip: bool = False) -> list[CommitInfo]:
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
        """For each path, the newest commit at or before `start` that changed it."""
        touched: dict[str, CommitInfo] = {}
        with self.db.read() as conn:
            info = self.git.commit(conn, repo.id, start)
            now = self.files.path_oids(conn, repo.id, info.tree, paths)
            for _ in range(STEPS_MAX):
                if not now:
                    return touched
                if not info.parents:
                    break
                parent = self.git.commit(conn, repo.id, info.parents[0])
                before = self.files.path_oids(conn, repo.id, parent.tree, now)
                for path in [p for p, oid in now.items() if before[p] != oid]:
                    touched[path] = info
                    del now[path]
                info = parent
            touched.update(dict.fromkeys(now, info))
        return touched
