"""Buckets: repos without history. Paths lead to blobs that came over Xet, and can be overwritten.

    apply(actor, full, changes)   puts, copies and removals, in order; what failed, and why
    find, paths, tree             files by path; folders are what paths have in common
    totals                        how many files, how many bytes
    changes                       what happened lately, for those who follow along

A bucket is a row of `repo` with type `bucket`, so owners, rights, names, moves and possession are
those of repos. What a removed file leaves in the store goes with gc.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.bucket_batch import CHANGES_KEPT_MS, Batch, Drop, Put
from headwater.catalog.clock import now_ms
from headwater.catalog.db import IN_MAX, Db
from headwater.catalog.models import Repo
from headwater.catalog.repos import find
from headwater.errors import EntryNotFound, HeadwaterError
from headwater.names import Digest, RepoPath, XetHash, shown

TREE_ROWS = 1000  # read at once
LAST_SIGN = "\U0010ffff"  # sorts behind every text that goes on otherwise
CHANGES_PAGE = 500


@dataclass(frozen=True, slots=True)
class BucketFile:
    path: RepoPath
    oid: Digest
    size_bytes: int
    xet_hash: XetHash
    content_type: str | None
    mtime_ms: int
    uploaded_ms: int


@dataclass(frozen=True, slots=True)
class BucketFolder:
    path: str


@dataclass(frozen=True, slots=True)
class BucketChange:
    id: int
    path: str
    op: str
    size_bytes: int | None
    xet_hash: str | None
    mtime_ms: int | None
    at_ms: int


class Buckets:
    def __init__(self, db: Db) -> None:
        self.db = db

    def apply(
        self, actor: Actor, full: str, changes: Sequence[Put | Drop]
    ) -> list[tuple[str, str]]:
        """Make the changes one after the other; (path, reason) of each that could not be made.

        All that can be made is durable when it returns. RepoNotFound, Forbidden: nothing is.
        """
        with self.db.write() as conn:
            bucket = find(conn, actor, "bucket", full, "write")
            batch = Batch(self.db, conn, actor, bucket)
            failed = []
            for change in changes:
                try:
                    batch.put(change) if isinstance(change, Put) else batch.drop(change)
                except HeadwaterError as error:
                    failed.append((str(change.path), error.message))
            batch.settle()
        return failed

    def find(self, bucket: Repo, path: RepoPath) -> BucketFile:
        """The file at `path`, or EntryNotFound."""
        found = self.paths(bucket, [path])
        if not found:
            raise EntryNotFound(f"Entry not found: {shown(path)}")
        return found[0]

    def paths(self, bucket: Repo, paths: Iterable[str]) -> list[BucketFile]:
        """The files at those of `paths` that exist, in the order of `paths`."""
        wanted = [path for path in dict.fromkeys(paths) if "\0" not in path]
        found: dict[str, BucketFile] = {}
        mine = s.bucket_file.c.repo_id == bucket.id
        with self.db.read() as conn:
            for at in range(0, len(wanted), IN_MAX):
                some = s.bucket_file.c.path.in_(wanted[at : at + IN_MAX])
                rows = conn.execute(select(s.bucket_file).where(mine, some))
                found.update((row.path, _file(row)) for row in rows)
        return [found[path] for path in wanted if path in found]

    def tree(
        self, bucket: Repo, prefix: str, *, recursive: bool, after: str | None, limit: int
    ) -> list[BucketFile | BucketFolder]:
        """Up to `limit` entries whose path begins with `prefix`, behind `after`, by path.

        The prefix is text, not a folder: `logs` finds `logs.json`, too. Unless `recursive`, what
        lies deeper than one level shows as its folder: below `logs`, that is `logs/old`.
        """
        found: list[BucketFile | BucketFolder] = []
        if "\0" in prefix:
            return found
        with self.db.read() as conn:
            for entry in _walk(conn, bucket.id, prefix, recursive, after or ""):
                found.append(entry)
                if len(found) == limit:
                    break
        return found

    def totals(self, buckets: Sequence[Repo]) -> dict[int, tuple[int, int]]:
        """(files, bytes) of each bucket, by its row id."""
        totals = {bucket.id: (0, 0) for bucket in buckets}
        ids = list(totals)
        mine = s.bucket_file.c.repo_id
        query = select(mine, func.count(), func.sum(s.bucket_file.c.size_bytes)).group_by(mine)
        with self.db.read() as conn:
            for at in range(0, len(ids), IN_MAX):
                rows = conn.execute(query.where(mine.in_(ids[at : at + IN_MAX])))
                totals.update((repo_id, (int(n), int(size))) for repo_id, n, size in rows)
        return totals

    def last_change(self, bucket: Repo) -> int:
        """The id of the newest change, 0 when there is none."""
        query = select(func.max(s.bucket_change.c.id)).where(s.bucket_change.c.repo_id == bucket.id)
        with self.db.read() as conn:
            return conn.execute(query).scalar() or 0

    def change_before(self, bucket: Repo, at_ms: int) -> int | None:
        """The id of the last change before a moment; None when it lies too far back to know."""
        mine = s.bucket_change.c.repo_id == bucket.id
        if at_ms < now_ms() - CHANGES_KEPT_MS:
            return None
        query = select(func.max(s.bucket_change.c.id)).where(mine, s.bucket_change.c.at_ms < at_ms)
        with self.db.read() as conn:
            return conn.execute(query).scalar() or 0

    def changes(self, bucket: Repo, after: int) -> list[BucketChange] | None:
        """Changes behind the one with id `after`, oldest first, at most CHANGES_PAGE; None when
        some of them may have been forgotten."""
        table = s.bucket_change
        mine = table.c.repo_id == bucket.id
        with self.db.read() as conn:
            if (
                after
                and not conn.execute(select(table.c.id).where(mine, table.c.id == after)).all()
            ):
                return None
            query = select(table).where(mine, table.c.id > after)
            rows = conn.execute(query.order_by(table.c.id).limit(CHANGES_PAGE))
            return [
                BucketChange(
                    row.id, row.path, row.op, row.size_bytes, row.xet_hash, row.mtime_ms, row.at_ms
                )
                for row in rows
            ]


def _walk(
    conn: Connection, repo_id: int, prefix: str, recursive: bool, after: str
) -> Iterator[BucketFile | BucketFolder]:
    """Files and folders in the order of their paths. Of a large folder one batch is read, not all:
    the next query begins behind it."""
    path = s.bucket_file.c.path
    mine = [s.bucket_file.c.repo_id == repo_id]
    if prefix:
        mine += [path >= prefix, path < prefix + LAST_SIGN]
    while True:
        query = select(s.bucket_file).where(*mine, path > after).order_by(path).limit(TREE_ROWS)
        rows = conn.execute(query).all()
        shown_folder = None
        for row in rows:
            folder = None if recursive else _folder(row.path, prefix)
            if folder is None:
                yield _file(row)
            elif folder != shown_folder:
                shown_folder = folder
                yield BucketFolder(folder)
            after = row.path if folder is None else behind(BucketFolder(folder))
        if len(rows) < TREE_ROWS:
            return


def behind(entry: BucketFile | BucketFolder) -> str:
    """The `after` with which a listing goes on behind this entry."""
    return entry.path if isinstance(entry, BucketFile) else f"{entry.path}/{LAST_SIGN}"


def _folder(path: str, prefix: str) -> str | None:
    """The folder that stands for `path` in a listing of `prefix`; None: the file itself does."""
    inside = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    start = len(inside) if path.startswith(inside) else len(prefix)
    end = path.find("/", start)
    return path[:end] if end >= 0 else None


def _file(row: Any) -> BucketFile:
    return BucketFile(
        str.__new__(RepoPath, row.path),  # checked when it was put
        Digest(row.oid),
        row.size_bytes,
        XetHash(row.xet_hash),
        row.content_type,
        row.mtime_ms,
        row.uploaded_ms,
    )
