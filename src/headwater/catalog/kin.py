"""The kin of a blob: files that its weights were made from, or beside, as far as lineage and names
tell.

    kin.of(conn, oid) -> Kin(roots, beside)

`roots`: weights of the models that its own weights say it comes from, and those of their ancestors;
of the models that the card of a repo which holds it names as its base; then what lay at the same
path of that repo before. `beside`: adapters and other models of the same base.
Nearest first, each bounded. All repos count, private ones too: the store codes bytes against bytes
and gives away neither, so nothing of this may be shown to anybody but the hub's operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, or_, select

from headwater.catalog import schema as s
from headwater.catalog import schema_lineage as sl
from headwater.catalog.card_tags import BASES_MAX
from headwater.catalog.db import IN_MAX
from headwater.catalog.git import GitObjects
from headwater.catalog.lfs_names import Search
from headwater.catalog.sketches import ALL
from headwater.names import Digest, GitOid

BYTES_MIN = 64 * 2**10  # of a blob that is packed, or packed against: below it there is no gain
HOLDERS_MAX = 8  # repos of one blob that are asked for bases: a copy's card says the same
ROOTS_MAX = 128  # blobs; a model in more parts than that finds the nearest by path
BESIDE_MAX = 32  # blobs: each is another file whose tensors are compared
GENERATIONS_MAX = 8  # of ancestors: the base, and up to the root
SIBLINGS_MAX = 8  # repos
SIBLING_FILES_MAX = 4  # of one of them
COMMITS_MAX = 500  # of a repo, looked at for earlier files of the same path
ROWS_MAX = 20_000  # rows of folders, the same: some 50 ms
POINTERS_MAX = 50_000  # of a repo
ENDINGS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True, slots=True)
class Kin:
    roots: tuple[Digest, ...]
    beside: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    oid: Digest


class KinSearch:
    def __init__(self, git: GitObjects) -> None:
        self.git = git

    def of(self, conn: Connection, oid: Digest) -> Kin:
        """The kin of a blob, inside a transaction."""
        held = s.repo_blob.c
        holders = conn.execute(
            select(s.repo.c.id, s.repo.c.type, held.created_ms)
            .join(s.repo_blob, held.repo_id == s.repo.c.id)
            .where(held.oid == oid)
            .order_by(held.created_ms, s.repo.c.id)
            .limit(HOLDERS_MAX)
        ).all()
        bases = self._by_weights(conn, oid, [holder.id for holder in holders])
        earlier: list[Digest] = []
        beside: list[Digest] = []
        for holder in holders:
            paths, before = self._history(conn, holder.id, holder.type, holder.created_ms, oid)
            earlier += before
            keys = _base_keys(conn, holder.id) if holder.type == "model" else []
            if keys:
                for repo_id in _repos(conn, keys, holder.id):
                    bases += self._weights(conn, repo_id, paths)
                for repo_id in _siblings(conn, keys, holder.id):
                    beside += self._weights(conn, repo_id, paths)[:SIBLING_FILES_MAX]
        roots = [one for one in dict.fromkeys((*bases, *earlier)) if one != oid][:ROOTS_MAX]
        near = [one for one in dict.fromkeys(beside) if one != oid and one not in roots]
        return Kin(tuple(roots), tuple(near[:BESIDE_MAX]))

    def _by_weights(self, conn: Connection, oid: Digest, repo_ids: Sequence[int]) -> list[Digest]:
        """Files of the models that lineage found above those of which the blob is a file, the
        nearest first."""
        held = sl.model_unit.c
        keys = conn.execute(select(held.key).where(held.repo_id.in_(repo_ids))).scalars()
        mine = _files_of(conn, list(keys))
        level = [key for key, files in mine.items() if any(at == oid for at, _ in files)]
        seen, found = set(level), []
        for _ in range(GENERATIONS_MAX):
            link = sl.ancestry_link.c
            query = (
                select(link.parent)
                .where(link.key.in_(level), link.scope == ALL)
                .order_by(link.weight.desc(), link.parent)
                .limit(IN_MAX)
            )
            level = [key for key in dict.fromkeys(conn.execute(query).scalars()) if key not in seen]
            if not level:
                break
            seen.update(level)
            files = [file for some in _files_of(conn, level).values() for file in some]
            found += [Digest(at) for at, size in files if size >= BYTES_MIN]
        some = list(dict.fromkeys(found))[:ROOTS_MAX]
        there = select(s.blob.c.oid).where(s.blob.c.oid.in_([str(one) for one in some]))
        known = set(conn.execute(there).scalars())
        return [one for one in some if one in known]

    def _weights(self, conn: Connection, repo_id: int, paths: Sequence[str]) -> list[Digest]:
        """Weights on `main` of a repo: those at one of these paths first, then those like them."""
        pointers = _pointers(conn, repo_id)
        search = Search(conn, self.git, repo_id, rows_max=ROWS_MAX)
        files = [
            _File(path, pointers[oid])
            for path, oid in search.main()
            if oid in pointers and path.endswith(ENDINGS)
        ]
        endings = tuple({_ending(path) for path in paths})
        files.sort(key=lambda f: (f.path not in paths, not f.path.endswith(endings), f.path))
        return _held(conn, repo_id, (file.oid for file in files))

    def _history(
        self, conn: Connection, repo_id: int, type: str, came_ms: int, oid: Digest
    ) -> tuple[list[str], list[Digest]]:
        """(where the blob lies in this repo, what lay there before it, the latest first)."""
        if type == "bucket":  # files without a history
            at = s.bucket_file.c
            query = select(at.path).where(at.repo_id == repo_id, at.oid == oid)
            return list(conn.execute(query.limit(IN_MAX)).scalars()), []
        pointers = _pointers(conn, repo_id)
        search = Search(conn, self.git, repo_id, commits_max=COMMITS_MAX, rows_max=ROWS_MAX).files()
        files = [_File(path, pointers[git]) for _, path, git in search if git in pointers]
        paths = list(dict.fromkeys(file.path for file in files if file.oid == oid))
        same = dict.fromkeys(file.oid for file in files if file.path in paths)
        came = _came(conn, repo_id, same)
        before = [one for one in same if came.get(one, came_ms) < came_ms]
        return paths, sorted(before, key=lambda one: -came[one])


def _files_of(conn: Connection, keys: Sequence[str]) -> dict[str, list[tuple[str, int]]]:
    """SHA-256 and size of the files of these models."""
    row = sl.sketch.c
    query = select(row.key, row.files).where(row.key.in_(keys[:IN_MAX]), row.state != "failed")
    return {
        found.key: msgspec.json.decode(found.files, type=list[tuple[str, int]])
        for found in conn.execute(query.order_by(row.key))
    }


def _ending(path: str) -> str:
    return path[path.rfind(".") :] if "." in path else path


def _pointers(conn: Connection, repo_id: int) -> dict[GitOid, Digest]:
    """Git ids of the repo's pointers to files that are large enough, with the SHA-256 of each."""
    row = s.git_object.c
    query = (
        select(row.oid, row.lfs_oid)
        .where(row.repo_id == repo_id, row.lfs_oid.is_not(None), row.lfs_bytes >= BYTES_MIN)
        .limit(POINTERS_MAX)
    )
    return {GitOid(found.oid): Digest(found.lfs_oid) for found in conn.execute(query)}


