"""Likes, follows, profiles: what each reader hears, and that counts and rows stay one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import pytest
from catalog_kit import again, org, person, repo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from effort import examples
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import ANONYMOUS, OPERATOR, Actor, Scope
from headwater.catalog.catalog import Catalog
from headwater.errors import BadRequest, Forbidden, HeadwaterError, NotFound, Unauthorized

RACERS, ROUNDS = 6, 12


def likes_of(catalog: Catalog, full: str) -> tuple[int, int]:
    """(the count beside the repo, the rows there are)"""
    found = catalog.repos.find(OPERATOR, "model", full)
    query = select(func.count()).where(so.repo_like.c.repo_id == found.id)
    with catalog.db.read() as conn:
        return found.likes, conn.execute(query).scalar_one()


def trail(catalog: Catalog) -> list[str]:
    query = select(s.audit.c.actor, s.audit.c.action, s.audit.c.subject).order_by(s.audit.c.id)
    with catalog.db.read() as conn:
        return [" ".join(row) for row in conn.execute(query)]


def test_liking_is_once(catalog: Catalog, alice: Actor, bob: Actor) -> None:
    repo(catalog, alice, "alice/m")
    before = len(trail(catalog))
    for actor in (alice, bob, bob):
        catalog.likes.like(actor, "model", "Alice/M")
    assert likes_of(catalog, "alice/m") == (2, 2)
    for _ in range(2):
        catalog.likes.unlike(alice, "model", "alice/m")
    assert likes_of(catalog, "alice/m") == (1, 1)
    assert trail(catalog)[before:] == [
        "alice repo.like alice/m",
        "bob repo.like alice/m",
        "alice repo.unlike alice/m",
    ]
    (liker,) = catalog.likes.likers(ANONYMOUS, "model", "alice/m").rows
    assert (liker.name, liker.kind) == ("bob", "user")


def test_any_run_of_likes_leaves_count_and_rows_alike(catalog: Catalog, alice: Actor) -> None:
    """A model of it: a set of (who, what)."""
    people = [alice, person(catalog, "bob"), person(catalog, "carol")]
    names = ["alice/a", "alice/b"]
    for name in names:
        repo(catalog, alice, name)
    wanted: set[tuple[str, str]] = set()

    @settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.tuples(st.sampled_from(people), st.sampled_from(names), st.booleans()))
    def act(step: tuple[Actor, str, bool]) -> None:
        actor, name, like = step
        (catalog.likes.like if like else catalog.likes.unlike)(actor, "model", name)
        (wanted.add if like else wanted.discard)((actor.name, name))
        for each in names:
            number = sum(what == each for _, what in wanted)
            assert likes_of(catalog, each) == (number, number)

    act()


def test_likes_at_once_are_all_counted(catalog: Catalog, alice: Actor) -> None:
    """Many people like and unlike one repo at the same moments: the count is what is there."""
    repo(catalog, alice, "alice/m")
    people = [person(catalog, f"user{number}") for number in range(RACERS)]
    barrier = Barrier(RACERS)

    def run(actor: Actor) -> None:
        barrier.wait(30)
        for turn in range(ROUNDS):
            call = catalog.likes.unlike if turn % 3 == 2 else catalog.likes.like
            call(actor, "model", "alice/m")

    with ThreadPoolExecutor(RACERS) as pool:
        for done in [pool.submit(partial(run, actor)) for actor in people]:
            done.result(60)
    assert likes_of(catalog, "alice/m") == (0, 0)
    with ThreadPoolExecutor(RACERS) as pool:  # the same person, from many places
        calls = [pool.submit(catalog.likes.like, alice, "model", "alice/m") for _ in people]
        for done in calls:
            done.result(60)
    assert likes_of(catalog, "alice/m") == (1, 1)


def heard(call: object) -> tuple[str, str]:
    try:
        call()  # type: ignore[operator]
    except HeadwaterError as error:
        return type(error).__name__, error.message
    return "", ""


def test_a_private_repo_cannot_be_told_from_none(
    catalog: Catalog, alice: Actor, bob: Actor
) -> None:
    """At each door, a stranger and nobody at all hear of the private what they hear of nothing."""
    repo(catalog, alice, "alice/secret", private=True)
    repo(catalog, alice, "alice/m")
    catalog.likes.like(alice, "model", "alice/secret")
    catalog.likes.like(alice, "model", "alice/m")
    likes = catalog.likes
    for who in (bob, ANONYMOUS):
        for door in (likes.like, likes.unlike, likes.likers):
            there = heard(partial(door, who, "model", "alice/secret"))
            none = heard(partial(door, who, "model", "alice/nothing"))
            assert there == (none[0], none[1].replace("nothing", "secret"))
            assert there[0], "it was refused"
        assert [each.full for each in likes.of_user(who, "alice").rows] == ["alice/m"]
        seen = catalog.profiles.user(who, "alice")
        assert (seen.likes, seen.repos) == (1, {"model": 1})
    assert {each.full for each in likes.of_user(alice, "alice").rows} == {"alice/m", "alice/secret"}
    mine = catalog.profiles.user(alice, "alice")
    assert (mine.likes, mine.repos) == (2, {"model": 2})


def test_members_see_what_is_liked_inside(catalog: Catalog, alice: Actor, bob: Actor) -> None:
    """A private repo of an organisation: its members count it, a stranger and nobody do not."""
    org(catalog, "lab", alice="admin", bob="read")
    alice, bob = again(catalog, alice), again(catalog, bob)
    repo(catalog, alice, "lab/m", private=True)
    catalog.likes.like(alice, "model", "lab/m")
    stranger = person(catalog, "stranger")
    narrow = person(
        catalog, "bob", "fineGrained", Scope("model", "bob/other", ("repo.content.read",))
    )
    for who, seen in ((bob, 1), (alice, 1), (stranger, 0), (ANONYMOUS, 0), (narrow, 0)):
        assert len(catalog.likes.of_user(who, "alice").rows) == seen
        assert catalog.profiles.user(who, "alice").likes == seen
        assert catalog.profiles.org(who, "lab").repos == ({"model": 1} if seen else {})
        hits = catalog.quick_search.search(who, "lab/m", types=["model"]).repos["model"]
        assert (hits[0], len(hits[1])) == (seen, seen)


def test_who_lost_sight_of_a_repo_sees_no_like_of_it(
    catalog: Catalog, alice: Actor, bob: Actor
) -> None:
    repo(catalog, alice, "alice/m")
    catalog.likes.like(bob, "model", "alice/m")
    catalog.repos.set(alice, "model", "alice/m", private=True)
    assert catalog.likes.of_user(bob, "bob").rows == ()
    assert catalog.profiles.user(bob, "bob").likes == 0
    assert [each.name for each in catalog.likes.likers(alice, "model", "alice/m").rows] == ["bob"]


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        ((Scope("model", "alice/m", ("repo.write",)),), False),
        ((Scope("user", "alice", ("repo.access.read",)),), False),
        ((Scope("org", "lab", ("repo.write",)),), False),
        ((Scope("user", "ALICE", ("repo.write",)),), True),
    ],
)
def test_narrow_tokens(
    catalog: Catalog, alice: Actor, scopes: tuple[Scope, ...], may: bool
) -> None:
    repo(catalog, alice, "alice/m")
    catalog.accounts.create("lab", "org")
    narrow = person(catalog, "alice", "fineGrained", *scopes)
    calls = (
        partial(catalog.likes.like, narrow, "model", "alice/m"),
        partial(catalog.follows.follow, narrow, "lab", "org"),
    )
    for call in calls:
        assert (heard(call)[0] == "") == may


def test_who_may_not_like_or_follow(catalog: Catalog, alice: Actor, bob: Actor) -> None:
    repo(catalog, alice, "alice/m")
    for who, error in ((ANONYMOUS, Unauthorized), (OPERATOR, Unauthorized)):
        with pytest.raises(error):
            catalog.likes.like(who, "model", "alice/m")
        with pytest.raises(error):
            catalog.follows.follow(who, "bob", "user")
    reader = person(catalog, "bob", "read")
    with pytest.raises(Forbidden):
        catalog.likes.like(reader, "model", "alice/m")
    with pytest.raises(BadRequest):
        catalog.follows.follow(bob, "bob", "user")
    assert likes_of(catalog, "alice/m") == (0, 0)


def test_following(catalog: Catalog, alice: Actor, bob: Actor) -> None:
    org(catalog, "lab")
    before = len(trail(catalog))
    for _ in range(2):
        catalog.follows.follow(alice, "Bob", "user")
        catalog.follows.follow(alice, "lab", "org")
    assert trail(catalog)[before:] == ["alice user.follow bob", "alice org.follow lab"]
    assert [each.name for each in catalog.follows.followers(bob, "bob", "user").rows] == ["alice"]
    mine = catalog.follows.following(alice, "alice").rows
    assert [(each.name, each.kind, each.followed) for each in mine] == [
        ("bob", "user", True), ("lab", "org", True),
    ]  # fmt: skip
    theirs = catalog.follows.following(bob, "alice").rows
    assert not any(each.followed for each in theirs)
    assert catalog.profiles.user(alice, "bob").person.followed
    assert catalog.profiles.user(bob, "alice").following == 2
    assert catalog.profiles.org(bob, "lab").followers == 1
    catalog.follows.unfollow(alice, "lab", "org")
    catalog.follows.unfollow(alice, "lab", "org")
    assert catalog.profiles.org(bob, "lab").followers == 0


@pytest.mark.parametrize("name", ["nobody", "lab", "gone", "a\0", "", "é" * 300])
def test_no_such_user(catalog: Catalog, alice: Actor, name: str) -> None:
    org(catalog, "lab")
    person(catalog, "gone")
    catalog.accounts.delete("gone")
    for door in (
        partial(catalog.profiles.user, alice, name),
        partial(catalog.likes.of_user, alice, name),
        partial(catalog.follows.followers, alice, name, "user"),
        partial(catalog.follows.following, alice, name),
        partial(catalog.follows.follow, alice, name, "user"),
    ):
        with pytest.raises(NotFound):
            door()
    with pytest.raises(NotFound):
        catalog.profiles.org(alice, "alice")


def test_roles_are_told_inside_only(catalog: Catalog, alice: Actor, bob: Actor) -> None:
    org(catalog, "lab", alice="admin")
    alice = again(catalog, alice)
    root = person(catalog, "root", admin=True)
    for who, role in ((alice, "admin"), (root, "admin"), (bob, None), (ANONYMOUS, None)):
        (member,) = catalog.profiles.members(who, "lab").rows
        assert (member.name, member.role) == ("alice", role)
        assert catalog.profiles.org(who, "lab").members == 1
        assert [each.name for each in catalog.profiles.user(who, "alice").orgs] == ["lab"]


def test_pages_hold_everybody_once(catalog: Catalog, alice: Actor) -> None:
    home = repo(catalog, alice, "alice/m")
    names = [f"user{number}" for number in range(7)]
    for number, name in enumerate(names):
        actor = person(catalog, name)
        catalog.likes.like(actor, "model", home.full)
        repo(catalog, alice, f"alice/m{number}")
        catalog.likes.like(alice, "model", f"alice/m{number}")
    found: list[str] = []
    after: int | None = 0
    while after is not None:
        page = catalog.likes.likers(alice, "model", home.full, after=after, limit=3)
        found += [each.name for each in page.rows]
        after = page.after
    assert found == names
    liked: list[str] = []
    cursor = None
    while True:
        likes = catalog.likes.of_user(alice, "alice", cursor=cursor, limit=2)
        liked += [each.full for each in likes.rows]
        if (cursor := likes.cursor) is None:
            break
    assert liked == [f"alice/m{number}" for number in reversed(range(7))]


def test_a_deleted_account_takes_its_likes_along(
    catalog: Catalog, alice: Actor, bob: Actor
) -> None:
    repo(catalog, alice, "alice/m")
    catalog.likes.like(bob, "model", "alice/m")
    catalog.likes.like(alice, "model", "alice/m")
    catalog.follows.follow(alice, "bob", "user")
    catalog.follows.follow(bob, "alice", "user")
    catalog.collections.create(bob, "bob", "mine")
    catalog.accounts.delete("bob")
    assert likes_of(catalog, "alice/m") == (1, 1)
    seen = catalog.profiles.user(alice, "alice")
    assert (seen.followers, seen.following) == (0, 0)
    with catalog.db.read() as conn:
        assert conn.execute(select(func.count()).select_from(so.collection)).scalar_one() == 0


def test_a_deleted_repo_takes_its_likes_along(catalog: Catalog, alice: Actor) -> None:
    repo(catalog, alice, "alice/m")
    catalog.likes.like(alice, "model", "alice/m")
    catalog.repos.delete(alice, "model", "alice/m")
    assert catalog.likes.of_user(alice, "alice").rows == ()
