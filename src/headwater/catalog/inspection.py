"""The catalog's part of `headwater check`: every name leads to bytes, every object is itself.

Refs lead to complete commits, commits to complete trees, pointers to blobs that the repo holds
and the store has. Nothing is repaired here; findings name repo, path and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, select, text

from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.db import Db
from headwater.catalog.git import GitObjects, verified
from headwater.catalog.models import Repo
from headwater.catalog.sweep import Sweep
from headwater.errors import HeadwaterError, NotFound
from headwater.formats.lfs_pointer import parse_pointer
from headwater.names import Digest, RepoId
from headwater.store.store import Store

ROWS_AT_ONCE = 200  # objects are up to 128 MiB, and nearly all a few KiB


@dataclass(frozen=True, slots=True)
class Problem:
    where: str
    what: str


def inspect(db: Db, git: GitObjects, store: Store, *, data: bool) -> Iterator[Problem]:
    """Problems found. `data` reads every git object again; without it, commits, trees, pointers."""
    git = GitObjects(db)  # with nothing remembered: the database is what is inspected
    with db.read() as conn:
        if db.is_sqlite:
            for (line,) in conn.execute(text("PRAGMA integrity_check")).all():
                if line != "ok":
                    yield Problem("catalog", f"{line}; restore catalog.sqlite from a backup")
        repos = [Repo.of(row) for row in conn.execute(select(s.repo).order_by(s.repo.c.id))]
    for repo in repos:
        with db.read() as conn:
            found = dict.fromkeys(_repo(conn, db, git, repo, data))
        yield from found
    yield from _blobs(db, store)


def _repo(conn: Connection, db: Db, git: GitObjects, repo: Repo, data: bool) -> Iterator[Problem]:
    name = repo.prefix + repo.full
    mine = s.git_object.c.repo_id == repo.id
    have = set(conn.execute(select(s.git_object.c.oid).where(mine)).scalars())
    gaps: list[HeadwaterError] = []
    for oid in Sweep(db, git).reachable(conn, repo.id, set(), gaps.append):
        if oid not in have:
            yield Problem(name, f"git object {oid} is missing; restore it from a backup")
    yield from (Problem(name, gap.message) for gap in gaps if not isinstance(gap, NotFound))
    links = select(s.repo_blob.c.oid).where(s.repo_blob.c.repo_id == repo.id)
    gone = select(s.withdrawn.c.oid).where(s.withdrawn.c.repo_id == repo.id)
    held = set(conn.execute(links).scalars()) | set(conn.execute(gone).scalars())
    files = select(s.bucket_file.c.path, s.bucket_file.c.oid).where(
        s.bucket_file.c.repo_id == repo.id
    )
    for row in conn.execute(files, execution_options={"yield_per": ROWS_AT_ONCE}):
        if row.oid not in held:
            yield Problem(name, f"blob {row.oid} of {row.path} is not linked to the bucket")
    query = select(s.git_object).where(mine)
    if not data:
        query = query.where(s.git_object.c.lfs_oid.is_not(None))
    for row in conn.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}):
        try:
            body = verified(row.oid, row.kind, row.size_bytes, row.data)
        except HeadwaterError as error:
            yield Problem(name, error.message)
            continue
        if row.lfs_oid is None:
            continue
        if parse_pointer(body) != (row.lfs_oid, row.lfs_bytes):
            yield Problem(name, f"pointer {row.oid} and the catalog name different bytes")
        if row.lfs_oid not in held:
            yield Problem(name, f"blob {row.lfs_oid} is named but not linked to the repo")


def _blobs(db: Db, store: Store) -> Iterator[Problem]:
    """Every blob that a repo holds or a comment shows is in the store, with its size."""
    held = select(
        s.repo_blob.c.oid,
        s.repo_blob.c.size_bytes,
        s.repo.c.type,
        s.repo.c.namespace,
        s.repo.c.name,
    ).join(s.repo, s.repo.c.id == s.repo_blob.c.repo_id)
    shown = select(so.attachment.c.oid, so.attachment.c.size_bytes, so.attachment.c.hub_id)
    with db.read() as conn:
        rows = conn.execute(held.order_by(s.repo.c.id, s.repo_blob.c.oid)).all()
        attached = conn.execute(shown.order_by(so.attachment.c.id)).all()
    for row in rows:
        where = str(RepoId(row.type, row.namespace, row.name))
        yield from _blob(store, where, row.oid, row.size_bytes)
    for oid, size_bytes, id in attached:
        yield from _blob(store, f"uploads/{id}", oid, size_bytes)


def _blob(store: Store, where: str, oid: str, size_bytes: int) -> Iterator[Problem]:
    try:
        found = store.find(Digest(oid))
    except HeadwaterError as error:
        yield Problem(where, error.message)
        return
    if found is None:
        yield Problem(where, f"blob {oid} is missing from the store; upload it again")
    elif found.size_bytes != size_bytes:
        yield Problem(where, f"blob {oid} has {found.size_bytes} bytes, not {size_bytes}")
