"""Paths of large files, wherever in a repo's history they are or were.

    names_of(conn, git, repo_id, pointers) -> {sha256: (path, ref)}

The heads of all refs are looked at first, `main` before the others, then what lies behind them.
Each folder is read once, however many commits share it. A name is a help for people: the search
is bounded, and what it does not find has none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from sqlalchemy import Connection, select

from headwater.catalog import schema as s
from headwater.catalog.git import GitObjects
from headwater.catalog.repos import MAIN
from headwater.errors import HeadwaterError
from headwater.names import GitOid

COMMITS_LOOKED_AT_MAX = 5_000
ROWS_LOOKED_AT_MAX = 200_000  # about half a second of reading

Named = dict[str, tuple[str, str]]


def names_of(
    conn: Connection, git: GitObjects, repo_id: int, pointers: Mapping[GitOid, str]
) -> Named:
    """For each SHA-256 that `pointers` (git id -> SHA-256) lead to: a path, and a ref to it."""
    search = Search(conn, git, repo_id)
    missing = set(pointers.values())
    named: Named = {}
    for ref, path, oid in search.files():
        sha = pointers.get(oid)
        if sha in missing and sha is not None:
            named[sha] = (path, ref)
            missing.discard(sha)
        if not missing:
            break
    return named


class Search:
    """One search through a repo, which looks at each folder once and never at too much."""

    def __init__(
        self,
        conn: Connection,
        git: GitObjects,
        repo_id: int,
        *,
        commits_max: int = COMMITS_LOOKED_AT_MAX,
        rows_max: int = ROWS_LOOKED_AT_MAX,
    ) -> None:
        self.conn = conn
        self.git = git
        self.repo_id = repo_id
        self.commits_max = commits_max
        self.rows_max = rows_max
        self.commits: set[str] = set()
        self.trees: set[str] = set()
        self.rows = 0

    def files(self, *, behind: bool = True) -> Iterator[tuple[str, str, GitOid]]:
        """(ref, path, git id) of every file, in the order of the search; without `behind` of the
        heads of the refs only."""
        refs = self.conn.execute(
            select(s.ref.c.name, s.ref.c.commit)
            .where(s.ref.c.repo_id == self.repo_id)
            .order_by(s.ref.c.name != MAIN, s.ref.c.name)
        ).all()
        todo = deque((row.commit, row.name) for row in refs)
        while todo and self.rows < self.rows_max and len(self.commits) < self.commits_max:
            commit, ref = todo.popleft()
            if commit in self.commits:
                continue
            self.commits.add(commit)
            try:
                info = self.git.commit(self.conn, self.repo_id, commit)
                for path, oid in self._below(info.tree, ""):
                    yield ref, path, oid
            except HeadwaterError:
                continue  # a gap in the history hides a name, no more; `check` tells of it
            if behind:
                todo.extend((parent, ref) for parent in info.parents)

    def main(self) -> Iterator[tuple[str, GitOid]]:
        """(path, git id) of the files of `main`; nothing when there is none, or it has a gap."""
        query = select(s.ref.c.commit).where(s.ref.c.repo_id == self.repo_id, s.ref.c.name == MAIN)
        commit = self.conn.execute(query).scalar_one_or_none()
        if commit is not None:
            try:
                yield from self._below(self.git.commit(self.conn, self.repo_id, commit).tree, "")
            except HeadwaterError:
                return  # as in `files`

    def _below(self, tree: GitOid, prefix: str) -> Iterator[tuple[str, GitOid]]:
        """(path, git id) of the files below a tree, less what lies in trees looked at before."""
        if tree in self.trees or self.rows >= self.rows_max:
            return
        self.trees.add(tree)
        rows = self.git.tree(self.conn, self.repo_id, tree)
        self.rows += len(rows) + 1
        for row in rows:
            if row.is_tree:
                yield from self._below(row.oid, f"{prefix}{row.name}/")
            else:
                yield prefix + row.name, row.oid
