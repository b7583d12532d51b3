"""Three-way merge of trees: what `theirs` changed since `base`, made in `ours`.

File by file: what one side left alone is taken from the other; what both changed the same way is
kept; two texts are merged by their lines. All else is a conflict, and so is what the result could
not hold: a file where a folder is, two names that some file systems take for one.

Proven LFS pointers stay what they are: a merge puts the same git objects into another tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from sqlalchemy import Connection, select

from headwater.catalog import schema as s
from headwater.catalog.git import MODE_EXEC, MODE_FILE, GitObjects, NewObject, TreeRow, new_blob
from headwater.catalog.tree_changes import TreeChange, tree_changes
from headwater.catalog.trees import TreeEdit
from headwater.errors import BadRequest, Unprocessable
from headwater.formats.text_diff import Effort, is_binary
from headwater.formats.text_merge import merge
from headwater.names import GitOid, RepoPath

PATHS_MAX = 50_000  # changed by one pull request; commits themselves hold fewer
TEXT_BYTES_MAX = 2**20  # of a file whose two versions are merged by their lines
TEXTS_BYTES_MAX = 8 * 2**20  # of all of them: cutting them into lines takes a second
STEPS_MAX = 4_000_000  # of all their searches together: about two seconds
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Merged:
    """The tree and the objects that are new in it, or the paths that a person must decide on."""

    tree: GitOid
    objects: tuple[NewObject, ...]
    conflicts: tuple[str, ...]


def merge_trees(
    conn: Connection,
    git: GitObjects,
    repo_id: int,
    base: GitOid | None,
    ours: GitOid,
    theirs: GitOid,
) -> Merged:
    """Trees in, tree out; `base` None: the two have nothing in common."""
    if base == ours:
        return Merged(theirs, (), ())
    changes = list(islice(tree_changes(conn, git, repo_id, base, theirs), PATHS_MAX + 1))
    if len(changes) > PATHS_MAX:
        raise Unprocessable(f"over {PATHS_MAX} files differ; merge them in smaller steps")
    return _Merge(conn, git, repo_id, ours).run(changes)


class _Merge:
    def __init__(self, conn: Connection, git: GitObjects, repo_id: int, ours: GitOid) -> None:
        self.conn = conn
        self.git = git
        self.repo_id = repo_id
        self.ours = ours
        self.edit = TreeEdit(lambda oid: git.tree(conn, repo_id, oid), ours)
        self.blobs: list[NewObject] = []
        self.conflicts: list[str] = []
        self.effort = Effort(STEPS_MAX)
        self.text_bytes = 0

    def run(self, changes: Sequence[TreeChange]) -> Merged:
        puts: list[tuple[str, TreeRow]] = []
        for change in changes:
            mine = self._mine(change.path)
            if mine == change.new:
                continue
            if mine != change.old:
                merged = self._both(change, mine)
                if merged is None:
                    self.conflicts.append(change.path)
                else:
                    puts.append((change.path, merged))
            elif change.new is None:
                self.edit.remove(RepoPath(change.path), folder=False)
            else:
                puts.append((change.path, change.new))
        for path, row in puts:  # after the removals: a folder may take a file's place
            try:
                self.edit.put(RepoPath(path), row.mode, row.oid)
            except BadRequest:  # PathCollision, or a folder or file is in the way
                self.conflicts.append(path)
        if self.conflicts:
            return Merged(self.ours, (), tuple(sorted(self.conflicts)))
        root, trees = self.edit.write()
        return Merged(root, (*self.blobs, *trees), ())

    def _mine(self, path: str) -> TreeRow | None:
        """What `ours` has at a path, file or folder."""
        tree = self.ours
        *folders, name = path.split("/")
        for folder in folders:
            row = self.git.tree(self.conn, self.repo_id, tree).by_name.get(folder)
            if row is None or not row.is_tree:
                return None
            tree = row.oid
        return self.git.tree(self.conn, self.repo_id, tree).by_name.get(name)

    def _both(self, change: TreeChange, mine: TreeRow | None) -> TreeRow | None:
        """The one row for a file that both sides changed; None for a conflict."""
        old, new = change.old, change.new
        if old is None or new is None or mine is None or mine.is_tree:
            return None
        mode = _of_three(old.mode, mine.mode, new.mode)
        if mode is None:
            return None
        oid = _of_three(old.oid, mine.oid, new.oid)
        if oid is None:
            if not {old.mode, mine.mode, new.mode} <= {MODE_FILE, MODE_EXEC}:
                return None  # links and submodules, which pushes may bring, are no texts
            made = self._text(old.oid, mine.oid, new.oid)
            if made is None:
                return None
            self.blobs.append(made)
            oid = made.oid
        return TreeRow(mine.name, mode, oid)

    def _text(self, *oids: GitOid) -> NewObject | None:
        """Base, ours and theirs merged by their lines; None when one of them is not a text of
        bounded size, or when they cannot be."""
        facts = select(s.git_object.c.size_bytes, s.git_object.c.lfs_oid).where(
            s.git_object.c.repo_id == self.repo_id, s.git_object.c.oid.in_(oids)
        )
        for row in self.conn.execute(facts):
            self.text_bytes += row.size_bytes
            if row.lfs_oid is not None or row.size_bytes > TEXT_BYTES_MAX:
                return None
        if self.text_bytes > TEXTS_BYTES_MAX:
            return None
        sides = [self.git.read(self.conn, self.repo_id, oid, "blob") for oid in oids]
        if any(is_binary(side) for side in sides):
            return None
        merged = merge(sides[0], sides[1], sides[2], self.effort)
        return None if merged is None else new_blob(merged)


def _of_three(base: T, ours: T, theirs: T) -> T | None:
    """What is left when at most one side changed; None when both did, differently."""
    if ours in (base, theirs):
        return theirs
    return ours if base == theirs else None
