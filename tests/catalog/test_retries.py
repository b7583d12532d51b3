"""A commit sent twice, because its first answer was lost, is one commit (rule F3)."""

from collections.abc import Iterator

import pytest
from catalog_kit import changes, commit, contents_of, org, person, repo

from headwater.catalog import clock, commits
from headwater.catalog.actors import Actor
from headwater.catalog.catalog import Catalog
from headwater.catalog.commits import Plan
from headwater.catalog.db_errors import ConnectionLost
from headwater.catalog.models import Repo
from headwater.errors import EntryNotFound, Stale


def titles(catalog: Catalog, home: Repo, revision: str = "main") -> list[str]:
    head = catalog.refs.resolve(home, revision).commit
    return [info.title for info in catalog.history.list(home, head, 100)]


def test_the_same_plan_twice_is_one_commit(catalog: Catalog, alice: Actor, home: Repo) -> None:
    parent = catalog.refs.resolve(home, "main").commit
    first = commit(catalog, alice, home, {"a": b"1"}, "one", parent=parent)
    assert commit(catalog, alice, home, {"a": b"1"}, "one", parent=parent) == first
    second = commit(catalog, alice, home, {"a": b"2"}, "two")
    assert commit(catalog, alice, home, {"a": b"2"}, "two") == second
    assert titles(catalog, home) == ["two", "one", "initial commit"]


def test_a_retry_after_others_committed(catalog: Catalog, alice: Actor, home: Repo) -> None:
    """With a parent, the retry hears of its own commit however many came after it."""
    parent = catalog.refs.resolve(home, "main").commit
    first = commit(catalog, alice, home, {"a": b"1"}, parent=parent)
    for number in range(3):
        commit(catalog, alice, home, {"b": b"%d" % number})
    assert commit(catalog, alice, home, {"a": b"1"}, parent=parent) == first
    with pytest.raises(Stale):
        commit(catalog, alice, home, {"a": b"another"}, parent=parent)


def test_a_removal_with_a_parent_is_retried(catalog: Catalog, alice: Actor, home: Repo) -> None:
    head = commit(catalog, alice, home, {"a": b"1"}).oid
    first = commit(catalog, alice, home, {"a": None}, parent=head)
    assert commit(catalog, alice, home, {"a": None}, parent=head) == first
    with pytest.raises(EntryNotFound):
        commit(catalog, alice, home, {"a": None})


def test_back_and_forth_is_three_commits(catalog: Catalog, alice: Actor, home: Repo) -> None:
    """v1, v2, v1 again by the same person in the same words: a new wish, not a retry."""
    made = [commit(catalog, alice, home, {"a": data}, "set") for data in (b"1", b"2", b"1")]
    assert len({m.oid for m in made}) == 3
    assert contents_of(catalog, home)["a"] == b"1"
    assert titles(catalog, home) == ["set", "set", "set", "initial commit"]


def test_a_pull_request_is_opened_once(catalog: Catalog, alice: Actor, home: Repo) -> None:
    first = commit(catalog, alice, home, {"a": b"1"}, create_pr=True)
    commit(catalog, alice, home, {"b": b"1"}, revision="refs/pr/1")  # it may have gone on since
    assert commit(catalog, alice, home, {"a": b"1"}, create_pr=True) == first
    assert catalog.discussions.page(home, 0)[0] == 1
    other = commit(catalog, alice, home, {"a": b"2"}, create_pr=True)
    assert other.pr == 2


def test_an_equal_plan_of_another_is_another_commit(catalog: Catalog, alice: Actor) -> None:
    bob = person(catalog, "bob")
    org(catalog, "lab", alice="write", bob="write")
    alice, bob = (catalog.tokens.actor_of(x.user_id or 0, "write") for x in (alice, bob))
    home = repo(catalog, alice, "lab/m")
    parent = catalog.refs.resolve(home, "main").commit
    commit(catalog, alice, home, {"a": b"1"}, "one", parent=parent)
    with pytest.raises(Stale):
        commit(catalog, bob, home, {"a": b"1"}, "one", parent=parent)
    mine = commit(catalog, alice, home, {"b": b"1"}, "pr", create_pr=True)
    theirs = commit(catalog, bob, home, {"b": b"1"}, "pr", create_pr=True)
    assert (mine.pr, theirs.pr) == (1, 2)
    assert mine.oid != theirs.oid


