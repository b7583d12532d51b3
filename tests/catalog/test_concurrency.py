"""Many at once: one winner for each parent, nobody told that the database is locked."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

from catalog_kit import commit, open_catalog, org, person, repo
from catalog_workers import append, in_processes, race_for_parents, start

from effort import examples
from headwater.catalog.catalog import Catalog
from headwater.errors import Conflict, HeadwaterError, Stale
from headwater.names import RepoId

PROCESSES = 4
ROUNDS = examples(50)


def lab(catalog: Catalog) -> None:
    """An organisation in which four users may write, with one repo."""
    users = {f"user{number}": "write" for number in range(PROCESSES)}
    actors = [person(catalog, name) for name in users]
    org(catalog, "lab", **users)
    repo(catalog, catalog.tokens.actor_of(actors[0].user_id or 0, "write"), "lab/m")


def test_one_parent_has_one_child(catalog: Catalog, url: str) -> None:
    """Four processes, rounds on one parent each: one commit wins, three are Stale."""
    lab(catalog)
    answers = in_processes(race_for_parents, PROCESSES, url, ROUNDS)
    for turn in zip(*answers, strict=True):
        parents = {parent for parent, _ in turn}
        winners = [made for _, made in turn if made]
        assert len(parents) == 1, "all saw the same head"
        assert len(winners) == 1, turn
    found = catalog.repos.find(person(catalog, "user0"), "model", "lab/m")
    head = catalog.refs.resolve(found, "main").commit
    history = [info.oid for info in catalog.history.list(found, head, 1000)]
    won = [made for turn in zip(*answers, strict=True) for _, made in turn if made]
    assert history[:-1] == list(reversed(won))


def test_without_a_parent_all_are_kept(catalog: Catalog, url: str) -> None:
    """Commits that name no parent queue up: every one succeeds, the history is a line."""
    lab(catalog)
    made = in_processes(append, PROCESSES, url, 10)
    found = catalog.repos.find(person(catalog, "user0"), "model", "lab/m")
    head = catalog.refs.resolve(found, "main")
    history = [info.oid for info in catalog.history.list(found, head.commit, 1000)]
    assert sorted(history[:-1]) == sorted(oid for oids in made for oid in oids)
    entries = catalog.files.list(found, head.tree, recursive=True)
    assert sum(entry.kind == "file" for entry in entries) == PROCESSES * 10 + 1


def test_processes_that_start_together(empty_url: Callable[[], str]) -> None:
    """Four processes open a database without a schema at one moment: all come up."""
    assert in_processes(start, PROCESSES, empty_url()) == [0] * PROCESSES


def at_once(calls: Sequence[Callable[[], object]]) -> list[type[Exception] | None]:
    """Every call in a thread of its own, begun together; the class of error each met."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], object]) -> type[Exception] | None:
        barrier.wait()
        try:
            call()
        except HeadwaterError as error:
            return type(error)
        return None

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_a_name_is_given_once(catalog: Catalog) -> None:
    """Accounts that look alike, repos, branches: created by eight threads, they exist once."""
    names = ["lab", "Lab", "1ab", "LAB", "Iab", "iab", "lAb", "laB"]  # l, 1, I and i look alike
    met = at_once([partial(catalog.accounts.create, name) for name in names])
    assert met.count(None) == 1
    assert set(met) == {None, Conflict}
    alice = person(catalog, "alice")
    rid = RepoId("model", "alice", "m")
    met = at_once([lambda: catalog.repos.create(alice, rid)] * 8)
    assert met.count(None) == 1
    assert set(met) == {None, Conflict}
    home = catalog.repos.find(alice, "model", "alice/m")
    met = at_once([lambda: catalog.refs.create_branch(alice, home, "dev")] * 8)
    assert met.count(None) == 1
    assert set(met) == {None, Conflict}


def test_pull_requests_opened_together_have_numbers_of_their_own(catalog: Catalog) -> None:
    alice = person(catalog, "alice")
    home = repo(catalog, alice, "alice/m")
    calls = [
        partial(commit, catalog, alice, home, {f"{n}": b"x"}, create_pr=True) for n in range(8)
    ]
    assert at_once(calls) == [None] * 8
    prs = [ref.name for ref in catalog.refs.list(home) if ref.name.startswith("refs/pr/")]
    assert prs == [f"refs/pr/{number}" for number in range(1, 9)]


def test_readers_see_one_moment(catalog: Catalog, url: str) -> None:
    """What is read inside one `read()` does not move, whatever others commit meanwhile."""
    alice = person(catalog, "alice")
    home = repo(catalog, alice, "alice/m")
    other = open_catalog(url)
    with catalog.db.read() as conn:
        before = catalog.refs.resolve_in(conn, home.id, "main")
        commit(other, alice, home, {"f": b"x"})
        assert catalog.refs.resolve_in(conn, home.id, "main") == before
    assert catalog.refs.resolve(home, "main") != before
    other.close()


def test_the_loser_changes_nothing(catalog: Catalog) -> None:
    alice = person(catalog, "alice")
    home = repo(catalog, alice, "alice/m")
    parent = catalog.refs.resolve(home, "main").commit
    calls = [partial(commit, catalog, alice, home, {f"{n}": b"x"}, parent=parent) for n in range(6)]
    met = at_once(calls)
    assert met.count(None) == 1
    assert met.count(Stale) == 5
    tree = catalog.refs.resolve(home, "main").tree
    assert len(catalog.files.list(home, tree)) == 2  # .gitattributes and the winner's file
