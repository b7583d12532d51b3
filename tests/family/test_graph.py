"""Families as graphs: depth, roots and shares, in rings, in chains without end, in diamonds."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effort import examples
from headwater.family.graph import Edge, Graph, Inferred

SECONDS_MAX = 1.0  # for a graph that is meant to take for ever


def edge(child: str, parent: str, weight: float | None = None) -> Edge:
    if weight is None:
        return Edge(child, parent, "finetune")
    return Edge(child, parent, None, Inferred("merged", True, weight, -20, 0.1, 0.0, ()))


def graph(*edges: Edge) -> Graph:
    return Graph({}, edges)


def test_the_nearest_come_first() -> None:
    found = graph(edge("c", "b"), edge("b", "a"), edge("d", "c"), edge("c", "x"))
    assert found.above("d") == ["c", "b", "x", "a"]
    assert found.below("a") == ["b", "c", "d"]
    assert found.roots("d") == ["x", "a"]
    assert found.roots("a") == ["a"]
    assert found.depth("d") == 3
    assert found.depth("nobody") == 0
    assert found.shares("nobody") == {"nobody": 1.0}


def test_a_merge_divides_by_its_weights() -> None:
    found = graph(edge("m", "a", 0.6), edge("m", "b", -0.2), edge("m", "c"), edge("b", "a"))
    assert found.shares("m") == pytest.approx({"a": 1.0, "c": 0.0})
    halves = graph(edge("m", "a"), edge("m", "b"), edge("n", "m", 0.3))
    assert halves.shares("n") == {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize("weight", [math.nan, math.inf, 1e308, 0.0])
def test_weights_that_are_no_weights_count_alike(weight: float) -> None:
    found = graph(edge("m", "a", weight), edge("m", "b", weight))
    assert found.shares("m") == {"a": 0.5, "b": 0.5}


def test_a_ring_is_left_where_it_would_come_back() -> None:
    ring = graph(edge("x", "a"), edge("a", "b"), edge("b", "c"), edge("c", "a"))
    assert ring.above("x") == ["a", "b", "c"]
    assert ring.roots("x") == ["c"]
    assert ring.depth("x") == 3
    assert ring.shares("x") == {"c": 1.0}
    himself = graph(edge("x", "a"), edge("a", "a"))
    assert himself.roots("x") == himself.roots("a") == ["a"]
    assert himself.shares("a") == {"a": 1.0}


def test_a_long_chain_is_no_recursion() -> None:
    length = 10_000
    chain = graph(*(edge(f"{at + 1}", f"{at}") for at in range(length)))
    assert chain.depth(f"{length}") == length
    assert chain.roots(f"{length}") == ["0"]
    assert chain.shares(f"{length}") == {"0": 1.0}


def test_ways_are_not_counted_one_by_one() -> None:
    """Ladders of 600 diamonds have 2^600 ways up; a graph of all to all has more."""
    ladder = graph(
        *(
            edge(*ends)
            for at in range(600)
            for side in (f"l{at}", f"r{at}")
            for ends in ((side, f"{at}"), (f"{at + 1}", side))
        )
    )
    crowd = graph(*(edge(f"{a}", f"{b}") for a in range(200) for b in range(200)))
    began = time.process_time()
    assert ladder.depth("600") == 1200
    assert ladder.shares("600") == pytest.approx({"0": 1.0})
    assert crowd.depth("0") == 199
    assert sum(crowd.shares("0").values()) == pytest.approx(1)
    assert time.process_time() - began < SECONDS_MAX


NAMES = st.sampled_from("abcdefgh")
EDGES = st.lists(st.builds(edge, NAMES, NAMES, st.none() | st.floats(-1, 1)), max_size=24)


@settings(max_examples=examples(200))
@given(edges=EDGES, name=NAMES)
def test_whatever_the_graph_its_roots_share_all_of_it(edges: list[Edge], name: str) -> None:
    found = graph(*edges)
    shares = found.shares(name)
    assert set(shares) == set(found.roots(name))
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= 0
    assert found.depth(name) <= len(found.above(name))


@settings(max_examples=examples(200))
@given(edges=EDGES, name=NAMES)
def test_without_rings_children_come_before_parents(edges: list[Edge], name: str) -> None:
    found = graph(*edges)
    lines = found.unwound(name)
    at = {one: place for place, (one, _) in enumerate(lines)}
    assert set(at) == {name, *found.above(name)}
    assert all(at[way.child] < at[way.parent] for _, ways in lines for way in ways)


@settings(max_examples=examples(200))
@given(pairs=st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=16))
def test_where_there_is_no_ring_depth_is_the_longest_way(pairs: set[tuple[int, int]]) -> None:
    down = {(max(pair), min(pair)) for pair in pairs if pair[0] != pair[1]}
    found = graph(*(edge(str(child), str(parent)) for child, parent in down))

    def longest(name: int) -> int:
        return max((1 + longest(parent) for child, parent in down if child == name), default=0)

    assert found.depth("7") == longest(7)
    assert set(found.roots("7")) == {
        one for one in ("7", *found.above("7")) if not found.parents(one)
    }
