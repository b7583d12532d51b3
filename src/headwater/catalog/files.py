"""Files of a commit: find one, list many, read the ordinary ones.

The tree objects are the truth; each is read once and remembered, since it can never change. What
a listing needs beside names (size, LFS digest, Xet hash) is kept beside the blob object, so one
query answers for a whole page at any revision, old ones as fast as the newest.
"""

from __future__ import annotations

import builtins
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, select

from headwater.catalog import schema as s
from headwater.catalog.db import IN_MAX, Db
from headwater.catalog.git import GitObjects, TreeRow, sort_key
from headwater.catalog.models import Entry, Lfs, Repo
from headwater.catalog.repos import MAIN
from headwater.errors import BadRequest, EntryNotFound
from headwater.names import Digest, GitOid, RepoPath, XetHash, shown

PATHS_LOOKED_AT_MAX = 5_000  # when a large file's name is wanted; repos with more are rare


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
            for path in dict.fromkeys(path.rstrip("/") for path in paths):
                try:
                    at = self._at(conn, repo.id, tree, RepoPath(path))
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
    ) -> builtins.list[Entry]:
        """Entries of a folder, or of everything below it, from the one behind `after` on.

        EntryNotFound when there is no such folder; a file in its place is listed alone.
        """
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

    def path_of(self, repo: Repo, oid: Digest) -> str | None:
        """A path of `main` whose large file is `oid`: the first of those looked at, or None."""
        mine = (s.git_object.c.repo_id == repo.id) & (s.git_object.c.lfs_oid == oid)
        head = select(s.ref.c.commit).where(s.ref.c.repo_id == repo.id, s.ref.c.name == MAIN)
        with self.db.read() as conn:
            pointers = set(conn.execute(select(s.git_object.c.oid).where(mine)).scalars())
            commit = conn.execute(head).scalar()
            if not pointers or commit is None:
                return None
            tree = self.git.commit(conn, repo.id, commit).tree
            walk = self.walk(conn, repo.id, tree, "", True, ())
            found = (f.path for f in islice(walk, PATHS_LOOKED_AT_MAX) if f.row.oid in pointers)
            return next(found, None)

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

    def changed(
        self,
        conn: Connection,
        repo_id: int,
        old: GitOid | None,
        new: GitOid | None,
        paths: Mapping[str, str],
    ) -> Iterator[str]:
        """Of `paths` (full path -> path below these trees), those that differ in two trees.

        Only folders that differ are read: their ids say whether anything inside does.
        """
        if old == new:
            return
        before = self.git.tree(conn, repo_id, old).by_name if old else {}
        after = self.git.tree(conn, repo_id, new).by_name if new else {}
        inside: dict[str, dict[str, str]] = {}
        for path, below in paths.items():
            name, _, rest = below.partition("/")
            if rest:
                inside.setdefault(name, {})[path] = rest
            elif _oid(before.get(name)) != _oid(after.get(name)):
                yield path
        for name, those in inside.items():
            was, now = _folder(before.get(name)), _folder(after.get(name))
            yield from self.changed(conn, repo_id, was, now, those)

    def _at(self, conn: Connection, repo_id: int, tree: GitOid, path: str) -> _Found | None:
        rows = self.git.tree(conn, repo_id, tree)
        *folders, name = path.split("/")
        for folder in folders:
            row = rows.by_name.get(folder)
            if row is None or not row.is_tree:
                return None
            rows = self.git.tree(conn, repo_id, row.oid)
        row = rows.by_name.get(name)
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
            row = rows.by_name.get(after[0])
            is_tree = row.is_tree if row else len(after) > 1
            here = sort_key(after[0], is_tree=is_tree)
            start = bisect_left(rows, here, key=lambda row: row.sort_key)
            if row is not None:
                start += 1
                if recursive and row.is_tree:
                    below = f"{prefix}{row.name}/"
                    yield from self.walk(conn, repo_id, row.oid, below, True, after[1:])
        for row in rows[start:]:
            yield _Found(prefix + row.name, row)
            if recursive and row.is_tree:
                yield from self.walk(conn, repo_id, row.oid, f"{prefix}{row.name}/", True, ())

    def _entries(
        self, conn: Connection, repo_id: int, found: Sequence[_Found]
    ) -> builtins.list[Entry]:
        oids = list({f.row.oid for f in found if not f.row.is_tree})
        facts: dict[str, Any] = {}
        for at in range(0, len(oids), IN_MAX):
            query = (
                select(
                    s.git_object.c.oid,
                    s.git_object.c.size_bytes,
                    s.git_object.c.lfs_oid,
                    s.git_object.c.lfs_bytes,
                    s.blob.c.xet_hash,
                    s.withdrawn.c.deleted_ms,
                )
                .outerjoin(s.blob, s.blob.c.oid == s.git_object.c.lfs_oid)
                .outerjoin(
                    s.withdrawn,
                    (s.withdrawn.c.repo_id == repo_id)
                    & (s.withdrawn.c.oid == s.git_object.c.lfs_oid),
                )
                .where(
                    s.git_object.c.repo_id == repo_id,
                    s.git_object.c.oid.in_(oids[at : at + IN_MAX]),
                )
            )
            facts.update({row.oid: row for row in conn.execute(query)})
        return [_entry(f, facts.get(f.row.oid)) for f in found]


def _oid(row: TreeRow | None) -> GitOid | None:
    return row.oid if row else None


def _folder(row: TreeRow | None) -> GitOid | None:
    return row.oid if row and row.is_tree else None


def _entry(found: _Found, facts: Any) -> Entry:
    # Checked when it was committed (`trees` takes nothing else): a page of 1,000 need not be again.
    path, row = str.__new__(RepoPath, found.path), found.row
    if row.is_tree:
        return Entry(path, "directory", row.oid, 0)
    if facts is None:
        raise EntryNotFound(
            f"the content of {shown(path)} is missing from the catalog; run `headwater check`"
        )
    if facts.lfs_oid is None:
        return Entry(path, "file", row.oid, facts.size_bytes)
    gone = facts.deleted_ms is not None
    lfs = Lfs(
        Digest(facts.lfs_oid),
        facts.lfs_bytes,
        facts.size_bytes,
        XetHash(facts.xet_hash) if facts.xet_hash and not gone else None,
        gone,
    )
    return Entry(path, "file", row.oid, facts.lfs_bytes, lfs)
