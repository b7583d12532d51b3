"""The family of a repo as somebody may see it: ancestors, descendants, and what links them.

    families.of(actor, repo)        -> Graph        the whole family, at most NODES_MAX repos
    families.models(actor, repo)    -> [(Held, (Near, …))]   its models, and whom each is near to
    families.traced(actor, repo, units) -> {key: reason}   those that were looked at
    families.strangers(actor, repo) -> names         declared parents its weights do not know

Every repo in it is one that the actor may see, decided now. An edge that was found among private
models of an owner is told to whoever sees all of these; anybody else hears what was found among the
public ones. A parent that a card names and that is not here, or not for the actor, is a mere name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import func, select

from headwater.catalog import rights
from headwater.catalog import schema as s
from headwater.catalog import schema_lineage as sl
from headwater.catalog.actors import Actor
from headwater.catalog.ancestry import Ancestries
from headwater.catalog.card_tags import texts
from headwater.catalog.db import IN_MAX, Db, pages
from headwater.catalog.family_facts import Facts, Holder, sees_all_of
from headwater.catalog.models import Repo
from headwater.catalog.sketches import PUBLIC, Held, Sketches
from headwater.family.graph import Edge, Graph, Node, NodeFile
from headwater.lineage.relation import Relation

NODES_MAX = 2_000  # of one family; a larger one is shown in part
EDGES_MAX = 8_000  # those to mere names on cards are among them
MODELS_MAX = 4_000  # of the repos of one level, the largest of each: a shelf has a hundred
LEVELS_MAX = 64  # up and down from the repo; a longer chain of cards is somebody's joke
HOLDERS_MAX = 20  # repos that hold copies of one model, the first to have it
KIN_MAX = 500  # models that one was compared with
NEAR_MAX = 50  # that are told of one model


@dataclass(frozen=True, slots=True)
class Near:
    """A model that was compared with one of the repo's."""

    repo: str
    path: str
    relation: Relation  # `one` is this model, `other` the repo's own