def _came(conn: Connection, repo_id: int, oids: Iterable[str]) -> dict[Digest, int]:
    """When the repo got these blobs; those it does not hold any more are left out."""
    row, wanted, found = s.repo_blob.c, list(oids), {}
    for at in range(0, len(wanted), IN_MAX):
        query = select(row.oid, row.created_ms).where(
            row.repo_id == repo_id, row.oid.in_(wanted[at : at + IN_MAX])
        )
        found.update({Digest(one.oid): int(one.created_ms) for one in conn.execute(query)})
    return found


def _held(conn: Connection, repo_id: int, oids: Iterator[Digest]) -> list[Digest]:
    some = list(dict.fromkeys(oids))[:ROOTS_MAX]
    here = _came(conn, repo_id, some)
    return [oid for oid in some if oid in here]


def _base_keys(conn: Connection, repo_id: int) -> list[str]:
    edge = s.base_edge.c
    query = select(edge.base_key).where(edge.repo_id == repo_id).order_by(edge.base_key)
    return list(conn.execute(query.limit(BASES_MAX)).scalars())


def _repos(conn: Connection, keys: Sequence[str], child: int) -> list[int]:
    """The models of these names, by names they had before, too."""
    old = select(s.redirect.c.repo_id).where(
        s.redirect.c.type == "model", s.redirect.c.key.in_(keys)
    )
    query = (
        select(s.repo.c.id)
        .where(s.repo.c.type == "model", or_(s.repo.c.key.in_(keys), s.repo.c.id.in_(old)))
        .where(s.repo.c.id != child)
        .order_by(s.repo.c.created_ms, s.repo.c.id)
    )
    return list(conn.execute(query.limit(BASES_MAX)).scalars())


def _siblings(conn: Connection, keys: Sequence[str], child: int) -> list[int]:
    """Other models of the same bases: adapters first, since a merge may be made of one."""
    edge = s.base_edge.c
    query = (
        select(edge.repo_id, edge.relation)
        .where(edge.base_key.in_(keys), edge.repo_id != child)
        .order_by(edge.relation != "adapter", edge.repo_id)
        .limit(SIBLINGS_MAX)
    )
    return list(dict.fromkeys(row.repo_id for row in conn.execute(query)))
