"""Git objects of a repo, real ones: their ids are git's, and `git fsck` would find nothing.

    new_blob, new_tree, new_commit, new_tag   made here, with the id that git gives them
    objects.read(repo, oid)                   a body, hashed again on the way out
    objects.tree(…), .commit(…)               read into rows and records, and remembered
    objects.put(repo, new)                    inserted before any name points at them

Objects are kept per repo, not shared between repos: SHA-1 can be collided, and a shared table
would let one repo's owner plant an object under an id that another repo is about to use.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from dulwich.objects import Commit, ObjectID, Tag, parse_tree
from sqlalchemy import Connection, select

from headwater.catalog import schema as s
from headwater.catalog.clock import now_ms
from headwater.catalog.db import IN_MAX, Db
from headwater.catalog.models import CommitInfo
from headwater.errors import BadRequest, Corrupt, NotFound, TooLarge
from headwater.formats.git_object import read_commit
from headwater.names import Digest, GitOid, shown
from headwater.store.cache import Cache

MODE_FILE = 0o100644
MODE_EXEC = 0o100755
MODE_TREE = 0o040000
MODE_COMMIT = 0o160000  # a submodule: the object is in another repository
OBJECT_BYTES_MAX = 128 * 2**20  # a decompression stops here: no object we accept is larger
MESSAGE_BYTES_MAX = 64 * 2**10
TREE_CACHE_ROWS = 200_000  # rows of parsed trees kept, about 50 MB
COMMIT_CACHE_BYTES = 16 * 2**20
_COMMIT_BYTES = 1000  # what a parsed commit takes in memory beside its message
_ZLIB_LEVEL = 1  # level 6 saves 3 % more of a tokenizer.json and costs four times the CPU


@dataclass(frozen=True, slots=True)
class TreeRow:
    name: str
    mode: int
    oid: GitOid

    @property
    def is_tree(self) -> bool:
        return self.mode == MODE_TREE

    @property
    def sort_key(self) -> bytes:
        return sort_key(self.name, is_tree=self.is_tree)


class Rows(tuple[TreeRow, ...]):
    """The rows of one tree, in git's order."""

    @cached_property
    def by_name(self) -> dict[str, TreeRow]:
        return {row.name: row for row in self}


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


def sort_key(name: str, *, is_tree: bool) -> bytes:
    """Git orders a tree by bytes, as if the name of each folder ended in a slash."""
    return name.encode() + (b"/" if is_tree else b"")


def new_tree(rows: Iterable[TreeRow]) -> NewObject:
    """Format: `MODE SP NAME NUL SHA-1` for each row, the mode in octal and unpadded."""
    body = b"".join(
        b"%o %s\0%s" % (row.mode, row.name.encode(), bytes.fromhex(row.oid))
        for row in sorted(rows, key=lambda row: row.sort_key)
    )
    return NewObject(object_id("tree", body), "tree", body)


def checked_message(text: str) -> bytes:
    """A commit's or tag's message as git keeps it; BadRequest when git would not."""
    try:
        body = text.encode()
    except UnicodeEncodeError:
        raise BadRequest("a message holds text that is not Unicode") from None
    if len(body) > MESSAGE_BYTES_MAX:
        raise BadRequest(f"a message has at most {MESSAGE_BYTES_MAX} bytes")
    if b"\0" in body:
        raise BadRequest("a message holds a NUL")
    return body


def new_commit(
    tree: GitOid, parents: Iterable[GitOid], message: str, author: str, at_s: int
) -> NewObject:
    commit = Commit()
    commit.tree = ObjectID(tree.encode())
    commit.parents = [ObjectID(parent.encode()) for parent in parents]
    commit.author = commit.committer = f"{author} <{author}@users.noreply.headwater>".encode()
    commit.author_time = commit.commit_time = at_s
    commit.author_timezone = commit.commit_timezone = 0
    commit.encoding = b"UTF-8"
    commit.message = checked_message(message)
    body = commit.as_raw_string()
    return NewObject(object_id("commit", body), "commit", body)


