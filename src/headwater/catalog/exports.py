"""What of a repo goes into a bundle: its history, its large files, and its kin.

    exports.family(repos, up, down)   repos that these were made from, that were made from these
    exports.history(repo)             History: refs and everything that they lead to, at one moment
    exports.note(repos, origin)       they have left: the audit trail knows it

The operator exports: rights are not asked, but a quarantined repo stays, and so does what was taken
out for good. Branches and tags go; pull requests and what is said about a repo belong to this hub.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, select

from headwater.catalog import audit
from headwater.catalog import schema as s
from headwater.catalog.actors import OPERATOR
from headwater.catalog.db import IN_MAX, Db
from headwater.catalog.duplicate import COPIED_REFS
from headwater.catalog.git import GitObjects
from headwater.catalog.models import Repo
from headwater.errors import Forbidden, TooLarge
from headwater.formats.lfs_pointer import POINTER_BYTES_MAX, parse_pointer
from headwater.names import Digest

FAMILY_MAX = 1_000  # a famous base has more children; then name the ones that are meant

_Step = Callable[[Connection, Repo], Iterator[Repo]]


@dataclass(frozen=True, slots=True)
class History:
    """`refs` are (name, target); `files` maps large files to sizes."""

    refs: tuple[tuple[str, str], ...]
    files: dict[Digest, int]
    gone: tuple[Digest, ...]  # named by a pointer, and taken out for good
    texts: tuple[str, ...]  # ordinary files that read like pointers


class Exports:
    def __init__(self, db: Db, git: GitObjects) -> None:
        self.db = db
        self.git = git

    def family(self, repos: Sequence[Repo], *, up: bool, down: bool) -> list[Repo]:
        """`repos` and, by the cards that are here, all models they come from (`up`) and all that
        come from them (`down`), bases first, quarantined ones too. TooLarge over FAMILY_MAX."""
        with self.db.read() as conn:
            above = self._closure(conn, repos, self._bases) if up else []
            below = self._closure(conn, repos, self._children) if down else []
        found = {repo.id: repo for repo in (*reversed(above), *repos, *below)}
        return list(found.values())

    def _closure(self, conn: Connection, repos: Sequence[Repo], step: _Step) -> list[Repo]:
        found: dict[int, Repo] = {}
        todo = list(repos)
        while todo:
            for repo in step(conn, todo.pop()):
                if repo.id not in found:
                    found[repo.id] = repo
                    todo.append(repo)
            if len(found) > FAMILY_MAX:
                raise TooLarge(f"this family has over {FAMILY_MAX} repos; name those you mean")
        return list(found.values())

    def _bases(self, conn: Connection, repo: Repo) -> Iterator[Repo]:
        named = select(s.base_edge.c.base_key).where(s.base_edge.c.repo_id == repo.id)
        moved = select(s.redirect.c.repo_id).where(
            s.redirect.c.type == "model", s.redirect.c.key.in_(named)
        )
        here = s.repo.c.key.in_(named) | s.repo.c.id.in_(moved)
        yield from _models(conn, here)

    def _children(self, conn: Connection, repo: Repo) -> Iterator[Repo]:
        old = select(s.redirect.c.key).where(
            s.redirect.c.repo_id == repo.id, s.redirect.c.type == repo.type
        )
        naming = select(s.base_edge.c.repo_id).where(
            (s.base_edge.c.base_key == repo.key) | s.base_edge.c.base_key.in_(old)
        )
        yield from _models(conn, s.repo.c.id.in_(naming))

    def history(self, repo: Repo) -> History:
        """Everything the branches and tags of a repo lead to. Forbidden for a quarantined one;
        NotFound or Corrupt when its history has a gap."""
        with self.db.read() as conn:
            row = conn.execute(select(s.repo.c.disabled).where(s.repo.c.id == repo.id)).first()
            if row is None or row.disabled:
                raise Forbidden(f"{repo.full} is quarantined; it may not leave this hub")
            refs = self._refs(conn, repo.id)
            seen = self._reached(conn, repo.id, refs)
            files, texts = _pointers(conn, repo.id, sorted(seen))
            gone = _withdrawn(conn, repo.id)
        return History(
            tuple((name, target) for name, target, _ in refs),
            {oid: size for oid, size in files.items() if oid not in gone},
            tuple(sorted(gone & files.keys())),
            tuple(sorted(texts)),
        )

    def note(self, repos: Sequence[Repo], origin: str) -> None:
        """One audit row a repo; `origin` names the bundle that they went into."""
        with self.db.write() as conn:
            for repo in repos:
                subject = repo.prefix + repo.full
                audit.record(conn, OPERATOR.audit_name, "repo.export", subject, bundle=origin)

    def _refs(self, conn: Connection, repo_id: int) -> list[tuple[str, str, str]]:
        query = select(s.ref.c.name, s.ref.c.target, s.ref.c.commit).where(
            s.ref.c.repo_id == repo_id
        )
        rows = conn.execute(query)
        return sorted(tuple(row) for row in rows if row.name.startswith(COPIED_REFS))

    def _reached(
        self, conn: Connection, repo_id: int, refs: Iterable[tuple[str, str, str]]
    ) -> set[str]:
        """Blobs that these refs lead to."""
        todo = [(target, "commit" if target == commit else "tag") for _, target, commit in refs]
        seen: set[str] = set()
        blobs: set[str] = set()
        while todo:
            oid, kind = todo.pop()
            if oid in seen:
                continue
            seen.add(oid)
            links = self.git.links(conn, repo_id, oid, kind)
            blobs.update(str(link) for link, what in links if what == "blob")
            todo += [(str(link), what) for link, what in links if what != "blob"]
        return blobs


def _models(conn: Connection, where: ColumnElement[bool]) -> Iterator[Repo]:
    query = select(s.repo).where(s.repo.c.type == "model", where)
    for row in conn.execute(query.order_by(s.repo.c.id).limit(FAMILY_MAX + 1)):
        yield Repo.of(row)


def _pointers(
    conn: Connection, repo_id: int, oids: Sequence[str]
) -> tuple[dict[Digest, int], set[str]]:
    """(large files behind pointers, ids of texts that are like one), of these git blobs."""
    files: dict[Digest, int] = {}
    texts: set[str] = set()
    git = s.git_object.c
    for at in range(0, len(oids), IN_MAX):
        query = select(git.oid, git.lfs_oid, git.lfs_bytes, git.data).where(
            git.repo_id == repo_id,
            git.oid.in_(oids[at : at + IN_MAX]),
            git.size_bytes <= POINTER_BYTES_MAX,
        )
        for row in conn.execute(query):
            if row.lfs_oid is not None:
                files[Digest(row.lfs_oid)] = row.lfs_bytes
            elif parse_pointer(zlib.decompress(row.data)) is not None:
                texts.add(row.oid)
    return files, texts


def _withdrawn(conn: Connection, repo_id: int) -> set[Digest]:
    query = select(s.withdrawn.c.oid).where(s.withdrawn.c.repo_id == repo_id)
    return {Digest(oid) for oid in conn.execute(query).scalars()}
