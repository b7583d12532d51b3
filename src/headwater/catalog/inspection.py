"""The catalog's part of `headwater check`: every name leads to bytes, every object is itself.

Refs lead to complete commits, commits to complete trees, pointers to blobs that the repo holds
and the store has. Nothing is repaired here; findings name repo, path and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, select, text

from headwater.catalog import schema as s
from headwater.catalog.db import Db
from headwater.catalog.git import GitObjects, verified
from headwater.catalog.models import Repo
from headwater.catalog.sweep import Sweep
from headwater.errors import HeadwaterError
from headwater.formats.lfs_pointer import parse_pointer
from headwater.names import Digest
from headwater.store.store import Store


@dataclass(frozen=True, slots=True)
class Problem:
    where: str
    what: str


def inspect(db: Db, git: GitObjects, store: Store, *, data: bool) -> Iterator[Problem]:
    """Problems found. `data` reads every git object again; without it, those that refs need."""
    with db.read() as conn:
        if db.is_sqlite:
            for (line,) in conn.execute(text("PRAGMA integrity_check")):
                if line != "ok":
                    yield Problem("catalog", f"{line}; restore catalog.sqlite from a backup")
        repos = [Repo.of(row) for row in conn.execute(select(s.repo).order_by(s.repo.c.id))]
    for repo in repos:
        with db.read() as conn:
            yield from _repo(conn, git, repo, db)
            if data:
                yield from _objects(conn, repo)
    yield from _blobs(db, store)


def _repo(conn: Connection, git: GitObjects, repo: Repo, db: Db) -> Iterator[Problem]:
    name = repo.prefix + repo.full
    have = set(
        conn.execute(select(s.git_object.c.oid).where(s.git_object.c.repo_id == repo.id)).scalars()
    )
    try:
        for oid in Sweep(db, git).reachable(conn, repo.id):
            if oid not in have:
                yield Problem(name, f"git object {oid} is missing; restore it from a backup")
    except HeadwaterError as error:
        yield Problem(name, error.message)
    held = set(
        conn.execute(select(s.repo_blob.c.oid).where(s.repo_blob.c.repo_id == repo.id)).scalars()
    )
    pointers = select(s.git_object).where(
        s.git_object.c.repo_id == repo.id, s.git_object.c.lfs_oid.is_not(None)
    )
    for row in conn.execute(pointers):
        try:
            body = verified(row.oid, row.kind, row.size_bytes, row.data)
        except HeadwaterError as error:
            yield Problem(name, error.message)
            continue
        if parse_pointer(body) != (row.lfs_oid, row.lfs_bytes):
            yield Problem(name, f"pointer {row.oid} and the catalog name different bytes")
        if row.lfs_oid not in held:
            yield Problem(name, f"blob {row.lfs_oid} is named but not linked to the repo")


def _objects(conn: Connection, repo: Repo) -> Iterator[Problem]:
    query = select(s.git_object).where(s.git_object.c.repo_id == repo.id)
    for row in conn.execution_options(yield_per=200).execute(query):
        try:
            verified(row.oid, row.kind, row.size_bytes, row.data)
        except HeadwaterError as error:
            yield Problem(repo.prefix + repo.full, error.message)


def _blobs(db: Db, store: Store) -> Iterator[Problem]:
    """Every blob that a repo holds is in the store, with the size the catalog says."""
    with db.read() as conn:
        rows = conn.execute(
            select(s.repo_blob.c.oid, s.repo_blob.c.size_bytes, s.repo).join(
                s.repo, s.repo.c.id == s.repo_blob.c.repo_id
            )
        ).all()
    for row in rows:
        where = Repo.of(row).prefix + Repo.of(row).full
        try:
            found = store.find(Digest(row.oid))
        except HeadwaterError as error:
            yield Problem(where, error.message)
            continue
        if found is None:
            yield Problem(where, f"blob {row.oid} is missing from the store; upload it again")
        elif found.size_bytes != row.size_bytes:
            yield Problem(
                where, f"blob {row.oid} has {found.size_bytes} bytes, not {row.size_bytes}"
            )