class Families:
    def __init__(self, db: Db, sketches: Sketches, ancestry: Ancestries) -> None:
        self.db = db
        self.sketches = sketches
        self.ancestry = ancestry

    def of(self, actor: Actor, repo: Repo) -> Graph:
        """The family around a repo that the actor may see."""
        repos: dict[int, Repo] = {}
        edges: dict[tuple[str, str], Edge] = {}
        level = [repo]
        for _ in range(LEVELS_MAX):
            level = [one for one in level if one.id not in repos][: NODES_MAX - len(repos)]
            if not level or len(edges) >= EDGES_MAX:
                break
            repos.update({one.id: one for one in level})
            units = self.sketches.units([one.id for one in level], MODELS_MAX // len(level) or 1)
            found, above = self._up(actor, level, units)
            edges.update(found)
            level = list(
                {one.id: one for one in (*above, *self._down(actor, level, units))}.values()
            )
        names = {one.full for one in repos.values()}
        # A repo that was left out for want of room leaves no edge that ends nowhere.
        here = {key: edge for key, edge in edges.items() if edge.child in names}
        graph = Graph({}, tuple(here[key] for key in sorted(here)))
        ends = [repo.full, *graph.roots(repo.full)]
        kin = {*graph.above(repo.full), *graph.all_below(ends)}
        kin |= {edge.parent for edge in graph.edges if edge.child in kin}
        nodes = self._nodes(actor, [one for one in repos.values() if one.full in kin])
        for edge in here.values():
            if edge.child in kin and edge.parent not in nodes:
                nodes[edge.parent] = Node(edge.parent, here=False)
        inside = tuple(e for e in graph.edges if e.child in nodes and e.parent in nodes)
        return Graph(dict(sorted(nodes.items())), inside)

    def models(self, actor: Actor, repo: Repo) -> list[tuple[Held, tuple[Near, ...]]]:
        """The models of the repo, each with those it was compared with, the nearest first."""
        held = self.sketches.units([repo.id]).get(repo.id, [])
        kin = {unit.key: self._kin_of(unit.key) for unit in held}
        holders = self._holders(actor, {key for some in kin.values() for key in some})
        found = []
        for unit in held:
            near = [
                Near(holders[key][0].repo.full, holders[key][0].path, relation)
                for key, relation in kin[unit.key].items()
                if key in holders and relation.kind != "none"
            ]
            near.sort(key=lambda one: (not one.relation.related, one.relation.change, one.repo))
            found.append((unit, tuple(near[:NEAR_MAX])))
        return found

    def traced(self, actor: Actor, repo: Repo, units: Sequence[Held]) -> dict[str, str | None]:
        """Models of the repo that were traced, and why some could not be, as far as the actor is
        told. Empty until the repo itself was looked at: that the same bytes were looked at before
        would tell of somebody else who has them."""
        if not self.ancestry.is_looked(repo):
            return {}
        keys = [unit.key for unit in units]
        scopes = {PUBLIC, repo.owner_id} if sees_all_of(actor, repo.owner_id) else {PUBLIC}
        found: dict[str, str | None] = dict.fromkeys(keys)
        for (key, scope), (_, failed) in self.ancestry.traced(keys).items():
            if scope in scopes and failed is not None:
                found[key] = failed
        return found

    def strangers(self, actor: Actor, repo: Repo) -> list[str]:
        """Parents that the card names, of which the weights show nothing though both are here."""
        mine = [unit.key for unit in self.sketches.units([repo.id]).get(repo.id, [])]
        if not mine:
            return []
        names = []
        for name, parent in self._declared(actor, [repo]).get(repo.id, {}).items():
            if parent[1] is None:
                continue
            theirs = {
                unit.key for unit in self.sketches.units([parent[1].id]).get(parent[1].id, [])
            }
            said = {found.kind for found in self.sketches.kin_among(theirs, mine).values()}
            if said and said <= {"none", "distant"} and not theirs & set(mine):
                names.append(name)
        return names

    # Edges

    def _up(
        self, actor: Actor, repos: Sequence[Repo], units: Mapping[int, Sequence[Held]]
    ) -> tuple[dict[tuple[str, str], Edge], list[Repo]]:
        """Edges to the parents of these repos, and the parents that are here."""
        keys = {unit.key for some in units.values() for unit in some}
        links = self.ancestry.parents(keys)
        parents = {link.parent for some in links.values() for link in some}
        holders = self._holders(actor, keys | parents)
        facts = Facts(
            actor, links, holders, self.sketches.kin_among(parents, keys),
            {key: lines for key, (lines, _) in self.ancestry.traced(keys).items()},
        )  # fmt: skip
        declared = self._declared(actor, repos)
        found: dict[tuple[str, str], Edge] = {}
        above: list[Repo] = []
        for repo in repos:
            edges: dict[str, Edge] = {}
            for unit in units.get(repo.id, ()):
                for parent, inferred in facts.of(repo, unit):
                    if parent.id != repo.id and parent.full not in edges:
                        edges[parent.full] = Edge(repo.full, parent.full, None, inferred)
                        above.append(parent)
            for name, (relation, here) in declared.get(repo.id, {}).items():
                known = edges.get(name)
                edges[name] = Edge(
                    repo.full, name, relation, known.inferred if known is not None else None
                )
                if here is not None:
                    above.append(here)
            found.update({(repo.full, parent): edge for parent, edge in edges.items()})
        return found, above

    def _down(
        self, actor: Actor, repos: Sequence[Repo], units: Mapping[int, Sequence[Held]]
    ) -> list[Repo]:
        """Repos that may be children of these: `_up` of them says whether they are."""
        keys = {unit.key for some in units.values() for unit in some}
        below = {link.key for some in self.ancestry.children(keys).values() for link in some}
        holders = self._holders(actor, keys | below)
        found = [holder.repo for some in holders.values() for holder in some]
        ids = [repo.id for repo in repos]
        old = select(s.redirect.c.key).where(
            s.redirect.c.type == "model", s.redirect.c.repo_id.in_(ids[:IN_MAX])
        )
        with self.db.read() as conn:
            names = [*(repo.key for repo in repos), *conn.execute(old).scalars()]
            for some in pages(names):
                query = (
                    select(s.repo)
                    .join(s.base_edge, s.base_edge.c.repo_id == s.repo.c.id)
                    .where(s.base_edge.c.base_key.in_(some))
                    .where(s.repo.c.type == "model", rights.visible(actor))
                    .order_by(s.repo.c.id)
                    .limit(NODES_MAX)
                )
                found += [Repo.of(row) for row in conn.execute(query)]
        return found

    def _declared(
        self, actor: Actor, repos: Sequence[Repo]
    ) -> dict[int, dict[str, tuple[str, Repo | None]]]:
        """By repo and parent's name (its present one, where it is here): the card's word for it."""
        found: dict[int, dict[str, tuple[str, Repo | None]]] = {}
        edge = s.base_edge.c
        with self.db.read() as conn:
            for some in pages(repo.id for repo in repos):
                rows = conn.execute(
                    select(s.base_edge)
                    .where(edge.repo_id.in_(some))
                    .order_by(edge.repo_id, edge.base_key)
                ).all()
                here = _visible_by_name(conn, actor, {row.base_key for row in rows})
                for row in rows:
                    parent = here.get(row.base_key)
                    if parent is None or parent.id != row.repo_id:
                        name = parent.full if parent is not None else row.base
                        found.setdefault(row.repo_id, {})[name] = (row.relation, parent)
        return found

    def _holders(self, actor: Actor, keys: Iterable[str]) -> dict[str, list[Holder]]:
        """Repos that hold these models and that the actor may see, the first to have it first."""
        unit = sl.model_unit.c
        found: dict[str, list[Holder]] = {}
        rows: list[Any] = []
        for some in pages(keys):
            order = (unit.came_ms, s.repo.c.id, unit.path)
            place = func.row_number().over(partition_by=unit.key, order_by=order).label("place")
            placed = (
                select(unit.repo_id, unit.key, unit.path, place)
                .join(s.repo, unit.repo_id == s.repo.c.id)
                .where(unit.key.in_(some))
                .where(s.repo.c.type == "model", rights.visible(actor))
                .subquery()
            )
            query = select(placed).where(placed.c.place <= HOLDERS_MAX).order_by(placed.c.place)
            with self.db.read() as conn:
                rows += conn.execute(query).all()
        repos = self._repos(actor, {row.repo_id for row in rows})
        for row in rows:
            if row.repo_id in repos:
                found.setdefault(row.key, []).append(Holder(repos[row.repo_id], row.path))
        return found

    def _repos(self, actor: Actor, ids: Iterable[int]) -> dict[int, Repo]:
        """Those of them that the actor may see."""
        found = {}
        for some in pages(ids):
            query = select(s.repo).where(s.repo.c.id.in_(some), rights.visible(actor))
            with self.db.read() as conn:
                found.update({repo.id: repo for repo in map(Repo.of, conn.execute(query))})
        return found

    def _kin_of(self, key: str) -> dict[str, Relation]:
        with self.db.read() as conn:
            query = select(sl.kinship.c.one).where(sl.kinship.c.other == key).limit(KIN_MAX)
            ones = list(conn.execute(query).scalars())
        return self.sketches.kin(ones, key)

    def _nodes(self, actor: Actor, repos: Sequence[Repo]) -> dict[str, Node]:
        units = self.sketches.units([repo.id for repo in repos])
        looks = self._commits([repo.id for repo in repos])
        nodes = {}
        for repo in repos:
            card: dict[str, Any] = msgspec.json.decode(repo.card)
            license, name = (next(iter(texts(card.get(key))), None)
                             for key in ("license", "license_name"))  # fmt: skip
            shown: tuple[NodeFile, ...] = ()
            if rights.allowed(actor, repo, "bytes"):  # else hashes would tell of them
                shown = tuple(
                    NodeFile(file.path, file.oid, file.size_bytes)
                    for unit in units.get(repo.id, ())
                    for file in unit.files
                )
            nodes[repo.full] = Node(
                repo.full, True, license.lower() if license else None, name, repo.parameters,
                repo.pipeline_tag, repo.library_name, looks.get(repo.id), repo.created_ms, shown,
            )  # fmt: skip
        return nodes

    def _commits(self, ids: Sequence[int]) -> dict[int, str]:
        row, found = sl.lineage_look.c, {}
        for some in pages(ids):
            query = select(row.repo_id, row.commit).where(row.repo_id.in_(some))
            with self.db.read() as conn:
                found.update({at.repo_id: at.commit for at in conn.execute(query)})
        return found


def _visible_by_name(conn: Any, actor: Actor, keys: set[str]) -> dict[str, Repo]:
    """Models of these names, present or old, that the actor may see."""
    found: dict[str, Repo] = {}
    for names in pages(keys):
        seen = (s.repo.c.type == "model") & rights.visible(actor)
        old = (
            select(s.repo, s.redirect.c.key)
            .join(s.redirect, s.redirect.c.repo_id == s.repo.c.id)
            .where(s.redirect.c.type == "model", s.redirect.c.key.in_(names), seen)
        )
        found.update({row[-1]: Repo.of(row) for row in conn.execute(old)})
        now = select(s.repo).where(s.repo.c.key.in_(names), seen)
        found.update({repo.key: repo for repo in map(Repo.of, conn.execute(now))})
    return found
