"""Where the members of a family stand in a drawing.

    places(graph) -> Places    row and column of each; parents are in rows above their children

A layer is the longest way from a root; within it those come next to each other that have their
relatives in common, by the mean of their places (Sugiyama, Tagawa and Toda 1981). A layer that
is too wide goes on in the next row. Edges that close a ring count for nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from headwater.family.graph import Edge, Graph

ROW_MAX = 6  # nodes: a screen's width
SWEEPS = 4  # down and up again; more change little


@dataclass(frozen=True, slots=True)
class Places:
    row: dict[str, int]
    column: dict[str, float]
    rows: int
    columns: int
    back: frozenset[Edge]  # those that close a ring: the child is above its parent, or is it


def places(graph: Graph) -> Places:
    """Deterministic: the same graph is always drawn the same."""
    lines = graph.unwound(*graph.nodes)
    kept = {edge for _, ways in lines for edge in ways}
    layer: dict[str, int] = {}
    for name, ways in reversed(lines):
        layer[name] = max((1 + layer[edge.parent] for edge in ways), default=0)
    layers: list[list[str]] = [[] for _ in range(max(layer.values()) + 1)]
    for name in graph.nodes:
        layers[layer[name]].append(name)
    _uncross(layers, kept)
    rows = [part for names in layers for part in _wrapped(names)]
    row = {name: at for at, names in enumerate(rows) for name in names}
    columns = max(len(names) for names in rows)
    # Where an edge passes a row, the gaps of all rows must be above each other.
    straight = all(row[edge.child] - row[edge.parent] == 1 for edge in kept)
    column = {
        name: at + ((columns - len(names)) / 2 if straight else (columns - len(names)) // 2)
        for names in rows
        for at, name in enumerate(names)
    }
    return Places(row, column, len(rows), columns, frozenset(graph.edges) - kept)


def _uncross(layers: list[list[str]], edges: set[Edge]) -> None:
    """Sort each layer by where its parents are, then by where its children are, and again."""
    up: dict[str, list[str]] = {name: [] for names in layers for name in names}
    down: dict[str, list[str]] = {name: [] for name in up}
    for edge in edges:
        up[edge.child].append(edge.parent)
        down[edge.parent].append(edge.child)
    at: dict[str, float] = {}
    for names in layers:
        _settle(names, at)
    for _ in range(SWEEPS):
        for near, order in ((up, layers), (down, layers[::-1])):
            for names in order:
                mean = {
                    name: sum(at[other] for other in near[name]) / len(near[name])
                    if near[name]
                    else at[name]
                    for name in names
                }
                names.sort(key=mean.__getitem__)
                _settle(names, at)


def _settle(names: list[str], at: dict[str, float]) -> None:
    at.update((name, place - (len(names) - 1) / 2) for place, name in enumerate(names))


def _wrapped(names: list[str]) -> list[list[str]]:
    """In rows of nearly the same length."""
    rows = -(-len(names) // ROW_MAX)
    ends = [len(names) * row // rows for row in range(rows + 1)]
    return [names[start:end] for start, end in pairwise(ends)]
