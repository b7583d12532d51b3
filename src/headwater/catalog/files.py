"""Files of a commit: find one, list many, read the ordinary ones.

The tree objects are the truth; each is read once and remembered, since it can never change. What
a listing needs beside names (size, LFS digest, Xet hash) is kept beside the blob object, so one
query answers for a whole page at any revision, old ones as fast as the newest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, select

from headwater.catalog import schema as s
from headwater.catalog.db import Db
from headwater.catalog.git import GitObjects, TreeRow
from headwater.catalog.models import Entry, Lfs, Repo
from headwater.errors import BadRequest, EntryNotFound
from headwater.names import Digest, GitOid, RepoPath, XetHash, shown

_IN_MAX = 500  # names in one IN (…): below every driver's limit on bound values


@dataclass(frozen=True, slots=True)
class _Found:
    path: str
    row: TreeRow


class Files:
    def __init__(self, db: Db, git: GitObjects) -> None:
        self.db = db
        self.git = git

    def find(self, repo: Repo, tree: GitOid, path: RepoPath) -> Entry:
        """The entry at `path`, or EntryNotFound."""
        with self.db.read() as conn:
            found = self._at(conn, repo.id, tree, path)
            if found is None:
                raise EntryNotFound(f"Entry not found: {shown(path)}")
            return self._entries(conn, repo.id, [found])[0]

    def paths(self, repo: Repo, tree: GitOid, paths: Iterable[str]) -> list[Entry]:
        """Entries at those of `paths` that exist; the others are left out silently."""
        with self.db.read() as conn:
            found = []
            for path in dict.fromkeys(paths):
                try:
                    at = self._at(conn, repo.id, tree, RepoPath(path.rstrip("/")))
                except BadRequest:
                    continue
                if at is not None:
                    found.append(at)
            return self._entries(conn, repo.id, found)

    def list(
        self,
        repo: Repo,
        tree: GitOid,
        folder: RepoPath | None = None,
        *,
        recursive: bool = False,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[Entry]:
        """Entries of a folder, or of everything below it, from the one behind `after` on."""
        with self.db.read() as conn:
            root, prefix = tree, ""
            if folder is not None:
                found = self._at(conn, repo.id, tree, folder)
                if found is None:
                    raise EntryNotFound(f"{shown(folder)} does not exist on this revision")
                if not found.row.is_tree:
                    return [] if after else self._entries(conn, repo.id, [found])
                root, prefix = found.row.oid, f"{folder}/"
            trail = after[len(prefix) :].split("/") if after and after.startswith(prefix) else []
            walk = self.walk(conn, repo.id, root, prefix, recursive, trail)
            return self._entries(conn, repo.id, list(islice(walk, limit)))

    def read(self, repo: Repo, entry: Entry) -> bytes:
        """The bytes of an ordinary file, or of the pointer of an LFS one."""
        with self.db.read() as conn:
            return self.git.read(conn, repo.id, entry.oid, "blob")

    def path_oids(
        self, conn: Connection, repo_id: int, tree: GitOid, paths: Iterable[str]
    ) -> dict[str, GitOid | None]:
        """Git ids at `paths`, None where nothing is; for comparing two commits."""
        found = {path: self._at(conn, repo_id, tree, path) for path in paths}
        return {path: at.row.oid if at else None for path, at in found.items()}

    def _at(self, conn: Connection, repo_id: int, tree: GitOid, path: str) -> _Found | None:
        rows = self.git.tree(conn, repo_id, tree)
        *folders, name = path.split("/")
        for folder in folders:
            row = _pick(rows, folder)
            if row is None or not row.is_tree:
                return None
            rows = self.git.tree(conn, repo_id, row.oid)
        row = _pick(rows, name)
        return _Found(path, row) if row else None

    def walk(
        self,
        conn: Connection,
        repo_id: int,
        tree: GitOid,
        prefix: str,
        recursive: bool,
        after: Sequence[str],
    ) -> Iterator[_Found]:
        """Rows in git's order, a folder before what is in it, beginning behind `after`."""
        rows = self.git.tree(conn, repo_id, tree)
        start = 0
        if after:
            start = next((i for i, row in enumerate(rows) if row.name == after[0]), len(rows))
            if start < len(rows):
                row = rows[start]
                if recursive and row.is_tree:
                    yield from self.walk(
                        conn, repo_id, row.oid, f"{prefix}{row.name}/", True, after[1:]
                    )
                start += 1
        for row in rows[start:]:
            yield _Found(prefix + row.name, row)
            if recursive and row.is_tree:
                yield from self.walk(conn, repo_id, row.oid, f"{prefix}{row.name}/", True, ())

    def _entries(self, conn: Connection, repo_id: int, found: Sequence[_Found]) -> list[Entry]:
        oids = list({f.row.oid for f in found if not f.row.is_tree})
        facts: dict[str, Any] = {}
        for at in range(0, len(oids), _IN_MAX):
            query = (
                select(
                    s.git_object.c.oid,
                    s.git_object.c.size_bytes,
                    s.git_object.c.lfs_oid,
                    s.git_object.c.lfs_bytes,
                    s.blob.c.xet_hash,
                )
                .outerjoin(s.blob, s.blob.c.oid == s.git_object.c.lfs_oid)
                .where(
                    s.git_object.c.repo_id == repo_id,
                    s.git_object.c.oid.in_(oids[at : at + _IN_MAX]),
                )
            )
            facts.update({row.oid: row for row in conn.execute(query)})
        return [_entry(f, facts.get(f.row.oid)) for f in found]


def _pick(rows: Sequence[TreeRow], name: str) -> TreeRow | None:
    return next((row for row in rows if row.name == name), None)


def _entry(found: _Found, facts: Any) -> Entry:
    path, row = RepoPath(found.path), found.row
    if row.is_tree:
        return Entry(path, "directory", row.oid, 0)
    if facts is None:
        raise EntryNotFound(
            f"the content of {shown(path)} is missing from the catalog; run `headwater check`"
        )
    if facts.lfs_oid is None:
        return Entry(path, "file", row.oid, facts.size_bytes)
    lfs = Lfs(
        Digest(facts.lfs_oid),
        facts.lfs_bytes,
        facts.size_bytes,
        XetHash(facts.xet_hash) if facts.xet_hash else None,
    )
    return Entry(path, "file", row.oid, facts.lfs_bytes, lfs)
