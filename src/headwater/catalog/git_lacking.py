"""What a client lacks: its wants and all below them, less what its haves lead to.

    for progress in Lacking(db, git).run(repo, want, scratch): ...

Then `found` of the scratch database (made with `TABLES`) has, in order, what is to be sent.

Memory does not grow with the repo: what was seen is kept in the scratch database, and trees are
read some hundreds at a time. More may be found than is strictly needed (a client's old blob in a
new place), never less.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from headwater.catalog import schema as s
from headwater.catalog.db import IN_MAX, Db
from headwater.catalog.git import GitObjects
from headwater.catalog.git_graph import commits_of, kinds, parts, step
from headwater.catalog.models import Repo
from headwater.errors import NotFound
from headwater.formats.git_object import FOLDER

BOUNDARY_TREES_MAX = 64  # of commits that the client has: their files are not sent again
TABLES = """
    CREATE TABLE theirs (oid TEXT PRIMARY KEY, walked INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE found (
        n INTEGER PRIMARY KEY, oid TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, sent INTEGER NOT NULL
    );
"""


@dataclass(frozen=True, slots=True)
class Want:
    """What a client asks for. `grafts`: commits whose parents are not looked at on our side;
    `cuts`: those whose parents the client itself lacks."""

    wants: Sequence[str]
    haves: Sequence[str] = ()
    grafts: frozenset[str] = frozenset()
    cuts: frozenset[str] = frozenset()
    include_tags: bool = False
    blob_bytes_max: int | None = None  # larger blobs are left out unless wanted by name


@dataclass(slots=True)
class Progress:
    """Said on the way, for a person to read."""

    text: str


@dataclass(slots=True)
class _Walk:
    conn: Connection
    db: sqlite3.Connection
    repo_id: int
    want: Want
    tips: list[str] = field(default_factory=list)  # commits wanted


class Lacking:
    def __init__(self, db: Db, git: GitObjects) -> None:
        self.db = db
        self.git = git

    def run(self, repo: Repo, want: Want, db: sqlite3.Connection) -> Iterator[Progress]:
        """Fill `found` with what is to be sent: commits, tags, then trees, then blobs."""
        with self.db.read() as conn:
            walk = _Walk(conn, db, repo.id, want)
            self._wanted(walk)
            self._commits(walk)
            if want.include_tags:
                self._tags(walk)
        self._trees_of_theirs(repo, want, db)
        for kind in ("commit", "tree"):
            cursor = 0
            while True:
                batch = db.execute(
                    "SELECT n, oid FROM found WHERE kind = ? AND n > ? AND sent ORDER BY n LIMIT ?",
                    (kind, cursor, IN_MAX),
                ).fetchall()
                if not batch:
                    break
                cursor = batch[-1][0]
                with self.db.read() as conn:
                    walk = _Walk(conn, db, repo.id, want)
                    for _, oid in batch:
                        if kind == "commit":
                            _note(db, self.git.commit(conn, repo.id, oid).tree, "tree")
                        else:
                            self._below(walk, oid, sent=True)
                yield Progress(f"Enumerating objects: {_count(db)}\r")

    def _wanted(self, walk: _Walk) -> None:
        """Note what is wanted by name, before anything can say that the client has it: after a
        clone with a filter it names the blobs of commits that it has."""
        known = kinds(walk.conn, walk.repo_id, walk.want.wants)
        for oid in dict.fromkeys(walk.want.wants):
            kind = known.get(oid)
            if kind is None:
                raise NotFound(f"not our ref {oid}")
            while kind == "tag":
                _note(walk.db, oid, "tag")
                oid, kind = step(self.git, walk.conn, walk.repo_id, oid)
            if kind == "commit":
                walk.tips.append(oid)
            else:
                _note(walk.db, oid, kind)

    def _commits(self, walk: _Walk) -> None:
        """Walk both histories in step: theirs only as long as ours goes on."""
        theirs = commits_of(self.git, walk.conn, walk.repo_id, walk.want.haves)
        self._hold(walk, (commit for _, commit in theirs))
        todo, at_root = walk.tips, False
        while todo:
            self._walk_theirs(walk)
            fresh = [
                oid
                for oid in todo
                if not _is_theirs(walk.db, oid) and _note(walk.db, oid, "commit")
            ]
            todo = []
            for oid in fresh:
                cut = oid in walk.want.grafts
                parents = () if cut else self._parents(walk.conn, walk.repo_id, oid)
                at_root = at_root or not parents
                todo += parents
        while at_root and self._walk_theirs(walk):
            pass  # ours did not simply end at theirs: what of it do they have?
        walk.db.execute(
            "UPDATE found SET sent = 0 WHERE kind = 'commit' AND oid IN (SELECT oid FROM theirs)"
        )

    def _walk_theirs(self, walk: _Walk) -> bool:
        """One step back in what the client has; whether there was one."""
        batch = walk.db.execute(
            "SELECT oid FROM theirs WHERE NOT walked LIMIT ?", (IN_MAX,)
        ).fetchall()
        for (oid,) in batch:
            if oid not in walk.want.cuts:
                self._hold(walk, self._parents(walk.conn, walk.repo_id, oid))
        walk.db.executemany("UPDATE theirs SET walked = 1 WHERE oid = ?", batch)
        return bool(batch)

    def _hold(self, walk: _Walk, oids: Iterable[str]) -> None:
        walk.db.executemany(
            "INSERT OR IGNORE INTO theirs VALUES (?, 0)", [(str(oid),) for oid in oids]
        )

    def _tags(self, walk: _Walk) -> None:
        """Annotated tags of commits that are sent, as `include-tag` asks."""
        query = select(s.ref.c.target, s.ref.c.commit).where(
            s.ref.c.repo_id == walk.repo_id, s.ref.c.target != s.ref.c.commit
        )
        for target, commit in walk.conn.execute(query).all():
            sent = "SELECT 1 FROM found WHERE oid = ? AND kind = 'commit' AND sent"
            if walk.db.execute(sent, (commit,)).fetchone():
                oid, kind = target, "tag"
                while kind == "tag":
                    _note(walk.db, oid, "tag")
                    oid, kind = step(self.git, walk.conn, walk.repo_id, oid)

    def _trees_of_theirs(self, repo: Repo, want: Want, db: sqlite3.Connection) -> None:
        """Note, as not to be sent, the files of the commits where our history meets theirs."""
        with self.db.read() as conn:
            walk = _Walk(conn, db, repo.id, want)
            edge: dict[str, None] = {}
            sent = "SELECT oid FROM found WHERE kind = 'commit' AND sent ORDER BY n"
            for (oid,) in db.execute(sent):
                for parent in self._parents(conn, repo.id, oid):
                    if _is_theirs(db, parent):
                        edge[parent] = None
                if len(edge) >= BOUNDARY_TREES_MAX:
                    break
            if not edge:  # a history of its own may still share files with what they have
                known = kinds(conn, repo.id, want.haves[:BOUNDARY_TREES_MAX])
                edge = dict.fromkeys([o for o, kind in known.items() if kind == "commit"][:1])
            for oid in list(edge)[:BOUNDARY_TREES_MAX]:
                todo = [str(self.git.commit(conn, repo.id, oid).tree)]
                while todo:
                    tree = todo.pop()
                    if _note(db, tree, "tree", sent=False):
                        todo += self._below(walk, tree, sent=False)

    def _below(self, walk: _Walk, tree: str, *, sent: bool) -> list[str]:
        """Note what a tree names; gives its subtrees."""
        blobs: list[str] = []
        trees: list[str] = []
        for row in self.git.tree(walk.conn, walk.repo_id, tree):
            (trees if row.mode == FOLDER else blobs).append(str(row.oid))
        limit = walk.want.blob_bytes_max
        if sent and limit is not None:
            blobs = self._small(walk, blobs, limit) if limit else []
        rows = [(oid, "blob", int(sent)) for oid in blobs]
        if sent:
            rows += [(oid, "tree", 1) for oid in trees]
        walk.db.executemany("INSERT OR IGNORE INTO found (oid, kind, sent) VALUES (?, ?, ?)", rows)
        return trees

    def _small(self, walk: _Walk, oids: list[str], limit: int) -> list[str]:
        small: list[str] = []
        for part in parts(oids):
            query = select(s.git_object.c.oid).where(
                s.git_object.c.repo_id == walk.repo_id,
                s.git_object.c.oid.in_(part),
                s.git_object.c.size_bytes < limit,
            )
            small += walk.conn.execute(query).scalars()
        return small

    def _parents(self, conn: Connection, repo_id: int, oid: str) -> Sequence[str]:
        return self.git.commit(conn, repo_id, oid).parents


def _note(db: sqlite3.Connection, oid: str, kind: str, *, sent: bool = True) -> bool:
    """Whether it was not noted before."""
    done = db.execute(
        "INSERT OR IGNORE INTO found (oid, kind, sent) VALUES (?, ?, ?)", (str(oid), kind, sent)
    )
    return done.rowcount == 1


def _is_theirs(db: sqlite3.Connection, oid: str) -> bool:
    return db.execute("SELECT 1 FROM theirs WHERE oid = ?", (str(oid),)).fetchone() is not None


def _count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM found WHERE sent").fetchone()[0])
