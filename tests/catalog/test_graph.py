"""Where two histories parted: what `git merge-base` says, for any graph of commits."""

import pytest
from catalog_kit import person, repo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from real_git import bare_repository

from effort import examples
from headwater.catalog import graph
from headwater.catalog.catalog import Catalog
from headwater.catalog.git import NewObject, new_commit, new_tree
from headwater.catalog.models import Repo
from headwater.errors import Unprocessable
from headwater.names import GitOid

# For each commit how far back its parents are, and how its clock goes wrong, in seconds.
GRAPHS = st.lists(
    st.tuples(st.lists(st.integers(1, 6), max_size=3), st.sampled_from([0, 0, 0, -3, 3])),
    min_size=2,
    max_size=14,
)


@pytest.fixture
def home(catalog: Catalog) -> Repo:
    return repo(catalog, person(catalog, "alice"), "alice/m")


def drawn(shape: list[tuple[list[int], int]]) -> list[NewObject]:
    tree = new_tree([])
    made: list[NewObject] = []
    for at, (backs, wrong_s) in enumerate(shape):
        parents = dict.fromkeys(made[at - back].oid for back in backs if back <= at)
        made.append(new_commit(tree.oid, parents, f"c{at}", "alice", 1000 + at + wrong_s))
    return [tree, *made]


@given(shape=GRAPHS, data=st.data())
@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_the_base_is_one_of_gits(
    catalog: Catalog, home: Repo, shape: list[tuple[list[int], int]], data: st.DataObject
) -> None:
    objects = drawn(shape)
    commits = [new.oid for new in objects[1:]]
    with catalog.db.write() as conn:
        catalog.git.put(conn, home.id, objects)
    pairs = [data.draw(st.tuples(*[st.sampled_from(commits)] * 2)) for _ in range(3)]
    with bare_repository() as git, catalog.db.read() as conn:
        git.take(catalog, home)
        for a, b in pairs:
            said, _ = git.run("merge-base", "--all", a, b)
            best = said.decode().split()
            found = graph.merge_base(conn, catalog.git, home.id, a, b)
            assert (found is None) == (not best)
            assert found is None or found in best


def test_a_wrong_clock_does_not_make_an_ancestor_the_base(catalog: Catalog, home: Repo) -> None:
    """Seen first because its clock ran ahead, it is still below another common commit."""
    tree = new_tree([])
    below = new_commit(tree.oid, [], "below", "alice", 3000)
    best = new_commit(tree.oid, [below.oid], "best", "alice", 1000)
    ends = [
        new_commit(tree.oid, [below.oid, best.oid], f"end {n}", "alice", 4000) for n in range(2)
    ]
    with catalog.db.write() as conn:
        catalog.git.put(conn, home.id, [tree, below, best, *ends])
        assert graph.merge_base(conn, catalog.git, home.id, *[e.oid for e in ends]) == best.oid


def test_a_long_history_is_walked_only_as_far_as_needed(
    catalog: Catalog, home: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = new_tree([])
    line: list[NewObject] = []
    for at in range(300):
        parents = [line[-1].oid] if line else []
        line.append(new_commit(tree.oid, parents, f"c{at}", "alice", 1000 + at))
    side = new_commit(tree.oid, [line[-3].oid], "side", "alice", 2000)
    with catalog.db.write() as conn:
        catalog.git.put(conn, home.id, [tree, *line, side])
    monkeypatch.setattr(graph, "COMMITS_LOOKED_AT_MAX", 10)

    def base(a: GitOid, b: GitOid) -> GitOid | None:
        with catalog.db.read() as conn:
            return graph.merge_base(conn, catalog.git, home.id, a, b)

    assert base(line[-1].oid, side.oid) == line[-3].oid
    assert base(line[-1].oid, line[-2].oid) == line[-2].oid
    assert base(side.oid, side.oid) == side.oid
    with pytest.raises(Unprocessable, match="no common commit"):
        base(line[0].oid, side.oid)
