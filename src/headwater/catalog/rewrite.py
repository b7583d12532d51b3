"""History without some files: git's own rewriting, commit by commit, from the oldest on.

    plan = Rewrite(git, repo_id, drop)          drop: git ids of blobs to take out
    target, commit = plan.follow(conn, target, commit)      for each ref
    plan.objects                                what must be inserted before the refs move

A commit keeps its author, times and message; its tree loses the files, and its parents are the
rewritten ones. What is untouched keeps its id. Signatures go: they spoke of another commit.
A commit that changed nothing but those files stays, with the tree of its parent.

May be filled in a snapshot and finished in another transaction: what it remembers is true of the
objects, which never change, whatever the refs did meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from headwater.catalog.git import GitObjects, NewObject, TreeRow, new_tree, object_id, tag_target
from headwater.errors import Unprocessable
from headwater.names import GitOid, shown

# Bounds of one rewriting. Its result is inserted in one transaction that all writers of the hub
# wait for: some seconds at these sizes. Longer histories can be squashed first.
COMMITS_MAX = 10_000
ROWS_MAX = 2_000_000  # of trees that are looked at
NEW_BYTES_MAX = 256 * 2**20
TAG_DEPTH_MAX = 16  # tags of tags; git makes them, people do not
_LINKS = (b"tree", b"parent")
_SIGNATURES = (b"gpgsig", b"gpgsig-sha256", b"mergetag")
_SIGNED_TAG = (b"\n-----BEGIN PGP SIGNATURE-----", b"\n-----BEGIN SSH SIGNATURE-----")


class Rewrite:
    def __init__(self, git: GitObjects, repo_id: int, drop: frozenset[GitOid]) -> None:
        self.drop = drop
        self.objects: list[NewObject] = []
        self.commits: dict[str, GitOid] = {}  # before -> after, of every commit looked at
        self._git = git
        self._repo_id = repo_id
        self._trees: dict[GitOid, GitOid | None] = {}  # None: nothing is left of it
        self._rows = 0
        self._new_bytes = 0

    def follow(self, conn: Connection, target: GitOid, commit: GitOid) -> tuple[GitOid, GitOid]:
        """Where a ref that leads to `target` (a tag object, or `commit` itself) will lead.

        Unprocessable when the history is too long to be rewritten at once.
        """
        made = self._commit(conn, commit)
        if made == commit:
            return target, commit
        return (made if target == commit else self._tag(conn, target)), made

    def _tag(self, conn: Connection, oid: GitOid, depth: int = 0) -> GitOid:
        """A tag object anew; it may lead to another one."""
        body = self._git.read(conn, self._repo_id, oid, "tag")
        old, kind = tag_target(body)
        if kind == "commit":
            made = self._commit(conn, old)
        elif kind == "tag" and depth < TAG_DEPTH_MAX:
            made = self._tag(conn, old, depth + 1)
        else:
            raise Unprocessable(f"tag object {shown(oid)} leads to no commit; delete the tag first")
        return self._keep("tag", _tag_at(body, old, made))

    def _commit(self, conn: Connection, start: GitOid) -> GitOid:
        todo = [start]
        while todo:
            oid = todo[-1]
            if oid in self.commits:
                todo.pop()
                continue
            info = self._git.commit(conn, self._repo_id, oid)
            waiting = [parent for parent in info.parents if parent not in self.commits]
            if waiting:  # parents first
                todo += waiting
                continue
            todo.pop()
            if len(self.commits) >= COMMITS_MAX:
                raise _too_long(f"over {COMMITS_MAX} commits")
            tree = self._tree(conn, info.tree) or self._keep("tree", new_tree([]).body)
            parents = tuple(self.commits[parent] for parent in info.parents)
            if (tree, parents) == (info.tree, info.parents):
                self.commits[oid] = oid
            else:
                body = self._git.read(conn, self._repo_id, oid, "commit")
                self.commits[oid] = self._keep("commit", _commit_at(body, tree, parents))
        return self.commits[start]

    def _tree(self, conn: Connection, oid: GitOid) -> GitOid | None:
        if oid in self._trees:
            return self._trees[oid]
        rows = self._git.tree(conn, self._repo_id, oid)
        self._rows += len(rows) + 1
        if self._rows > ROWS_MAX:
            raise _too_long(f"over {ROWS_MAX} entries of folders")
        kept: list[TreeRow] = []
        for row in rows:
            if row.is_tree:
                below = self._tree(conn, row.oid)
                if below is not None:
                    kept.append(TreeRow(row.name, row.mode, below))
            elif row.oid not in self.drop:
                kept.append(row)
        made: GitOid | None = oid
        if tuple(kept) != tuple(rows):
            made = self._keep("tree", new_tree(kept).body) if kept else None
        self._trees[oid] = made
        return made

    def _keep(self, kind: str, body: bytes) -> GitOid:
        self._new_bytes += len(body)
        if self._new_bytes > NEW_BYTES_MAX:
            raise _too_long(f"over {NEW_BYTES_MAX} bytes of new commits and folders")
        made = NewObject(object_id(kind, body), kind, body)
        self.objects.append(made)
        return made.oid


def _commit_at(body: bytes, tree: GitOid, parents: Iterable[GitOid]) -> bytes:
    """A commit's body with other links, byte for byte the same elsewhere, unsigned."""
    head, gap, message = body.partition(b"\n\n")
    lines = [b"tree " + tree.encode()]
    lines += [b"parent " + parent.encode() for parent in dict.fromkeys(parents)]
    skipping = False
    for line in head.split(b"\n"):
        if not line.startswith(b" "):  # a line that does goes on with the one before it
            skipping = line.partition(b" ")[0] in _LINKS + _SIGNATURES
        if not skipping:
            lines.append(line)
    return b"\n".join(lines) + gap + message


def _tag_at(body: bytes, old: GitOid, new: GitOid) -> bytes:
    body = body.replace(old.encode(), new.encode(), 1)  # it is the first line
    for mark in _SIGNED_TAG:
        body = body.partition(mark)[0] + b"\n" if mark in body else body
    return body


def _too_long(why: str) -> Unprocessable:
    return Unprocessable(
        f"this history is too long to be rewritten at once: {why}. Squash its branches first, or "
        "delete the files without rewriting."
    )
