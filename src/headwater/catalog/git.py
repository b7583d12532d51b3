"""Git objects of a repo, real ones: their ids are git's, and `git fsck` would find nothing.

    read(repo, oid)          body, hashed again on the way out
    tree(repo, oid)          its rows
    put_blob / put_objects   inserted before any name points at them

Objects are kept per repo, not shared between repos: SHA-1 can be collided, and a shared table
would let one repo's owner plant an object under an id that another repo is about to use.
"""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dulwich.objects import Commit, Tag, Tree, parse_tree
from sqlalchemy import Connection, select

from headwater.catalog import schema as s
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.models import CommitInfo
from headwater.errors import Corrupt, NotFound
from headwater.names import Digest, GitOid, shown

MODE_FILE = 0o100644
MODE_EXEC = 0o100755
MODE_TREE = 0o040000
OBJECT_BYTES_MAX = 128 * 2**20  # a decompression stops here: no object we accept is larger
TREE_CACHE_ROWS = 200_000  # rows of parsed trees kept, about 50 MB
_ZLIB_LEVEL = 1  # level 6 saves 3 % more of a tokenizer.json and costs four times the CPU


@dataclass(frozen=True, slots=True)
class TreeRow:
    name: str
    mode: int
    oid: GitOid

    @property
    def is_tree(self) -> bool:
        return self.mode == MODE_TREE


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object to be inserted; `lfs` only on pointers whose bytes were proven (see schema)."""

    oid: GitOid
    kind: str
    body: bytes
    lfs: tuple[Digest, int] | None = None


def object_id(kind: str, body: bytes) -> GitOid:
    """Git's name for an object: SHA-1 of `kind SP size NUL body`."""
    head = f"{kind} {len(body)}\0".encode()
    return GitOid(hashlib.sha1(head + body, usedforsecurity=False).hexdigest())


def new_blob(body: bytes, lfs: tuple[Digest, int] | None = None) -> NewObject:
    return NewObject(object_id("blob", body), "blob", body, lfs)


def new_tree(rows: Iterable[TreeRow]) -> NewObject:
    tree = Tree()
    for row in rows:
        tree.add(row.name.encode(), row.mode, row.oid.encode())
    body = tree.as_raw_string()
    return NewObject(object_id("tree", body), "tree", body)


def new_commit(
    tree: GitOid, parents: Iterable[GitOid], message: str, author: str, at_s: int
) -> NewObject:
    commit = Commit()
    commit.tree = tree.encode()
    commit.parents = [parent.encode() for parent in parents]
    commit.author = commit.committer = f"{author} <{author}@users.noreply.headwater>".encode()
    commit.author_time = commit.commit_time = at_s
    commit.author_timezone = commit.commit_timezone = 0
    commit.encoding = b"UTF-8"
    commit.message = message.encode()
    body = commit.as_raw_string()
    return NewObject(object_id("commit", body), "commit", body)


def new_tag(name: str, target: GitOid, message: str, author: str, at_s: int) -> NewObject:
    tag = Tag()
    tag.name = name.encode()
    tag.object = (Commit, target.encode())
    tag.tagger = f"{author} <{author}@users.noreply.headwater>".encode()
    tag.tag_time, tag.tag_timezone = at_s, 0
    tag.message = message.encode() + b"\n"
    body = tag.as_raw_string()
    return NewObject(object_id("tag", body), "tag", body)


class GitObjects:
    """Read and insert objects; parsed trees and commits, which never change, are remembered."""

    def __init__(self, db: Db) -> None:
        self.db = db
        self._lock = threading.Lock()
        self._trees: OrderedDict[tuple[int, str], tuple[TreeRow, ...]] = OrderedDict()
        self._tree_rows = 0

    def read(self, conn: Connection, repo_id: int, oid: str, kind: str) -> bytes:
        """The body of an object. NotFound when absent or of another kind, Corrupt when rotten."""
        row = conn.execute(
            select(s.git_object.c.kind, s.git_object.c.size_bytes, s.git_object.c.data).where(
                s.git_object.c.repo_id == repo_id, s.git_object.c.oid == oid
            )
        ).one_or_none()
        if row is None or row.kind != kind:
            raise NotFound(f"no {kind} {shown(oid)} in this repo")
        return verified(oid, row.kind, row.size_bytes, row.data)

    def tree(self, conn: Connection, repo_id: int, oid: str) -> tuple[TreeRow, ...]:
        """Rows of a tree, in git's order."""
        with self._lock:
            if found := self._trees.get((repo_id, oid)):
                self._trees.move_to_end((repo_id, oid))
                return found
        body = self.read(conn, repo_id, oid, "tree")
        rows = tuple(
            TreeRow(name.decode(), mode, GitOid(sha.decode()))
            for name, mode, sha in _parse_tree(body)
        )
        with self._lock:
            if (repo_id, oid) not in self._trees:
                self._trees[(repo_id, oid)] = rows
                self._tree_rows += len(rows) + 1
            while self._tree_rows > TREE_CACHE_ROWS and len(self._trees) > 1:
                _, dropped = self._trees.popitem(last=False)
                self._tree_rows -= len(dropped) + 1
        return rows

    def commit(self, conn: Connection, repo_id: int, oid: str) -> CommitInfo:
        body = self.read(conn, repo_id, oid, "commit")
        commit: Any = Commit.from_string(body)
        return CommitInfo(
            GitOid(oid),
            tuple(GitOid(p.decode()) for p in commit.parents),
            GitOid(commit.tree.decode()),
            commit.message.decode("utf-8", "replace"),
            commit.author.split(b" <")[0].decode("utf-8", "replace"),
            commit.commit_time * 1000,
        )

    def put(self, conn: Connection, repo_id: int, objects: Iterable[NewObject]) -> None:
        """Insert what is not there yet. A proven pointer replaces an unproven twin."""
        at = now_ms()
        rows = {
            new.oid: {
                "repo_id": repo_id,
                "oid": str(new.oid),
                "kind": new.kind,
                "size_bytes": len(new.body),
                "data": zlib.compress(new.body, _ZLIB_LEVEL),
                "lfs_oid": str(new.lfs[0]) if new.lfs else None,
                "lfs_bytes": new.lfs[1] if new.lfs else None,
                "created_ms": at,
            }
            for new in objects
        }
        plain = [row for row in rows.values() if row["lfs_oid"] is None]
        proven = [row for row in rows.values() if row["lfs_oid"] is not None]
        if plain:
            # The time is renewed, so that gc gives an object found again its full grace.
            conn.execute(
                self.db.upsert(s.git_object, ["repo_id", "oid"], {"created_ms": at}), plain
            )
        for row in proven:
            update = {k: row[k] for k in ("lfs_oid", "lfs_bytes", "created_ms")}
            conn.execute(self.db.upsert(s.git_object, ["repo_id", "oid"], update), row)


def _parse_tree(body: bytes) -> Iterable[tuple[bytes, int, bytes]]:
    return [(e[0], e[1], e[2]) for e in parse_tree(body, 20)]


def verified(oid: str, kind: str, size_bytes: int, data: bytes) -> bytes:
    """The body of a stored object, proven to be the one that its id names."""
    try:
        engine = zlib.decompressobj()
        body = engine.decompress(data, min(size_bytes, OBJECT_BYTES_MAX) + 1)
    except zlib.error:
        body = b""
    if len(body) != size_bytes or object_id(kind, body) != oid:
        raise Corrupt(
            f"git {kind} {oid} no longer matches its name; run `headwater check` and restore it "
            "from a backup or commit the file again"
        )
    return body
