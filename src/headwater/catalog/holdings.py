"""What repos hold: large files by path, all blobs, and which repos are one family.

holdings.files(repo, limit)   path, blob and size of every large file that a ref shows now
holdings.blobs(repo)          every blob that it holds, of its whole history
holdings.repos()              every repo; for the operator
holdings.families()           repo id -> the name of its family; for the operator
holdings.holders(oids)        repos that hold each of these blobs; for the operator
holdings.xorbs(oids)          xorbs that each of these blobs is made of
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from headwater.catalog import schema as s
from headwater.catalog.db import IN_MAX, Db
from headwater.catalog.git import GitObjects
from headwater.catalog.lfs_names import Search
from headwater.catalog.models import Repo
from headwater.names import Digest, GitOid, XetHash

ROWS_MAX = 100_000  # rows of folders of one repo; behind them files have no path here


@dataclass(frozen=True, slots=True)
class Held:
    path: str
    oid: Digest
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Files:
    files: tuple[Held, ...]
    truncated: bool


class Holdings:
    def __init__(self, db: Db, git: GitObjects) -> None:
        self.db = db
        self.git = git

    def files(self, repo: Repo, limit: int) -> Files:
        """Large files of all refs, those of `main` first, or of a bucket; a file that two refs
        show at one path is named once. Deleted contents are left out."""
        with self.db.read() as conn:
            found = self._files(conn, repo, limit + 1)
        return Files(tuple(found[:limit]), len(found) > limit)

    def _files(self, conn: Connection, repo: Repo, limit: int) -> list[Held]:
        at, row = s.bucket_file.c, s.git_object.c
        if repo.type == "bucket":
            query = select(at.path, at.oid, at.size_bytes).where(at.repo_id == repo.id)
            rows = conn.execute(query.order_by(at.path).limit(limit))
            return [Held(one.path, Digest(one.oid), one.size_bytes) for one in rows]
        held = select(s.repo_blob.c.oid).where(s.repo_blob.c.repo_id == repo.id)
        query = select(row.oid, row.lfs_oid, row.lfs_bytes).where(
            row.repo_id == repo.id, row.lfs_oid.in_(held)
        )
        pointers = {
            GitOid(one.oid): (Digest(one.lfs_oid), int(one.lfs_bytes))
            for one in conn.execute(query)
        }
        found: dict[tuple[str, Digest], Held] = {}
        search = Search(conn, self.git, repo.id, rows_max=ROWS_MAX)
        for _, path, git in search.files(behind=False):
            if git in pointers:
                oid, size = pointers[git]
                found.setdefault((path, oid), Held(path, oid, size))
            if len(found) >= limit:
                break
        return list(found.values())

    def blobs(self, repo: Repo) -> dict[Digest, int]:
        """Every blob that the repo holds, with its size; those that came first, first."""
        row = s.repo_blob.c
        query = select(row.oid, row.size_bytes).where(row.repo_id == repo.id)
        with self.db.read() as conn:
            rows = conn.execute(query.order_by(row.created_ms, row.oid)).all()
        return {Digest(one.oid): one.size_bytes for one in rows}

    def repos(self) -> list[Repo]:
        """All of them, by type and name."""
        with self.db.read() as conn:
            rows = conn.execute(select(s.repo).order_by(s.repo.c.type, s.repo.c.key)).all()
        return [Repo.of(row) for row in rows]

    def families(self) -> dict[int, str]:
        """The family of each repo that is connected by declared bases: the name of its eldest."""
        row, edge = s.repo.c, s.base_edge.c
        with self.db.read() as conn:
            models = conn.execute(
                select(row.id, row.key, row.namespace, row.name)
                .where(row.type == "model")
                .order_by(row.created_ms, row.id)
            ).all()
            old = conn.execute(
                select(s.redirect.c.key, s.redirect.c.repo_id).where(s.redirect.c.type == "model")
            ).all()
            edges = conn.execute(select(edge.repo_id, edge.base_key)).all()
        by_key = {one.key: one.repo_id for one in old} | {one.key: one.id for one in models}
        age = {one.id: at for at, one in enumerate(models)}
        eldest = {one.id: one.id for one in models}

        def top(one: int) -> int:
            while eldest[one] != one:
                eldest[one] = eldest[eldest[one]]
                one = eldest[one]
            return one

        joined = set()
        for child, key in edges:
            if key in by_key and child in age and by_key[key] != child:
                pair = sorted((top(child), top(by_key[key])), key=lambda one: age[one])
                eldest[pair[1]] = pair[0]
                joined |= {child, by_key[key]}
        names = {one.id: f"{one.namespace}/{one.name}" for one in models}
        return {one: names[top(one)] for one in joined}

    def holders(self, oids: Iterable[Digest]) -> dict[Digest, set[int]]:
        """Ids of all repos that hold each blob."""
        row = s.repo_blob.c
        found: dict[Digest, set[int]] = {}
        with self.db.read() as conn:
            for some in _parts(oids):
                query = select(row.oid, row.repo_id).where(row.oid.in_(some))
                for one in conn.execute(query):
                    found.setdefault(Digest(one.oid), set()).add(one.repo_id)
        return found

    def xorbs(self, oids: Iterable[Digest]) -> dict[Digest, set[XetHash]]:
        """What each blob that came as chunks is made of."""
        row = s.xorb_blob.c
        found: dict[Digest, set[XetHash]] = {}
        with self.db.read() as conn:
            for some in _parts(oids):
                query = select(row.oid, row.xorb).where(row.oid.in_(some))
                for one in conn.execute(query):
                    found.setdefault(Digest(one.oid), set()).add(XetHash(one.xorb))
        return found


def _parts(oids: Iterable[Digest]) -> Iterable[Sequence[str]]:
    wanted = [str(oid) for oid in oids]
    return (wanted[at : at + IN_MAX] for at in range(0, len(wanted), IN_MAX))