def new_tag(name: str, target: GitOid, message: str, author: str, at_s: int) -> NewObject:
    tag = Tag()
    tag.name = name.encode()
    tag.object = (Commit, ObjectID(target.encode()))
    tag.tagger = f"{author} <{author}@users.noreply.headwater>".encode()
    tag.tag_time, tag.tag_timezone = at_s, 0
    tag.message = checked_message(message) + b"\n"
    body = tag.as_raw_string()
    return NewObject(object_id("tag", body), "tag", body)


class GitObjects:
    """Read and insert objects; parsed trees and commits, which never change, are remembered."""

    def __init__(self, db: Db) -> None:
        self.db = db
        self._trees: Cache[tuple[int, str], Rows] = Cache(TREE_CACHE_ROWS)
        self._commits: Cache[tuple[int, str], CommitInfo] = Cache(COMMIT_CACHE_BYTES)

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

    def tree(self, conn: Connection, repo_id: int, oid: str) -> Rows:
        """Rows of a tree, in git's order."""
        rows = self._trees.get((repo_id, oid))
        if rows is None:
            body = self.read(conn, repo_id, oid, "tree")
            rows = Rows(
                TreeRow(name.decode(), mode, GitOid(sha.decode()))
                for name, mode, sha in parse_tree(body, 20)
            )
            self._trees.put_new((repo_id, oid), rows, len(rows) + 1)
        return rows

    def commit(self, conn: Connection, repo_id: int, oid: str) -> CommitInfo:
        info = self._commits.get((repo_id, oid))
        if info is None:
            info = _commit_info(oid, self.read(conn, repo_id, oid, "commit"))
            self._commits.put_new((repo_id, oid), info, _COMMIT_BYTES + len(info.message))
        return info

    def links(
        self, conn: Connection, repo_id: int, oid: str, kind: str
    ) -> list[tuple[GitOid, str]]:
        """What an object names: (id, kind) each."""
        if kind == "commit":
            info = self.commit(conn, repo_id, oid)
            return [(info.tree, "tree"), *((parent, "commit") for parent in info.parents)]
        if kind == "tree":
            rows = self.tree(conn, repo_id, oid)
            return [(row.oid, "tree" if row.is_tree else "blob") for row in rows]
        if kind == "tag":
            return [tag_target(self.read(conn, repo_id, oid, "tag"))]
        return []

    def blobs_among(self, conn: Connection, repo_id: int, oids: Iterable[GitOid]) -> set[GitOid]:
        """Those of `oids` that are blobs of this repo."""
        return self.among(conn, repo_id, oids, "blob")

    def among(
        self, conn: Connection, repo_id: int, oids: Iterable[str], kind: str | None = None
    ) -> set[GitOid]:
        """Those of `oids` that are stored, and of this kind if one is said. What is remembered of
        an object tells nothing of that: gc may have dropped it since, in another process."""
        wanted = list(oids)
        found: set[GitOid] = set()
        for at in range(0, len(wanted), IN_MAX):
            query = select(s.git_object.c.oid).where(
                s.git_object.c.repo_id == repo_id,
                s.git_object.c.oid.in_(wanted[at : at + IN_MAX]),
            )
            if kind is not None:
                query = query.where(s.git_object.c.kind == kind)
            found.update(map(GitOid, conn.execute(query).scalars()))
        return found

    def put(self, conn: Connection, repo_id: int, objects: Iterable[NewObject]) -> None:
        """Insert what is not there yet. A proven pointer replaces an unproven twin."""
        objects = tuple(objects)
        if any(len(new.body) > OBJECT_BYTES_MAX for new in objects):
            raise TooLarge(f"a git object has at most {OBJECT_BYTES_MAX} bytes; use LFS")
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


def tag_target(body: bytes) -> tuple[GitOid, str]:
    """What a tag object leads to: (id, kind); git makes tags of tags, too."""
    first, second, _ = body.split(b"\n", 2)
    kind = second.removeprefix(b"type ").decode()
    return GitOid(first.removeprefix(b"object ").decode()), kind


def _commit_info(oid: str, body: bytes) -> CommitInfo:
    said = read_commit(body, strict=False)
    parents = tuple(map(GitOid, said.parents))
    return CommitInfo(
        GitOid(oid), parents, GitOid(said.tree), said.message, said.author, said.at_s * 1000
    )


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
