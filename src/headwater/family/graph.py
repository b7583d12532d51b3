"""A family as it is shown: repositories of models, and what links each to those it came from.

    Graph(nodes, edges)
    graph.parents(name), graph.children(name)     edges
    graph.above(name), graph.below(name)          names, the nearest first; a ring is walked once
    graph.all_below(names)                        names, and all below any of them
    graph.roots(name)                             the ends of all ways up; itself when it has none
    graph.depth(name)                             edges on the longest way up to a root
    graph.shares(name)                            how much of it each root gave, summing to 1
    graph.unwound(*names)                         the same without rings, children first

An edge is declared by a card, inferred from weights, or both. It is pure data: whoever makes a
graph has left out what its reader may not see. Cards may name each other in rings, or in chains of
any length: every question takes time in proportion to the edges.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True, slots=True)
class NodeFile:
    """A file of weights."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Node:
    """A repository, or a name on a card of one that is not here (`here` false)."""

    name: str  # namespace/repo
    here: bool = True
    license: str | None = None  # its identifier as the card spells it, lower case
    license_name: str | None = None  # of license "other"
    parameters: int | None = None
    pipeline: str | None = None  # the task, such as text-generation
    library: str | None = None
    revision: str | None = None  # the commit that was looked at, 40 hex digits
    created_ms: int | None = None  # since 1970
    files: tuple[NodeFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Inferred:
    """What the weights of a child say of one parent."""

    kind: str  # tuned, lora, merged, quantized, pruned, …
    decided: bool  # the weights say who came first; else time or a card does
    weight: float  # of the parent in a merge; else 1
    log10_p: float  # of the test that shows the common origin, under strangers
    change: float  # length of the difference in lengths of the parent; NaN when it has none
    unchanged: float  # part of the numbers that are equal
    evidence: tuple[str, ...]
    child_path: str = ""  # of the file, or the first of the shards, that was compared
    parent_path: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """At least one of `declared` (the card's word: finetune, adapter, quantized, merge) and
    `inferred`."""

    child: str
    parent: str
    declared: str | None = None
    inferred: Inferred | None = None

    @property
    def kind(self) -> str:
        """One word for it: what the weights say, else what the card does."""
        return self.inferred.kind if self.inferred is not None else self.declared or "derived"


@dataclass(frozen=True)
class Graph:
    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...] = field(default=())

    @cached_property
    def _up(self) -> dict[str, list[Edge]]:
        found: dict[str, list[Edge]] = {}
        for edge in self.edges:
            found.setdefault(edge.child, []).append(edge)
        return found

    @cached_property
    def _down(self) -> dict[str, list[Edge]]:
        found: dict[str, list[Edge]] = {}
        for edge in self.edges:
            found.setdefault(edge.parent, []).append(edge)
        return found

    def parents(self, name: str) -> tuple[Edge, ...]:
        return tuple(self._up.get(name, ()))

    def children(self, name: str) -> tuple[Edge, ...]:
        return tuple(self._down.get(name, ()))

    def above(self, name: str) -> list[str]:
        """All it came from, the nearest first."""
        return self._walk([name], up=True)[1:]

    def below(self, name: str) -> list[str]:
        """All that came from it, the nearest first."""
        return self._walk([name], up=False)[1:]

    def all_below(self, names: Iterable[str]) -> list[str]:
        """These, and all that came from any of them."""
        return self._walk(names, up=False)

    def roots(self, name: str) -> list[str]:
        """Itself when it has none. Of a ring, the member from which no way leads on."""
        ends = {at for at, ways in self.unwound(name) if not ways}
        return [one for one in (name, *self.above(name)) if one in ends]

    def depth(self, name: str) -> int:
        """A ring is left where it would come back to itself."""
        depths: dict[str, int] = {}
        for at, ways in reversed(self.unwound(name)):
            depths[at] = max((1 + depths[edge.parent] for edge in ways), default=0)
        return depths[name]

    def shares(self, name: str) -> dict[str, float]:
        """By root, the largest first. A child has all of its one parent; of several as much as
        their weights in the merge are of all, or the same of each where none are known."""
        lines = self.unwound(name)
        given = {at: 0.0 for at, _ in lines} | {name: 1.0}
        for at, ways in lines:
            for edge, part in zip(ways, _parts(ways), strict=True):
                given[edge.parent] += given[at] * part
        found = {at: given[at] for at, ways in lines if not ways}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def unwound(self, *names: str) -> list[tuple[str, list[Edge]]]:
        """`names` and all above them, whoever is a child before its parents, each with those of
        its edges up that close no ring."""
        kept: dict[str, list[Edge]] = {}
        ended: list[str] = []
        for name in names:
            if name not in kept:
                self._unwind(name, kept, ended)
        return [(at, kept[at]) for at in reversed(ended)]

    def _walk(self, names: Iterable[str], *, up: bool) -> list[str]:
        """These, then whoever is linked with them that way, the nearest first."""
        met = dict.fromkeys(names)
        todo = list(met)
        for at in todo:  # grows as it is read
            for edge in self.parents(at) if up else self.children(at):
                next_ = edge.parent if up else edge.child
                if next_ not in met:
                    met[next_] = None
                    todo.append(next_)
        return todo

    def _unwind(self, name: str, kept: dict[str, list[Edge]], ended: list[str]) -> None:
        """Depth first, on a stack of its own: a chain of cards may be as long as it likes."""
        kept[name], inside = [], {name}
        way = [(name, iter(self.parents(name)))]
        while way:
            at, rest = way[-1]
            for edge in rest:
                if edge.parent in inside:
                    continue
                kept[at].append(edge)
                if edge.parent not in kept:
                    kept[edge.parent] = []
                    inside.add(edge.parent)
                    way.append((edge.parent, iter(self.parents(edge.parent))))
                    break
            else:
                way.pop()
                inside.remove(at)
                ended.append(at)


def _parts(ways: list[Edge]) -> list[float]:
    """Of each parent, summing to 1."""
    weights = [abs(edge.inferred.weight) if edge.inferred else 0.0 for edge in ways]
    total = sum(weights)
    if not 0 < total < math.inf:  # nothing is known, or a weight is no number
        return [1 / len(ways) for _ in ways]
    return [weight / total for weight in weights]
