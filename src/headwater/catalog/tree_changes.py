"""What differs between two trees, file by file; only folders that differ are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from headwater.catalog.git import GitObjects, TreeRow
from headwater.names import GitOid


@dataclass(frozen=True, slots=True)
class TreeChange:
    """A file that was added (`old` is None), removed (`new` is None) or changed."""

    path: str
    old: TreeRow | None
    new: TreeRow | None


def tree_changes(
    conn: Connection,
    git: GitObjects,
    repo_id: int,
    old: GitOid | None,
    new: GitOid | None,
    prefix: str = "",
) -> Iterator[TreeChange]:
    """In the order of paths, as git lists them; a tree that is None is empty."""
    if old == new:
        return
    pairs: dict[bytes, list[TreeRow | None]] = {}
    for side, tree in enumerate((old, new)):
        for row in git.tree(conn, repo_id, tree) if tree else ():
            pairs.setdefault(row.sort_key, [None, None])[side] = row
    for key in sorted(pairs):
        before, after = pairs[key]
        here = before or after
        assert here is not None
        path = prefix + here.name
        if here.is_tree:  # a file in its place has another key
            below = (before.oid if before else None, after.oid if after else None)
            yield from tree_changes(conn, git, repo_id, *below, f"{path}/")
        elif before != after:
            yield TreeChange(path, before, after)
