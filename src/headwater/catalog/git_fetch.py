"""What a git client lacks: objects reachable from its wants and not from its haves, as a pack.

    fetch.refs(repo), fetch.kinds(repo, oids)     what can be asked for
    fetch.ready(repo, wants, common)              is enough known to stop asking
    fetch.depth(repo, wants, depth), .since(…)    (commits, boundary) of a shallow history
    for piece in fetch.pack(repo, want): ...      a pack, and progress on the way

What is sent is found first (`git_lacking`), then read some megabytes at a time: memory does not
grow with the repo. Each body is inflated and hashed once more before it leaves. No transaction
spans two pieces, so a slow client holds nothing up: objects never change, and gc leaves what a ref
led to alone for its grace time.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sqlalchemy import Connection, select

from headwater.catalog import schema as s
from headwater.catalog.db import IN_MAX, Db
from headwater.catalog.git import GitObjects
from headwater.catalog.git_graph import commits_of, kinds
from headwater.catalog.git_lacking import TABLES, Lacking, Progress, Want
from headwater.catalog.git_scratch import scratch
from headwater.catalog.models import Repo
from headwater.errors import BadRequest, Corrupt, NotFound
from headwater.formats.git_pack import entry_head, pack_head

BATCH_BYTES = 4 * 2**20  # of object bodies asked for at once
READY_STEPS_MAX = 2_000  # commits looked at before we call it enough
_INFLATE_BYTES = 2**20


class Fetch:
    def __init__(self, db: Db, git: GitObjects) -> None:
        self.db = db
        self.git = git

    def kinds(self, repo: Repo, oids: Iterable[str]) -> dict[str, str]:
        """The kind of each object that this repo has, by id."""
        with self.db.read() as conn:
            return kinds(conn, repo.id, oids)

    def refs(self, repo: Repo) -> list[tuple[str, str, str]]:
        """(name, target, commit) of each ref, by name; a target is a commit or a tag object."""
        query = select(s.ref.c.name, s.ref.c.target, s.ref.c.commit)
        with self.db.read() as conn:
            rows = conn.execute(query.where(s.ref.c.repo_id == repo.id))
            # By bytes, whatever the database sorts by.
            return sorted((row.name, row.target, row.commit) for row in rows)

    def parents(self, repo: Repo, oids: Iterable[str]) -> list[str]:
        """The parents of these commits."""
        with self.db.read() as conn:
            return [p for oid in oids for p in self._parents(conn, repo.id, oid)]

    def ready(self, repo: Repo, wants: Iterable[str], common: set[str]) -> bool:
        """Whether each want leads to something the client has, so that asking on gains little."""
        steps = 0
        with self.db.read() as conn:
            for _, tip in commits_of(self.git, conn, repo.id, wants):
                todo, seen = deque([tip]), {tip}
                while todo and todo[0] not in common:
                    if (steps := steps + 1) > READY_STEPS_MAX:
                        return True
                    parents = self._parents(conn, repo.id, todo.popleft())
                    fresh = [parent for parent in parents if parent not in seen]
                    seen.update(fresh)
                    todo += fresh
                if not todo:
                    return False
        return True

    def depth(self, repo: Repo, wants: Iterable[str], depth: int) -> tuple[set[str], set[str]]:
        """(commits within `depth` of the wants, those of them where history is cut)."""
        inside: set[str] = set()
        boundary: set[str] = set()
        with self.db.read() as conn:
            level = {tip for _, tip in commits_of(self.git, conn, repo.id, wants)}
            for left in range(depth, 0, -1):
                inside |= level
                below = {oid: self._parents(conn, repo.id, oid) for oid in sorted(level)}
                if left == 1:
                    boundary |= {oid for oid, parents in below.items() if parents}
                level = {p for parents in below.values() for p in parents} - inside
                if not level:
                    break
        # A commit at the edge may be reached on a shorter way, too; its parents are then inside.
        with self.db.read() as conn:
            cut = {o for o in boundary if set(self._parents(conn, repo.id, o)) - inside}
        return inside, cut

    def since(self, repo: Repo, wants: Iterable[str], at_s: int) -> tuple[set[str], set[str]]:
        """As `depth`, for the commits made since `at_s` (Unix); BadRequest when there are none."""
        inside: set[str] = set()
        with self.db.read() as conn:
            todo = [tip for _, tip in commits_of(self.git, conn, repo.id, wants)]
            while todo:
                oid = todo.pop()
                info = self.git.commit(conn, repo.id, oid)
                if oid not in inside and info.at_ms >= at_s * 1000:
                    inside.add(oid)
                    todo += info.parents
            cut = {o for o in inside if set(self._parents(conn, repo.id, o)) - inside}
        if not inside:
            raise BadRequest("no commit was made since then")
        return inside, cut

    def _parents(self, conn: Connection, repo_id: int, oid: str) -> Sequence[str]:
        return self.git.commit(conn, repo_id, oid).parents

    def pack(self, repo: Repo, want: Want, folder: Path) -> Iterator[bytes | Progress]:
        """The pack in pieces of some megabytes. NotFound or Corrupt when history has a gap."""
        with scratch(folder, TABLES) as db:
            yield from Lacking(self.db, self.git).run(repo, want, db)
            count = db.execute("SELECT count(*) FROM found WHERE sent").fetchone()[0]
            yield Progress(f"Sending {count} objects\n")
            sha = hashlib.sha1(usedforsecurity=False)
            head = pack_head(count)
            sha.update(head)
            yield head
            for piece in self._bodies(repo, db):
                sha.update(piece)
                yield piece
            yield sha.digest()

    def _bodies(self, repo: Repo, db: sqlite3.Connection) -> Iterator[bytes]:
        """Every object to be sent, as it stands in a pack."""
        cursor = 0
        while batch := db.execute(
            "SELECT n, oid FROM found WHERE sent AND n > ? ORDER BY n LIMIT ?", (cursor, IN_MAX)
        ).fetchall():
            cursor = batch[-1][0]
            sizes = self._sizes(repo, [oid for _, oid in batch])
            some: list[str] = []
            some_bytes = 0
            for _, oid in batch:
                if some and some_bytes + sizes[oid] > BATCH_BYTES:
                    yield self._packed(repo, some)
                    some, some_bytes = [], 0
                some.append(oid)
                some_bytes += sizes[oid]
            yield self._packed(repo, some)

    def _sizes(self, repo: Repo, oids: list[str]) -> dict[str, int]:
        query = select(s.git_object.c.oid, s.git_object.c.size_bytes).where(
            s.git_object.c.repo_id == repo.id, s.git_object.c.oid.in_(oids)
        )
        with self.db.read() as conn:
            sizes = {row.oid: row.size_bytes for row in conn.execute(query)}
        for oid in oids:
            if oid not in sizes:
                raise NotFound(f"git object {oid} is missing from this repo")
        return sizes

    def _packed(self, repo: Repo, oids: list[str]) -> bytes:
        query = select(
            s.git_object.c.oid, s.git_object.c.kind, s.git_object.c.size_bytes, s.git_object.c.data
        ).where(s.git_object.c.repo_id == repo.id, s.git_object.c.oid.in_(oids))
        with self.db.read() as conn:
            rows = {row.oid: row for row in conn.execute(query)}
        out = []
        for oid in oids:
            row = rows.get(oid)
            if row is None:
                raise NotFound(f"git object {oid} is missing from this repo")
            _prove(oid, row.kind, row.size_bytes, row.data)
            out += [entry_head(row.kind, row.size_bytes), row.data]
        return b"".join(out)


def _prove(oid: str, kind: str, size_bytes: int, data: bytes) -> None:
    """Corrupt unless the stored bytes are the object that their id names. Holds one piece."""
    sha = hashlib.sha1(f"{kind} {size_bytes}\0".encode(), usedforsecurity=False)
    engine, left, waiting = zlib.decompressobj(), size_bytes, data
    try:
        while not engine.eof and left >= 0 and waiting:
            piece = engine.decompress(waiting, _INFLATE_BYTES)
            waiting = engine.unconsumed_tail
            left -= len(piece)
            sha.update(piece)
    except zlib.error:
        left = -1
    if left or not engine.eof or engine.unused_data or sha.hexdigest() != oid:
        raise Corrupt(
            f"git {kind} {oid} no longer matches its name; run `headwater check` and restore it "
            "from a backup or commit the file again"
        )
