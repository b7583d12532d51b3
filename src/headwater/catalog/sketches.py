"""Sketches of models, which repos hold which models, and what two models are to each other.

    sketches.put(key, …) / state(key) / files(keys)   what is kept of a model's weights
    sketches.signs_since(id, limit), .alike(key, …)   to search by
    sketches.set_units(repo, units) / units(repo_id)  the models of a repo
    sketches.within(keys, scope)                      those that some repo of a scope holds
    sketches.kin(one, other), .kin_among, .put_kin    relations, once they were found

A key stands for the bytes of a model (`lineage.units`). Nothing here says who may see what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, delete, exists, false, func, or_, select, update

from headwater.catalog import schema as s
from headwater.catalog import schema_lineage as sl
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db, pages
from headwater.catalog.models import Repo
from headwater.lineage.relation import Relation
from headwater.lineage.search import pack_signs
from headwater.lineage.sketch import Sketch
from headwater.lineage.units import UNITS_MAX, Unit, UnitFile
from headwater.names import Digest

RULES = 1  # of sketches, relations and traces: with others they are made anew
PUBLIC, ALL = 0, -1  # scopes; any other is an account's: what is public and its own
REASON_CHARS_MAX = 500
State = Literal["made", "none", "failed"]


@dataclass(frozen=True, slots=True)
class Held:
    """A model of a repo."""

    path: str
    key: str
    size_bytes: int
    came_ms: int
    files: tuple[UnitFile, ...]
    state: State | None = None  # None: it was not looked at yet
    reason: str | None = None


class StoredFile(NamedTuple):
    """Of a model, whoever has it: its names are no one's but each repo's."""

    oid: Digest
    size_bytes: int


class Sketches:
    def __init__(self, db: Db) -> None:
        self.db = db

    # Sketches

    def state(self, key: str) -> State | None:
        """What became of it by today's rules; None when nothing did."""
        row = sl.sketch.c
        query = select(row.state).where(row.key == key, row.rules == RULES)
        with self.db.read() as conn:
            found: State | None = conn.execute(query).scalar_one_or_none()
        return found

    def put(
        self, unit: Unit, sketch: Sketch | None, shapes: str = "", reason: str | None = None
    ) -> None:
        """Keep the sketch, in place of any earlier; without one, why there is none. `shapes`:
        equal for models of one architecture, known or not."""
        made = sketch is not None and sketch.layers > 0
        values = {
            "state": "made" if made else "none" if sketch is not None else "failed",
            "reason": reason[:REASON_CHARS_MAX].replace("\0", " ") if reason else None,
            "rules": RULES,
            "files": msgspec.json.encode(
                [(str(file.oid), file.size_bytes) for file in unit.files]
            ).decode(),
            "signs": pack_signs(sketch) if sketch is not None else b"",
            "body": sketch.pack() if sketch is not None else b"",
            "shapes": shapes,
            "at_ms": now_ms(),
        }
        with self.db.write() as conn:
            # A new row, not an update: its id tells those who keep signs in memory.
            conn.execute(delete(sl.sketch).where(sl.sketch.c.key == unit.key))
            conn.execute(sl.sketch.insert().values(key=unit.key, **values))

    def sketch(self, key: str) -> Sketch | None:
        query = select(sl.sketch.c.body).where(sl.sketch.c.key == key, sl.sketch.c.rules == RULES)
        with self.db.read() as conn:
            body = conn.execute(query).scalar_one_or_none()
        return Sketch.unpack(body) if body else None

    def signs_since(self, id: int, limit: int) -> list[tuple[int, str, bytes]]:
        """(id, key, signs) of sketches behind `id`, those that can be searched for."""
        row = sl.sketch.c
        query = (
            select(row.id, row.key, row.signs)
            .where(row.id > id, row.state != "failed", row.rules == RULES)
            .order_by(row.id)
            .limit(limit)
        )
        with self.db.read() as conn:
            return [(id, key, signs) for id, key, signs in conn.execute(query)]

    def alike(self, key: str, limit: int) -> list[str]:
        """Models of no known layers whose tensors have the same shapes as this one's."""
        row = sl.sketch.c
        mine = select(row.shapes).where(row.key == key, row.shapes != "").scalar_subquery()
        query = (
            select(row.key)
            .where(row.shapes == mine, row.key != key, row.state == "none", row.rules == RULES)
            .order_by(row.id)
            .limit(limit)
        )
        with self.db.read() as conn:
            return list(conn.execute(query).scalars())

    def files(self, keys: Iterable[str]) -> dict[str, tuple[StoredFile, ...]]:
        """The files of models that have a sketch."""
        found = {}
        for some in pages(keys):
            query = select(sl.sketch.c.key, sl.sketch.c.files).where(sl.sketch.c.key.in_(some))
            with self.db.read() as conn:
                for row in conn.execute(query):
                    files = msgspec.json.decode(row.files, type=list[tuple[str, int]])
                    found[row.key] = tuple(StoredFile(Digest(oid), size) for oid, size in files)
        return found

    def forget_unheld(self) -> int:
        """Drop what is known of models that no repo holds any more; how many."""
        held = exists().where(sl.model_unit.c.key == sl.sketch.c.key)
        with self.db.write() as conn:
            gone = list(conn.execute(select(sl.sketch.c.key).where(~held)).scalars())
            for some in pages(gone):
                conn.execute(delete(sl.sketch).where(sl.sketch.c.key.in_(some)))
                pair = or_(sl.kinship.c.one.in_(some), sl.kinship.c.other.in_(some))
                conn.execute(delete(sl.kinship).where(pair))
                conn.execute(delete(sl.ancestry).where(sl.ancestry.c.key.in_(some)))
                conn.execute(delete(sl.ancestry_link).where(sl.ancestry_link.c.key.in_(some)))
        return len(gone)

    def fail(self, key: str, reason: str) -> None:
        """A model that was sketched is of no use after all: it is compared with nobody again."""
        values = {"state": "failed", "reason": reason[:REASON_CHARS_MAX]}
        with self.db.write() as conn:
            conn.execute(update(sl.sketch).where(sl.sketch.c.key == key).values(**values))

    # Models of repos

    def set_units(self, repo: Repo, units: Sequence[Unit]) -> None:
        """These are the models of the repo now."""
        with self.db.write() as conn:
            oids = [file.oid for unit in units for file in unit.files]
            came: dict[str, int] = {}
            for some in pages(oids):
                query = select(s.repo_blob.c.oid, s.repo_blob.c.created_ms).where(
                    s.repo_blob.c.repo_id == repo.id, s.repo_blob.c.oid.in_(some)
                )
                came.update({row.oid: row.created_ms for row in conn.execute(query)})
            conn.execute(delete(sl.model_unit).where(sl.model_unit.c.repo_id == repo.id))
            if conn.execute(select(s.repo.c.id).where(s.repo.c.id == repo.id)).first() is None:
                return  # deleted meanwhile
            for unit in units:
                known = [came[file.oid] for file in unit.files if file.oid in came]
                conn.execute(
                    sl.model_unit.insert().values(
                        repo_id=repo.id,
                        path=unit.path,
                        key=unit.key,
                        size_bytes=unit.size_bytes,
                        came_ms=max(known, default=repo.updated_ms),
                        files=msgspec.json.encode(
                            [(str(f.path), str(f.oid), f.size_bytes) for f in unit.files]
                        ).decode(),
                    )
                )

    def units(self, repo_ids: Iterable[int], limit: int = UNITS_MAX) -> dict[int, list[Held]]:
        """The models of these repos, the largest first, so many of each."""
        unit = sl.model_unit.c
        found: dict[int, list[Held]] = {}
        joined = sl.model_unit.outerjoin(
            sl.sketch, (sl.sketch.c.key == unit.key) & (sl.sketch.c.rules == RULES)
        )
        for some in pages(repo_ids):
            query = (
                select(sl.model_unit, sl.sketch.c.state, sl.sketch.c.reason)
                .select_from(joined)
                .where(unit.repo_id.in_(some))
                .order_by(unit.repo_id, unit.size_bytes.desc(), unit.path)
            )
            with self.db.read() as conn:
                for row in conn.execute(query):
                    if len(found.get(row.repo_id, ())) >= limit:
                        continue
                    held = Held(
                        row.path,
                        row.key,
                        row.size_bytes,
                        row.came_ms,
                        _files(row.files),
                        row.state,
                        row.reason,
                    )
                    found.setdefault(row.repo_id, []).append(held)
        return found

    def held(self, keys: Iterable[str]) -> set[str]:
        """Those that any repo holds, be it in quarantine."""
        found: set[str] = set()
        for some in pages(keys):
            query = select(sl.model_unit.c.key).where(sl.model_unit.c.key.in_(some)).distinct()
            with self.db.read() as conn:
                found |= set(conn.execute(query).scalars())
        return found

    def within(self, keys: Iterable[str], scope: int) -> dict[str, tuple[int, int]]:
        """(when it came there first, bytes) of those that a repo of the scope holds."""
        unit, found = sl.model_unit.c, {}
        for some in pages(keys):
            query = (
                select(unit.key, func.min(unit.came_ms), func.max(unit.size_bytes))
                .join(s.repo, s.repo.c.id == unit.repo_id)
                .where(unit.key.in_(some), in_scope(scope))
                .group_by(unit.key)
            )
            with self.db.read() as conn:
                found.update(
                    {key: (int(came), int(size)) for key, came, size in conn.execute(query)}
                )
        return found

    # Relations

    def kin_among(
        self, keys: Iterable[str], others: Iterable[str]
    ) -> dict[tuple[str, str], Relation]:
        """What each of `others` is to each of `keys`, where that was found."""
        row, found = sl.kinship.c, {}
        wanted = set(keys)
        for some in pages(others):
            query = select(row.one, row.other, row.body).where(
                row.other.in_(some), row.rules == RULES
            )
            with self.db.read() as conn:
                for at in conn.execute(query):
                    if at.one in wanted:
                        found[at.one, at.other] = msgspec.msgpack.decode(at.body, type=Relation)
        return found

    def kin(self, one: Iterable[str], other: str) -> dict[str, Relation]:
        """What `other` is to each of those, where that was found."""
        return {key: found for (key, _), found in self.kin_among(one, [other]).items()}

    def put_kin(self, relations: Mapping[str, Relation], other: str) -> None:
        """Keep what was found."""
        with self.db.write() as conn:
            for one, relation in relations.items():
                values = {
                    "rules": RULES,
                    "body": msgspec.msgpack.encode(relation),
                }
                statement = self.db.upsert(sl.kinship, ["one", "other"], values)
                conn.execute(statement, {"one": one, "other": other, **values})


def _files(text: str) -> tuple[UnitFile, ...]:
    rows = msgspec.json.decode(text, type=list[tuple[str, str, int]])
    return tuple(UnitFile(path, Digest(oid), size) for path, oid, size in rows)


def in_scope(scope: int) -> ColumnElement[bool]:
    """Repos of models whose files count in a scope."""
    repo = s.repo.c
    sound = (repo.type == "model") & repo.disabled.is_(false())
    if scope == ALL:
        return sound
    public = repo.private.is_(false())
    return sound & (public if scope == PUBLIC else or_(public, repo.owner_id == scope))
