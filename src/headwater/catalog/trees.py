"""A tree being edited: loads only the folders it touches, writes only those that changed.

    edit = TreeEdit(load, root)
    edit.put(path, mode, oid); edit.remove(path)
    root, objects = edit.write()

Refuses what a checkout could not hold: a file where a folder is, and two names that a
case-insensitive or normalising file system would take for one (safety rule B27).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from headwater.catalog.git import MODE_TREE, NewObject, TreeRow, new_tree
from headwater.errors import BadRequest, EntryNotFound, PathCollision
from headwater.names import GitOid, RepoPath, shown

Load = Callable[[GitOid], tuple[TreeRow, ...]]


class _Node:
    """One folder: its rows, and the subfolders that were opened for editing."""

    __slots__ = ("folded", "nodes", "oid", "rows", "touched")

    def __init__(self, rows: tuple[TreeRow, ...], oid: GitOid | None) -> None:
        self.rows = {row.name: row for row in rows}
        self.nodes: dict[str, _Node] = {}
        self.oid = oid
        self.touched = oid is None
        self.folded: dict[str, str] | None = None

    def claim(self, name: str, path: str) -> None:
        """Note that `name` will be here, unless a twin of it already is."""
        if self.folded is None:
            self.folded = {_fold(known): known for known in self.rows}
        twin = self.folded.setdefault(_fold(name), name)
        if twin != name:
            raise PathCollision(
                f"{shown(path)} and {shown(twin)} differ only in letter case or accents: "
                "many file systems cannot hold both. Rename one."
            )

    def drop(self, name: str) -> None:
        del self.rows[name]
        self.nodes.pop(name, None)
        if self.folded is not None:
            self.folded.pop(_fold(name), None)
        self.touched = True


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class TreeEdit:
    def __init__(self, load: Load, root: GitOid) -> None:
        self._load = load
        self._root = _Node(load(root), root)

    def put(self, path: RepoPath, mode: int, oid: GitOid) -> None:
        """Set the file at `path`, making folders on the way."""
        *folders, name = path.segments
        node = self._root
        trail = [node]
        for folder in folders:
            row = node.rows.get(folder)
            if row is not None and not row.is_tree:
                raise BadRequest(f"{shown(folder)} in path {shown(path)} is a file, not a folder")
            node = self._open(node, folder, path)
            trail.append(node)
        row = node.rows.get(name)
        if row is not None and row.is_tree:
            raise BadRequest(f"{shown(path)} is a folder; delete it first or choose another name")
        if row is not None and row.oid == oid and row.mode == mode:
            return
        node.claim(name, path)
        node.rows[name] = TreeRow(name, mode, oid)
        for touched in trail:
            touched.touched = True

    def remove(self, path: RepoPath, folder: bool | None = None) -> None:
        """Take out what is at `path`; with `folder` said, only if it is one, or is a file."""
        trail, name = self._walk(path)
        is_folder = trail[-1].rows[name].is_tree
        if folder is not None and folder != is_folder:
            wanted, there = ("folder", "file") if folder else ("file", "folder")
            raise EntryNotFound(f"A {wanted} with this name doesn't exist: it is a {there}")
        self._drop(trail, name, path)

    def write(self) -> tuple[GitOid, list[NewObject]]:
        """The new root's id, and every tree object that is new, folders before their parents."""
        objects: list[NewObject] = []
        return self._write(self._root, objects), objects

    def _open(self, node: _Node, name: str, path: str) -> _Node:
        if name not in node.nodes:
            row = node.rows.get(name)
            if row is None:
                node.claim(name, path)
                child = _Node((), None)
                node.rows[name] = TreeRow(name, MODE_TREE, GitOid("0" * 40))  # set by write()
            else:
                child = _Node(self._load(row.oid), row.oid)
            node.nodes[name] = child
        return node.nodes[name]

    def _walk(self, path: RepoPath) -> tuple[list[_Node], str]:
        *folders, name = path.segments
        node = self._root
        trail = [node]
        for folder in folders:
            row = node.rows.get(folder)
            if row is None or not row.is_tree:
                raise EntryNotFound(f"A file with this name doesn't exist: {shown(path)}")
            node = self._open(node, folder, path)
            trail.append(node)
        if name not in node.rows:
            raise EntryNotFound(f"A file with this name doesn't exist: {shown(path)}")
        return trail, name

    def _drop(self, trail: list[_Node], name: str, path: RepoPath) -> None:
        trail[-1].drop(name)
        for node in trail:
            node.touched = True
        # Git has no empty folders: those that became empty go, too.
        for depth in range(len(trail) - 1, 0, -1):
            if trail[depth].rows:
                break
            trail[depth - 1].drop(path.segments[depth - 1])

    def _write(self, node: _Node, objects: list[NewObject]) -> GitOid:
        if not node.touched and node.oid is not None:
            return node.oid
        for name, child in node.nodes.items():
            node.rows[name] = TreeRow(name, MODE_TREE, self._write(child, objects))
        made = new_tree(node.rows.values())
        if made.oid != node.oid:
            objects.append(made)
        return made.oid
