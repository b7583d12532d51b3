"""Merges of one moment: one happens, none is lost, and none is made of what is no longer there."""

import threading
from collections.abc import Callable

import pytest
from catalog_kit import changes, commit, contents_of, open_catalog

from headwater.catalog import merging
from headwater.catalog.actors import Actor
from headwater.catalog.catalog import Catalog
from headwater.catalog.commits import Plan
from headwater.catalog.models import Repo
from headwater.errors import Conflict, HeadwaterError, Stale


def propose(catalog: Catalog, bob: Actor, home: Repo, files: dict[str, bytes | None]) -> int:
    made = commit(catalog, bob, home, files, "Propose", create_pr=True)
    assert made.pr is not None
    return made.pr


def together(*works: Callable[[], object]) -> list[object]:
    """What each answered or raised, all begun at one moment."""
    barrier = threading.Barrier(len(works))
    results: list[object] = [None] * len(works)

    def run(at: int) -> None:
        barrier.wait()
        try:
            results[at] = works[at]()
        except HeadwaterError as error:
            results[at] = error

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_many_merges_of_one_pull_request_one_happens(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo
) -> None:
    num = propose(catalog, bob, home, {"n": b"1"})
    before = len(catalog.history.list(home, catalog.refs.resolve(home, "main").commit, 100))
    results = together(*[lambda: catalog.merging.merge(alice, home, num)] * 5)
    done = [r for r in results if isinstance(r, str)]
    assert len(done) == 1
    assert all(isinstance(r, Conflict) and "merged already" in r.message
               for r in results if r not in done)  # fmt: skip
    head = catalog.refs.resolve(home, "main").commit
    assert head == done[0]
    assert len(catalog.history.list(home, head, 100)) == before + 1


def test_merges_of_several_at_once_lose_nothing(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo
) -> None:
    nums = [propose(catalog, bob, home, {f"n{n}": b"%d" % n}) for n in range(4)]
    results = together(*[lambda num=num: catalog.merging.merge(alice, home, num) for num in nums])
    for num, result in zip(nums, results, strict=True):
        if isinstance(result, Stale):  # others were always faster: it asks again
            catalog.merging.merge(alice, home, num)
        else:
            assert isinstance(result, str), result
    assert {f"n{n}" for n in range(4)} <= contents_of(catalog, home).keys()


def test_a_branch_that_moves_meanwhile_is_merged_anew(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was computed from a snapshot counts only while both heads are still there."""
    num = propose(catalog, bob, home, {"n": b"1"})
    real, moves = merging.merge_trees, iter(range(100))

    def racing(*args: object) -> object:
        made = real(*args)  # type: ignore[arg-type]
        other.commits.apply(alice, home, next(plans))
        return made

    other = open_catalog(catalog.db.url)
    plans = (Plan("main", changes(other, home, {f"race{n}": b"%d" % n}), "race") for n in moves)
    monkeypatch.setattr(merging, "merge_trees", racing)
    with pytest.raises(Stale):
        catalog.merging.merge(alice, home, num)
    assert catalog.discussions.find(home, num).status == "open"
    monkeypatch.setattr(merging, "merge_trees", real)
    catalog.merging.merge(alice, home, num)
    assert {"n", "race0", "race1", "race2"} <= contents_of(catalog, home).keys()
    other.close()