def test_a_branch_made_anew_does_not_remember(catalog: Catalog, alice: Actor, home: Repo) -> None:
    """The commit is answered only while the branch holds it: an answer is a promise."""
    parent = catalog.refs.resolve(home, "main").commit
    catalog.refs.create_branch(alice, home, "dev")
    commit(catalog, alice, home, {"a": b"1"}, revision="dev", parent=parent)
    catalog.refs.delete_branch(alice, home, "dev")
    catalog.refs.create_branch(alice, home, "dev")
    made = commit(catalog, alice, home, {"a": b"1"}, revision="dev", parent=parent)
    assert catalog.refs.resolve(home, "dev").commit == made.oid
    assert contents_of(catalog, home, "dev")["a"] == b"1"
    catalog.refs.delete_branch(alice, home, "dev")
    catalog.refs.create_branch(alice, home, "dev")
    commit(catalog, alice, home, {"other": b"1"}, revision="dev")
    with pytest.raises(Stale):
        commit(catalog, alice, home, {"a": b"1"}, revision="dev", parent=parent)


def test_a_late_retry_is_a_new_wish(
    catalog: Catalog, alice: Actor, home: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(catalog, alice, home, {"a": b"1"}, create_pr=True)
    late = clock.now_ms() + commits.RETRY_WINDOW_MS + 1000
    monkeypatch.setattr(commits, "now_ms", lambda: late)
    assert commit(catalog, alice, home, {"a": b"1"}, create_pr=True).pr == 2


def test_a_parent_may_be_named_by_its_first_digits(
    catalog: Catalog, alice: Actor, home: Repo
) -> None:
    """The client takes 5 to 40 digits, in either case, for a parent."""
    head = catalog.refs.resolve(home, "main").commit
    first = commit(catalog, alice, home, {"a": b"1"}, parent=head[:7].upper())
    assert commit(catalog, alice, home, {"a": b"1"}, parent=head[:7].upper()) == first
    for wrong in (head[:7], head[:4], "", "0" * 40, "not hex"):
        with pytest.raises(Stale):
            commit(catalog, alice, home, {"b": b"1"}, parent=wrong)


def test_an_empty_plan_changes_nothing(catalog: Catalog, alice: Actor, home: Repo) -> None:
    head = catalog.refs.resolve(home, "main").commit
    made = catalog.commits.apply(alice, home, Plan("main", (), "nothing"))
    assert made.oid == head
    same = {".gitattributes": contents_of(catalog, home)[".gitattributes"]}
    assert commit(catalog, alice, home, same).oid == head


@pytest.fixture
def lost_answers(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The connection breaks right behind a COMMIT, once: it took place, nobody was told."""
    real = catalog.commits._apply
    lost: list[str] = []

    def apply(actor: Actor, repo: Repo, plan: Plan) -> commits.Committed:
        made = real(actor, repo, plan)
        if not lost:
            lost.append(made.oid)
            raise ConnectionLost("gone")
        return made

    monkeypatch.setattr(catalog.commits, "_apply", apply)
    yield lost
    assert len(lost) == 1


@pytest.mark.parametrize("create_pr", [False, True])
def test_a_lost_commit_is_looked_up_again(
    catalog: Catalog, alice: Actor, home: Repo, lost_answers: list[str], create_pr: bool
) -> None:
    """A connection lost in COMMIT leaves the outcome open: asked again, the plan's key tells."""
    parent = catalog.refs.resolve(home, "main").commit
    plan = Plan(
        "main", changes(catalog, home, {"a": b"1"}), "x", parent=parent, create_pr=create_pr
    )
    assert [catalog.commits.apply(alice, home, plan).oid] == lost_answers
    assert catalog.discussions.page(home, 0)[0] == int(create_pr)
