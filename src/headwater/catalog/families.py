"""The family of a repo as somebody may see it: ancestors, descendants, and what links them.

    families.of(actor, repo)        -> Graph        the whole family, at most NODES_MAX repos
    families.models(actor, repo)    -> [(Held, (Near, …))]   its models, and whom each is near to
    families.strangers(actor, repo) -> names         declared parents its weights do not know

Every repo in it is one that the actor may see, decided now. An edge that was found among private
models is told only to whoever sees all of its parents; anybody else hears what was found among the
public ones. A parent that a card names and that is not here, or not for the actor, is a mere name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import select

from headwater.catalog import rights
from headwater.catalog import schema as s
from headwater.catalog import schema_lineage as sl
from headwater.catalog.actors import Actor
from headwater.catalog.ancestry import Ancestries, Link
from headwater.catalog.card_tags import texts
from headwater.catalog.db import IN_MAX, Db
from headwater.catalog.models import REPO_COLUMNS, Repo
from headwater.catalog.sketches import PUBLIC, Held, Sketches
from headwater.family.graph import Edge, Graph, Inferred, Node, NodeFile
from headwater.lineage.relation import Relation

NODES_MAX = 2_000  # of one family; a larger one is shown in part
HOLDERS_MAX = 2_000  # repos that hold copies of some models, the first to have them
NEAR_MAX = 50  # that are told of one model


@dataclass(frozen=True, slots=True)
class Holder:
    repo: Repo
    path: str
    came_ms: int


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
        while level and len(repos) < NODES_MAX:
            level = [one for one in level if one.id not in repos][: NODES_MAX - len(repos)]
            repos.update({one.id: one for one in level})
            units = self.sketches.units([one.id for one in level])
            found, above = self._up(actor, level, units)
            edges.update(found)
            level = list(
                {one.id: one for one in (*above, *self._down(actor, level, units))}.values()
            )
        names = {one.full for one in repos.values()}
        # A repo that was left out for want of room leaves no edge that ends nowhere.
        here = {key: edge for key, edge in edges.items() if edge.child in names}
        graph = Graph({}, tuple(here[key] for key in sorted(here)))
        kin = {repo.full, *graph.above(repo.full), *graph.below(repo.full)}
        for root in graph.roots(repo.full):
            kin |= {root, *graph.below(root)}
        nodes = self._nodes(actor, [one for one in repos.values() if one.full in kin])
        for edge in here.values():
            if edge.child in kin and edge.parent not in nodes:
                nodes[edge.parent] = Node(edge.parent, here=False)
        inside = tuple(e for e in graph.edges if e.child in nodes and e.parent in nodes)
        return Graph(dict(sorted(nodes.items())), inside)

    def models(self, actor: Actor, repo: Repo) -> list[tuple[Held, tuple[Near, ...]]]:
        """The models of the repo, each with those it was compared with, the nearest first."""
        held = self.sketches.units([repo.id]).get(repo.id, [])
        found = []
        for unit in held:
            kin = self._kin_of(unit.key)
            holders = self._holders(actor, kin)
            near = [
                Near(holders[key][0].repo.full, holders[key][0].path, relation)
                for key, relation in kin.items()
                if key in holders and relation.kind != "none"
            ]
            near.sort(key=lambda one: (not one.relation.related, one.relation.change, one.repo))
            found.append((unit, tuple(near[:NEAR_MAX])))
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
            said = [
                relation.kind
                for key in mine
                for relation in self.sketches.kin(theirs, key).values()
            ]  # fmt: skip
            if said and set(said) <= {"none", "distant"} and not theirs & set(mine):
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
        traced = self.ancestry.traced(keys)
        declared = self._declared(actor, repos)
        found: dict[tuple[str, str], Edge] = {}
        above: list[Repo] = []
        for repo in repos:
            edges: dict[str, Edge] = {}
            for unit in units.get(repo.id, ()):
                for parent, inferred in self._of_unit(repo, unit, links, holders, traced):
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

    def _of_unit(
        self,
        repo: Repo,
        unit: Held,
        links: Mapping[str, Sequence[Link]],
        holders: Mapping[str, Sequence[Holder]],
        traced: Mapping[tuple[str, int], tuple[tuple[str, ...], str | None]],
    ) -> list[tuple[Repo, Inferred]]:
        first = holders.get(unit.key, ())[:1]
        if first and first[0].repo.id != repo.id:  # the very same files were there before
            shown = ("the same files, byte for byte",)
            inferred = Inferred("copy", False, 1.0, 0.0, 0.0, 1.0, shown, unit.path, first[0].path)
            return [(first[0].repo, inferred)]
        chosen, scope = _shown(repo, links.get(unit.key, ()), holders)
        kin = self.sketches.kin([link.parent for link in chosen], unit.key) if chosen else {}
        lines = traced.get((unit.key, scope), ((), None))[0]
        named = {link.parent: _holder(repo, holders[link.parent]) for link in chosen}
        for key, holder in named.items():
            lines = tuple(line.replace(key, holder.repo.full) for line in lines)
        made = []
        for link in chosen:
            holder, relation = named[link.parent], kin.get(link.parent)
            if relation is None:
                continue
            made.append((holder.repo, Inferred(
                link.kind, link.decided, link.weight, relation.log10_p, relation.change,
                relation.unchanged, (*lines, *relation.evidence), unit.path, holder.path,
            )))  # fmt: skip
        return made

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
            for at in range(0, len(names), IN_MAX):
                query = (
                    select(s.repo)
                    .join(s.base_edge, s.base_edge.c.repo_id == s.repo.c.id)
                    .where(s.base_edge.c.base_key.in_(names[at : at + IN_MAX]))
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
        ids = [repo.id for repo in repos]
        edge = s.base_edge.c
        with self.db.read() as conn:
            for at in range(0, len(ids), IN_MAX):
                rows = conn.execute(
                    select(s.base_edge)
                    .where(edge.repo_id.in_(ids[at : at + IN_MAX]))
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
        some = sorted(set(keys))
        for at in range(0, len(some), IN_MAX):
            query = (
                select(s.repo, unit.key, unit.path, unit.came_ms)
                .join(sl.model_unit, unit.repo_id == s.repo.c.id)
                .where(unit.key.in_(some[at : at + IN_MAX]))
                .where(s.repo.c.type == "model", rights.visible(actor))
                .order_by(unit.came_ms, s.repo.c.id, unit.path)
                .limit(HOLDERS_MAX)
            )
            with self.db.read() as conn:
                for row in conn.execute(query):
                    key, path, came_ms = row[REPO_COLUMNS:]
                    found.setdefault(key, []).append(Holder(Repo.of(row), path, came_ms))
        return found

    def _kin_of(self, key: str) -> dict[str, Relation]:
        with self.db.read() as conn:
            query = select(sl.kinship.c.one).where(sl.kinship.c.other == key).limit(HOLDERS_MAX)
            ones = list(conn.execute(query).scalars())
        return self.sketches.kin(ones, key)

    def _nodes(self, actor: Actor, repos: Sequence[Repo]) -> dict[str, Node]:
        units = self.sketches.units([repo.id for repo in repos])
        files = self.sketches.files(unit.key for some in units.values() for unit in some)
        looks = self._commits([repo.id for repo in repos])
        nodes = {}
        for repo in repos:
            card: dict[str, Any] = msgspec.json.decode(repo.card)
            license, name = (next(iter(texts(card.get(key))), None)
                             for key in ("license", "license_name"))  # fmt: skip
            shown: tuple[NodeFile, ...] = ()
            if rights.allowed(actor, repo, "bytes"):  # else hashes would tell of them
                shown = tuple(
                    NodeFile(_beside(unit.path, file.name), file.oid, file.size_bytes)
                    for unit in units.get(repo.id, ())
                    for file in files.get(unit.key, ())
                )
            nodes[repo.full] = Node(
                repo.full, True, license.lower() if license else None, name, repo.parameters,
                repo.pipeline_tag, repo.library_name, looks.get(repo.id), repo.created_ms, shown,
            )  # fmt: skip
        return nodes

    def _commits(self, ids: Sequence[int]) -> dict[int, str]:
        row, found = sl.lineage_look.c, {}
        for at in range(0, len(ids), IN_MAX):
            query = select(row.repo_id, row.commit).where(row.repo_id.in_(ids[at : at + IN_MAX]))
            with self.db.read() as conn:
                found.update({at_row.repo_id: at_row.commit for at_row in conn.execute(query)})
        return found


def _shown(
    repo: Repo, links: Sequence[Link], holders: Mapping[str, Sequence[Holder]]
) -> tuple[list[Link], int]:
    """The links of the widest scope all of whose parents are to be seen; else those of the public
    one that are."""
    own = [link for link in links if link.scope == repo.owner_id]
    if own and all(link.parent in holders for link in own):
        return own, repo.owner_id
    return [link for link in links if link.scope == PUBLIC and link.parent in holders], PUBLIC


def _holder(repo: Repo, holders: Sequence[Holder]) -> Holder:
    """Of several that hold a parent: the repo itself, else the first that had it."""
    return next((one for one in holders if one.repo.id == repo.id), holders[0])


def _beside(path: str, name: str) -> str:
    folder = path.rpartition("/")[0]
    return f"{folder}/{name}" if folder else name


def _visible_by_name(conn: Any, actor: Actor, keys: set[str]) -> dict[str, Repo]:
    """Models of these names, present or old, that the actor may see."""
    found: dict[str, Repo] = {}
    some = sorted(keys)
    for at in range(0, len(some), IN_MAX):
        names = some[at : at + IN_MAX]
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
