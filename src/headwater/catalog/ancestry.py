"""Whom each model comes from, as its weights say, and which repos wait to be looked at.

    ancestry.unlooked(limit)                 model repos whose `main` nobody looked at
    ancestry.looked(repo, commit)            it was, at that commit
    ancestry.look_again(keys), .orphans(n)   who lost a parent is looked at again
    ancestry.scopes(key)                     among whom it is to be traced
    ancestry.put(key, scope, found)          its parents there; None drops what is known
    ancestry.parents(key) / children(key)    links, of every scope
    ancestry.declared(key, scope)            models of the repos that cards name as its bases
    ancestry.declaring(key, scope)           models of the repos whose cards name it

A model is traced among what everybody sees if a public repo holds it, and, if its owner has private
models, among these besides: then an edge says no more than its reader may know. For packing it is
traced among all there are; nobody is shown that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    delete,
    exists,
    false,
    func,
    or_,
    select,
    true,
    update,
)

from headwater.catalog import schema as s
from headwater.catalog import schema_lineage as sl
from headwater.catalog.clock import now_ms
from headwater.catalog.db import IN_MAX, Db, pages
from headwater.catalog.models import Repo
from headwater.catalog.repos import MAIN
from headwater.catalog.sketches import ALL, PUBLIC, REASON_CHARS_MAX, RULES, in_scope
from headwater.lineage.parents import Ancestry
from headwater.names import GitOid

DECLARED_MAX = 16  # models that a card names, each in some files
SCOPES_MAX = 16  # of one model: organisations that hold a copy of it


@dataclass(frozen=True, slots=True)
class Unlooked:
    repo: Repo
    commit: GitOid  # that `main` has
    last_ms: int  # when it was looked at; 0: never


@dataclass(frozen=True, slots=True)
class Link:
    """A model comes from another. Of a merge there are several."""

    key: str
    scope: int
    parent: str
    kind: str
    decided: bool
    weight: float


class Ancestries:
    def __init__(self, db: Db) -> None:
        self.db = db

    # Repos

    def unlooked(self, limit: int, after_id: int = 0) -> list[Unlooked]:
        """Repos behind `after_id` that changed since they were looked at: `main`, owner, or who may
        see them; or that were to be looked at again."""
        look = sl.lineage_look.c
        same = exists().where(
            look.repo_id == s.repo.c.id,
            look.commit == s.ref.c.commit,
            look.private == s.repo.c.private,
            look.disabled == s.repo.c.disabled,
            look.owner_id == s.repo.c.owner_id,
            look.rules == RULES,
        )
        last = select(look.at_ms).where(look.repo_id == s.repo.c.id).scalar_subquery()
        query = (
            select(s.repo, s.ref.c.commit, func.coalesce(last, 0))
            .join(s.ref, (s.ref.c.repo_id == s.repo.c.id) & (s.ref.c.name == MAIN))
            .where(s.repo.c.type == "model", s.repo.c.id > after_id, ~same)
            .order_by(s.repo.c.id)
            .limit(limit)
        )
        with self.db.read() as conn:
            rows = conn.execute(query).all()
        return [Unlooked(Repo.of(row), GitOid(row[-2]), int(row[-1])) for row in rows]

    def repo(self, repo_id: int) -> tuple[Repo, GitOid] | None:
        """The repo and its `main` as they are now; None when there is none, or nothing in it."""
        query = (
            select(s.repo, s.ref.c.commit)
            .join(s.ref, (s.ref.c.repo_id == s.repo.c.id) & (s.ref.c.name == MAIN))
            .where(s.repo.c.id == repo_id, s.repo.c.type == "model")
        )
        with self.db.read() as conn:
            row = conn.execute(query).one_or_none()
        return None if row is None else (Repo.of(row), GitOid(row[-1]))

    def looked(self, repo: Repo, commit: GitOid) -> None:
        """All of it was looked at, at that commit and as `repo` stood."""
        values = {
            "commit": commit, "private": repo.private, "disabled": repo.disabled,
            "owner_id": repo.owner_id, "rules": RULES, "at_ms": now_ms(),
        }  # fmt: skip
        with self.db.write() as conn:
            if conn.execute(select(s.repo.c.id).where(s.repo.c.id == repo.id)).first() is not None:
                statement = self.db.upsert(sl.lineage_look, ["repo_id"], values)
                conn.execute(statement, {"repo_id": repo.id, **values})

    def is_looked(self, repo: Repo) -> bool:
        """Whether the models that are known are those of this repo as it stands."""
        look = sl.lineage_look.c
        query = (
            select(look.repo_id)
            .join(s.ref, (s.ref.c.repo_id == look.repo_id) & (s.ref.c.name == MAIN))
            .where(look.repo_id == repo.id, look.commit == s.ref.c.commit)
        )
        with self.db.read() as conn:
            return conn.execute(query).first() is not None

    def look_again(self, keys: Iterable[str]) -> int:
        """The repos that hold these models are to be looked at again; how many are."""
        count = 0
        for some in pages(keys):
            held = select(sl.model_unit.c.repo_id).where(sl.model_unit.c.key.in_(some))
            with self.db.write() as conn:
                count += conn.execute(
                    update(sl.lineage_look)
                    .where(sl.lineage_look.c.repo_id.in_(held), sl.lineage_look.c.rules != 0)
                    .values(rules=0)
                ).rowcount
        return count

    def orphans(self, limit: int) -> list[str]:
        """Models with a parent that nobody of its scope holds any more."""
        link, unit, repo = sl.ancestry_link.c, sl.model_unit.c, s.repo.c
        there = (
            exists()
            .where(unit.key == link.parent, unit.repo_id == repo.id, repo.disabled.is_(false()))
            .where(
                or_(
                    link.scope == ALL,
                    repo.private.is_(false()),
                    (link.scope != PUBLIC) & (repo.owner_id == link.scope),
                )
            )
        )
        query = select(link.key).where(~there).distinct().order_by(link.key).limit(limit)
        with self.db.read() as conn:
            return list(conn.execute(query).scalars())

    # Traces

    def scopes(self, key: str) -> list[int]:
        """Among whom the model is to be traced: first what everybody sees."""
        unit, repo = sl.model_unit.c, s.repo.c
        query = (
            select(repo.owner_id, repo.private)
            .join(sl.model_unit, unit.repo_id == repo.id)
            .where(unit.key == key, in_scope(ALL))
            .distinct()
        )
        private = exists().where(
            sl.model_unit.c.repo_id == s.repo.c.id, s.repo.c.private == true(), in_scope(ALL)
        )
        with self.db.read() as conn:
            holders = conn.execute(query).all()
            owners = sorted({row.owner_id for row in holders})
            some = select(repo.owner_id).where(repo.owner_id.in_(owners[:IN_MAX]), private)
            with_private = set(conn.execute(some.distinct()).scalars())
        public = [PUBLIC] if any(not row.private for row in holders) else []
        own = [owner for owner in owners if owner in with_private][:SCOPES_MAX]
        return [*public, *own, *([ALL] if holders else [])]

    def put(self, key: str, scope: int, found: Ancestry | None, failed: str | None = None) -> None:
        """Keep what a trace found; without, and without a failure, as if there had been none."""
        mine = (sl.ancestry.c.key == key) & (sl.ancestry.c.scope == scope)
        links = (sl.ancestry_link.c.key == key) & (sl.ancestry_link.c.scope == scope)
        with self.db.write() as conn:
            conn.execute(delete(sl.ancestry).where(mine))
            conn.execute(delete(sl.ancestry_link).where(links))
            if found is None and failed is None:
                return
            conn.execute(
                sl.ancestry.insert().values(
                    key=key,
                    scope=scope,
                    rules=RULES,
                    failed=failed[:REASON_CHARS_MAX].replace("\0", " ") if failed else None,
                    evidence=msgspec.json.encode(found.evidence if found else ()).decode(),
                    at_ms=now_ms(),
                )
            )
            for link in found.links if found is not None else ():
                conn.execute(
                    sl.ancestry_link.insert().values(
                        key=key,
                        scope=scope,
                        parent=link.parent,
                        kind=link.kind,
                        decided=link.decided,
                        weight=link.weight,
                    )
                )

    def drop_scopes(self, key: str, but: Sequence[int]) -> None:
        """Forget traces among whom the model is no more."""
        with self.db.write() as conn:
            for table in (sl.ancestry, sl.ancestry_link):
                gone = (table.c.key == key) & table.c.scope.not_in(list(but))
                conn.execute(delete(table).where(gone))

    def parents(self, keys: Iterable[str]) -> dict[str, list[Link]]:
        """Links up, by child, of every scope."""
        found: dict[str, list[Link]] = {}
        for link in self._links(keys, sl.ancestry_link.c.key):
            found.setdefault(link.key, []).append(link)
        return found

    def children(self, keys: Iterable[str]) -> dict[str, list[Link]]:
        """Links down, by parent, of every scope."""
        found: dict[str, list[Link]] = {}
        for link in self._links(keys, sl.ancestry_link.c.parent):
            found.setdefault(link.parent, []).append(link)
        return found

    def traced(
        self, keys: Iterable[str]
    ) -> dict[tuple[str, int], tuple[tuple[str, ...], str | None]]:
        """By model and scope: lines on all its links together, and why it could not be traced."""
        row = sl.ancestry.c
        found = {}
        for some in pages(keys):
            with self.db.read() as conn:
                for at in conn.execute(select(sl.ancestry).where(row.key.in_(some))):
                    lines = tuple(msgspec.json.decode(at.evidence, type=list[str]))
                    found[at.key, at.scope] = (lines, at.failed)
        return found

    def _links(self, keys: Iterable[str], column: ColumnElement[str]) -> list[Link]:
        row, found = sl.ancestry_link.c, []
        for some in pages(keys):
            query = (
                select(sl.ancestry_link)
                .where(column.in_(some))
                .order_by(row.key, row.scope, row.weight.desc(), row.parent)
            )
            with self.db.read() as conn:
                found += [Link(*at) for at in conn.execute(query)]
        return found

    # What cards say

    def declared(self, key: str, scope: int) -> list[str]:
        """Models of the repos that its card names as bases: the card of the repo that had it first
        there, for whoever copies a model may write anything on theirs."""
        named = select(s.base_edge.c.base_key).where(s.base_edge.c.repo_id == _first(key, scope))
        old = select(s.redirect.c.repo_id).where(
            s.redirect.c.type == "model", s.redirect.c.key.in_(named)
        )
        return self._models(or_(s.repo.c.key.in_(named), s.repo.c.id.in_(old)), key, scope)

    def declaring(self, key: str, scope: int) -> list[str]:
        """Models that were first in repos whose cards name one of its holders as a base."""
        holders = select(sl.model_unit.c.repo_id).where(sl.model_unit.c.key == key)
        names = select(s.repo.c.key).where(s.repo.c.id.in_(holders))
        old = select(s.redirect.c.key).where(
            s.redirect.c.type == "model", s.redirect.c.repo_id.in_(holders)
        )
        edge = s.base_edge.c
        children = select(edge.repo_id).where(or_(edge.base_key.in_(names), edge.base_key.in_(old)))
        found = self._models(s.repo.c.id.in_(children), key, scope)
        return [one for one in found if key in self.declared(one, scope)]

    def _models(self, repos: ColumnElement[bool], key: str, scope: int) -> list[str]:
        unit = sl.model_unit.c
        query = (
            select(unit.key)
            .join(s.repo, s.repo.c.id == unit.repo_id)
            .where(repos, unit.key != key, in_scope(scope))
            .order_by(unit.size_bytes.desc(), unit.key)
            .limit(DECLARED_MAX)
        )
        with self.db.read() as conn:
            return list(dict.fromkeys(conn.execute(query).scalars()))


def _first(key: str, scope: int) -> ScalarSelect[int]:
    """The repo that had the model first."""
    unit = sl.model_unit.c
    return (
        select(unit.repo_id)
        .join(s.repo, s.repo.c.id == unit.repo_id)
        .where(unit.key == key, in_scope(scope))
        .order_by(unit.came_ms, unit.repo_id)
        .limit(1)
        .scalar_subquery()
    )
