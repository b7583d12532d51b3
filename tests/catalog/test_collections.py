"""Collections: who sees what of them, in which order, and what cannot be done."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from catalog_kit import again, org, person, repo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from effort import examples
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import ANONYMOUS, OPERATOR, Actor, Scope
from headwater.catalog.catalog import Catalog
from headwater.catalog.collection_items import ITEMS_MAX, NOTE_CHARS_MAX, OtherCollection
from headwater.catalog.collection_list import LISTED_ITEMS, Ask, Collection
from headwater.catalog.collections import DESCRIPTION_CHARS_MAX, OF_ONE_OWNER_MAX, TITLE_CHARS_MAX
from headwater.catalog.models import Repo
from headwater.catalog.ordering import moved
from headwater.errors import BadRequest, Conflict, Forbidden, HeadwaterError, NotFound, Unauthorized
from yardstick import usual_s


def at(found: Collection) -> tuple[str, str]:
    """Its address in two parts."""
    owner, _, slug = found.full_slug.partition("/")
    return owner, slug


def narrow(catalog: Catalog) -> Actor:
    """Alice with a token for one repo that is not there: she sees what everybody sees."""
    return person(catalog, "alice", "fineGrained", Scope("model", "alice/none", ("repo.write",)))


def names(found: Collection) -> list[str]:
    """What is in it, in order; the positions must be 0, 1, 2 …"""
    assert [item.position for item in found.items] == list(range(len(found.items)))
    return [
        item.target.name if isinstance(item.target, Repo) else item.target.title
        for item in found.items
    ]


def ids(found: Collection) -> dict[str, str]:
    return dict(zip(names(found), (item.hub_id for item in found.items), strict=True))


def filled(catalog: Catalog, alice: Actor, count: int, *, private: str = "") -> Collection:
    """Alice's public collection of models m0, m1 …; those whose digit is in `private` are."""
    found = catalog.collections.create(alice, "alice", "Things")
    for number in range(count):
        name = f"alice/m{number}"
        repo(catalog, alice, name, private=str(number) in private)
        found = catalog.collections.add_item(alice, *at(found), "model", name)
    return found


def trail(catalog: Catalog) -> list[tuple[str, str]]:
    with catalog.db.read() as conn:
        rows = conn.execute(select(s.audit.c.actor, s.audit.c.action).order_by(s.audit.c.id))
        return [(row.actor, row.action) for row in rows]


def test_the_life_of_a_collection(catalog: Catalog, alice: Actor) -> None:
    rooms = catalog.collections
    before = len(trail(catalog))
    made = rooms.create(alice, "Alice", "Modèles & more", description="some")
    assert made.full_slug == f"alice/modeles-more-{made.hub_id}"
    assert (made.position, made.items, made.private, made.theme) == (0, (), False, "orange")
    repo(catalog, alice, "alice/d", "dataset")
    other = rooms.create(alice, "alice", "Other")
    assert other.position == 1
    rooms.add_item(alice, *at(made), "dataset", "Alice/D", "why <b>")
    both = rooms.add_item(alice, *at(made), "collection", other.full_slug)
    assert names(both) == ["d", "Other"]
    assert both.items[0].note == "why <b>"
    assert isinstance(both.items[1].target, OtherCollection)
    assert both.items[1].target.full_slug == other.full_slug
    rooms.change_item(alice, *at(made), both.items[1].hub_id, position=0, note="first")
    renamed = rooms.update(
        alice, *at(made), title="New", description="", private=True, theme="blue", position=1
    )
    assert renamed.full_slug == f"alice/new-{made.hub_id}"
    assert (renamed.description, renamed.private, renamed.theme) == ("", True, "blue")
    assert renamed.position == 1
    assert names(renamed) == ["Other", "d"]
    old = rooms.find(alice, *at(made))
    assert old == renamed, "the old address leads there"
    rooms.remove_item(alice, *at(made), both.items[0].hub_id)
    assert names(rooms.find(alice, *at(made))) == ["Other"]
    rooms.delete(alice, *at(made))
    with pytest.raises(NotFound):
        rooms.find(alice, *at(made))
    assert rooms.find(alice, *at(other)).position == 0
    actions = [action for _, action in trail(catalog)[before:] if action != "repo.create"]
    assert actions == [
        f"collection.{word}"
        for word in ("create", "create", "add", "add", "item", "update", "remove", "delete")
    ]


def test_the_same_again_is_a_conflict(catalog: Catalog, alice: Actor, bob: Actor) -> None:
    rooms = catalog.collections
    made = rooms.create(alice, "alice", "Things")
    with pytest.raises(Conflict) as conflict:
        rooms.create(alice, "alice", "Things")
    assert conflict.value.extra == {"slug": made.full_slug}
    rooms.create(bob, "bob", "Things")
    other = rooms.create(alice, "alice", "Other")
    with pytest.raises(Conflict):
        rooms.update(alice, *at(other), title="Things")
    repo(catalog, alice, "alice/m")
    rooms.add_item(alice, *at(made), "model", "alice/m")
    rooms.add_item(alice, *at(made), "collection", other.full_slug)
    for kind, name in (("model", "ALICE/m"), ("collection", other.full_slug)):
        with pytest.raises(Conflict):
            rooms.add_item(alice, *at(made), kind, name)


# Who sees what


def heard(call: Any) -> tuple[str, str]:
    try:
        call()
    except HeadwaterError as error:
        return type(error).__name__, error.message
    return "", ""


def test_a_private_collection_cannot_be_told_from_none(
    catalog: Catalog, alice: Actor, bob: Actor
) -> None:
    rooms = catalog.collections
    repo(catalog, bob, "bob/m")
    hidden = rooms.create(alice, "alice", "Secret", private=True)
    filled_up = rooms.add_item(alice, *at(hidden), "model", "bob/m")
    item = filled_up.items[0].hub_id
    mine = rooms.create(bob, "bob", "Mine")
    nothing = ("alice", "secret-" + "0" * 24)
    doors: list[Any] = [
        lambda who, place: rooms.find(who, *place),
        lambda who, place: rooms.update(who, *place, title="x"),
        lambda who, place: rooms.delete(who, *place),
        lambda who, place: rooms.add_item(who, *place, "model", "bob/m"),
        lambda who, place: rooms.change_item(who, *place, item, position=0),
        lambda who, place: rooms.remove_item(who, *place, item),
        lambda who, place: rooms.demand(who, *place),
    ]
    for who in (bob, ANONYMOUS, narrow(catalog)):
        for door in doors:
            there, none = heard(partial(door, who, at(hidden))), heard(partial(door, who, nothing))
            assert there[0] == none[0] == "NotFound"
            assert there[1].replace(hidden.hub_id, "0" * 24) == none[1]
        for ask in (Ask(), Ask(owners=("alice",)), Ask(items=("models/bob/m",))):
            assert hidden.hub_id not in [row.hub_id for row in rooms.page(who, ask).rows]
        words = catalog.quick_search.search(who, "secret", types=[])
        assert words.collections == (0, [])
    slugs = (hidden.full_slug, "/".join(nothing))
    answers = [heard(partial(rooms.add_item, bob, *at(mine), "collection", x)) for x in slugs]
    assert answers[0][0] == answers[1][0] == "NotFound"
    assert [row.hub_id for row in rooms.page(alice, Ask(owners=("alice",))).rows] == [hidden.hub_id]


def test_members_see_and_writers_keep(catalog: Catalog, alice: Actor, bob: Actor) -> None:
    org(catalog, "lab", alice="write", bob="read")
    writer, reader = again(catalog, alice), again(catalog, bob)
    rooms = catalog.collections
    hidden = rooms.create(writer, "lab", "Team", private=True)
    assert rooms.find(reader, *at(hidden)).full_slug == hidden.full_slug
    with pytest.raises(Forbidden):
        rooms.update(reader, *at(hidden), title="x")
    with pytest.raises(Forbidden):
        rooms.create(reader, "lab", "y")
    with pytest.raises(NotFound):
        rooms.find(person(catalog, "carol"), *at(hidden))
    root = person(catalog, "root", admin=True)
    assert rooms.update(root, *at(hidden), title="x").title == "x"
    rooms.update(writer, *at(hidden), private=False)
    for who, error in ((ANONYMOUS, Unauthorized), (person(catalog, "carol"), Forbidden)):
        with pytest.raises(error):
            rooms.delete(who, *at(hidden))
    read_token = person(catalog, "alice", "read")
    with pytest.raises(Forbidden):
        rooms.delete(read_token, *at(hidden))
    narrow = person(catalog, "alice", "fineGrained", Scope("org", "lab", ("repo.write",)))
    with pytest.raises(Forbidden):
        rooms.create(narrow, "alice", "mine")
    assert rooms.create(narrow, "lab", "theirs").owner == "lab"


def test_what_a_reader_may_not_see_is_left_out(catalog: Catalog, alice: Actor, bob: Actor) -> None:
    """Not in the items, not in the positions, not in the first four of a list."""
    rooms = catalog.collections
    made = filled(catalog, alice, 7, private="0135")
    hidden = rooms.create(alice, "alice", "Secret", private=True)
    rooms.add_item(alice, *at(made), "collection", hidden.full_slug)
    for who in (bob, ANONYMOUS, narrow(catalog)):
        assert names(rooms.find(who, *at(made))) == ["m2", "m4", "m6"]
        (row,) = rooms.page(who, Ask()).rows
        assert names(row) == ["m2", "m4", "m6"]
        assert rooms.page(who, Ask(items=("models/alice/m1",))).rows == ()
        assert len(rooms.page(who, Ask(items=("models/alice/m2",))).rows) == 1
    assert names(rooms.find(alice, *at(made))) == [*(f"m{n}" for n in range(7)), "Secret"]
    assert len(rooms.page(alice, Ask(items=("models/alice/m1",))).rows) == 1
    listed = {row.title: row for row in rooms.page(alice, Ask()).rows}
    assert names(listed["Things"]) == [f"m{n}" for n in range(LISTED_ITEMS)]


def test_places_among_collections_tell_nothing_of_hidden_ones(
    catalog: Catalog, alice: Actor, bob: Actor
) -> None:
    rooms = catalog.collections
    for number in range(5):
        rooms.create(alice, "alice", f"c{number}", private=number < 4)
    last = rooms.page(bob, Ask()).rows[0]
    assert rooms.find(bob, *at(last)).position == 0
    assert rooms.find(alice, *at(last)).position == 4


def test_an_item_that_one_may_not_see_cannot_be_added_or_touched(
    catalog: Catalog, alice: Actor, bob: Actor
) -> None:
    rooms = catalog.collections
    org(catalog, "lab", alice="write", bob="write")
    alice, bob = again(catalog, alice), again(catalog, bob)
    repo(catalog, alice, "alice/secret", private=True)
    made = rooms.create(alice, "lab", "Ours")
    answers = [
        heard(partial(rooms.add_item, bob, *at(made), "model", f"alice/{name}"))
        for name in ("secret", "absent")
    ]
    assert answers[0][1].replace("secret", "absent") == answers[1][1]
    with_secret = rooms.add_item(alice, *at(made), "model", "alice/secret")
    item = with_secret.items[0].hub_id
    assert names(rooms.find(bob, *at(made))) == []
    for call in (
        partial(rooms.remove_item, bob, *at(made), item),
        partial(rooms.change_item, bob, *at(made), item, note="x"),
    ):
        with pytest.raises(NotFound):
            call()
    assert names(rooms.find(alice, *at(made))) == ["secret"]


# Order


@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, unique_by=lambda x: x[0]),
    st.integers(0, 10**6),
    st.integers(-3, 40),
)
def test_moving_puts_it_there_and_disturbs_nobody(
    rows: list[tuple[int, bool]], pick: int, to: int
) -> None:
    order = [row for row, _ in rows]
    what = order[pick % len(order)]
    seen = {row for row, shown in rows if shown} | {what}
    after = moved(order, seen, what, to)
    assert sorted(after) == sorted(order)
    assert [row for row in after if row != what] == [row for row in order if row != what]
    shown = [row for row in after if row in seen]
    assert shown.index(what) == max(0, min(to, len(shown) - 1))


def test_any_edits_keep_the_order_dense(catalog: Catalog, alice: Actor, bob: Actor) -> None:
    """Against a plain list: alice sees all, the keepers' moves count among what they see."""
    rooms = catalog.collections
    org(catalog, "lab", alice="write", bob="write")
    alice, bob = again(catalog, alice), again(catalog, bob)
    made = rooms.create(alice, "lab", "Ours")
    pool = [f"m{number}" for number in range(6)]
    hidden = {"m1", "m4"}  # from bob
    for name in pool:
        repo(catalog, alice, f"alice/{name}", private=name in hidden)
    model: list[str] = []
    moves = st.tuples(
        st.sampled_from(["add", "move", "remove"]), st.sampled_from(pool), st.integers(0, 7),
        st.booleans(),
    )  # fmt: skip

    @settings(max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck))
    @given(moves)
    def act(move: tuple[str, str, int, bool]) -> None:
        what, name, to, by_bob = move
        actor = bob if by_bob and name not in hidden else alice
        here = ids(rooms.find(alice, *at(made)))
        if what == "add" and name not in model:
            rooms.add_item(actor, *at(made), "model", f"alice/{name}")
            model.append(name)
        elif what == "move" and name in model:
            rooms.change_item(actor, *at(made), here[name], position=to)
            numbers = [int(each[1]) for each in model]
            seen = {n for n in numbers if actor is alice or f"m{n}" not in hidden}
            model[:] = [f"m{n}" for n in moved(numbers, seen, int(name[1]), to)]
        elif what == "remove" and name in model:
            rooms.remove_item(actor, *at(made), here[name])
            model.remove(name)
        assert names(rooms.find(alice, *at(made))) == model
        assert names(rooms.find(bob, *at(made))) == [n for n in model if n not in hidden]
        with catalog.db.read() as conn:
            places = conn.execute(select(so.collection_item.c.position)).scalars()
            assert sorted(places) == list(range(len(model)))

    act()


def test_edits_at_once_lose_nothing(catalog: Catalog, alice: Actor) -> None:
    rooms = catalog.collections
    made = filled(catalog, alice, 6)
    here = ids(made)
    for number in range(6, 12):
        repo(catalog, alice, f"alice/m{number}")
    calls = [
        *(partial(rooms.add_item, alice, *at(made), "model", f"alice/m{n}") for n in range(6, 12)),
        *(partial(rooms.change_item, alice, *at(made), here[f"m{n}"], position=0)
          for n in range(1, 6)),
        partial(rooms.remove_item, alice, *at(made), here["m0"]),
    ]  # fmt: skip
    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(call) for call in calls]:
            done.result(60)
    after = rooms.find(alice, *at(made))
    assert sorted(names(after)) == sorted(f"m{number}" for number in range(1, 12))


def test_a_deleted_repo_leaves_no_gap(catalog: Catalog, alice: Actor) -> None:
    made = filled(catalog, alice, 3)
    catalog.repos.delete(alice, "model", "alice/m1")
    assert names(catalog.collections.find(alice, *at(made))) == ["m0", "m2"]
    item = ids(catalog.collections.find(alice, *at(made)))["m2"]
    catalog.collections.change_item(alice, *at(made), item, position=0)
    assert names(catalog.collections.find(alice, *at(made))) == ["m2", "m0"]


def test_one_title_at_once_is_one_collection(catalog: Catalog, alice: Actor) -> None:
    def make() -> str:
        try:
            return catalog.collections.create(alice, "alice", "Same").full_slug
        except Conflict as conflict:
            return str(conflict.extra["slug"])

    with ThreadPoolExecutor(6) as pool:
        slugs = [call.result(60) for call in [pool.submit(make) for _ in range(6)]]
    assert len(set(slugs)) == 1
    assert len(catalog.collections.page(alice, Ask()).rows) == 1


def test_a_full_collection(catalog: Catalog, alice: Actor) -> None:
    """A thousand items and no more; the costliest move, some 30 ms where this was written."""
    made = filled(catalog, alice, 1)
    with catalog.db.write() as conn:
        rows = [
            {
                "hub_id": f"{number:024x}", "type": "model", "owner_id": alice.user_id,
                "namespace": "alice", "name": f"n{number}", "key": f"alice/n{number}",
                "created_ms": number, "updated_ms": number,
            }
            for number in range(ITEMS_MAX)
        ]  # fmt: skip
        conn.execute(insert(s.repo), rows)
        found = conn.execute(select(s.repo.c.id).where(s.repo.c.name.like("n%"))).scalars().all()
        items = [
            {
                "hub_id": f"{number:024x}", "collection_id": made.row_id, "type": "model",
                "repo_id": repo_id, "position": number + 1, "created_ms": 1,
            }
            for number, repo_id in enumerate(found[: ITEMS_MAX - 1])
        ]  # fmt: skip
        conn.execute(insert(so.collection_item), items)
    rooms = catalog.collections
    with pytest.raises(BadRequest):
        rooms.add_item(alice, *at(made), "model", f"alice/n{ITEMS_MAX - 1}")
    last = rooms.find(alice, *at(made)).items[-1].hub_id
    assert usual_s(partial(rooms.change_item, alice, *at(made), last, position=0)) < 2
    after = rooms.find(alice, *at(made))
    assert after.items[0].hub_id == last
    assert len(names(after)) == ITEMS_MAX
    assert len(rooms.page(ANONYMOUS, Ask()).rows[0].items) == LISTED_ITEMS


def test_an_account_keeps_so_many_and_no_more(catalog: Catalog, alice: Actor) -> None:
    with catalog.db.write() as conn:
        rows = [
            {
                "hub_id": f"{number:024x}", "owner_id": alice.user_id, "slug": "x",
                "title": str(number), "position": number, "created_ms": 1, "updated_ms": 1,
            }
            for number in range(OF_ONE_OWNER_MAX)
        ]  # fmt: skip
        conn.execute(insert(so.collection), rows)
    with pytest.raises(BadRequest):
        catalog.collections.create(alice, "alice", "one more")


# The list


def test_pages_hold_each_collection_once(catalog: Catalog, alice: Actor, bob: Actor) -> None:
    rooms = catalog.collections
    for number in range(5):
        rooms.create(alice, "alice", f"a{number}", private=number == 2)
        rooms.create(bob, "bob", f"b{number}")
    for sort in ("lastModified", "trending", "upvotes"):
        for who, wanted in ((alice, 10), (ANONYMOUS, 9)):
            found: list[str] = []
            cursor = None
            while True:
                page = rooms.page(who, Ask(sort=sort, limit=3, cursor=cursor))
                found += [row.title for row in page.rows]
                if (cursor := page.cursor) is None:
                    break
            assert len(found) == len(set(found)) == wanted
            assert found[0] == "b4"
            assert all(row.position is None for row in page.rows)
    owned = rooms.page(ANONYMOUS, Ask(owners=("ALICE", "nobody"))).rows
    assert {row.title for row in owned} == {"a0", "a1", "a3", "a4"}


@pytest.mark.parametrize(
    "ask",
    [
        Ask(sort="name"),
        Ask(owners=("a",) * 21),
        Ask(items=("x/y",)),
        Ask(items=("models/a/b\0",)),
        Ask(owners=("\0",)),
        Ask(cursor=(1,)),
        Ask(cursor=(1, -1)),
        Ask(cursor=(2**63, 1)),
        Ask(sort="upvotes", cursor=(1, 1)),
    ],
)
def test_what_cannot_be_asked(catalog: Catalog, ask: Ask) -> None:
    with pytest.raises(BadRequest):
        catalog.collections.page(ANONYMOUS, ask)


def test_papers_are_in_no_collection(catalog: Catalog, alice: Actor) -> None:
    assert catalog.collections.page(alice, Ask(items=("papers/2311.12983",))).rows == ()
    made = catalog.collections.create(alice, "alice", "x")
    for kind in ("paper", "job", ""):
        with pytest.raises(BadRequest):
            catalog.collections.add_item(alice, *at(made), kind, "2311.12983")


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": ""},
        {"title": "  "},
        {"title": "x" * (TITLE_CHARS_MAX + 1)},
        {"title": "a\nb"},
        {"description": "x" * (DESCRIPTION_CHARS_MAX + 1)},
        {"description": "\0"},
        {"theme": "black"},
    ],
)
def test_texts_that_are_refused(catalog: Catalog, alice: Actor, wrong: dict[str, str]) -> None:
    made = catalog.collections.create(alice, "alice", "x" * TITLE_CHARS_MAX)
    with pytest.raises(BadRequest):
        catalog.collections.update(alice, *at(made), **wrong)  # type: ignore[arg-type]
    if "theme" not in wrong:
        with pytest.raises(BadRequest):
            catalog.collections.create(alice, "alice", **{"title": "y", **wrong})


def test_odd_names_are_not_found(catalog: Catalog, alice: Actor) -> None:
    rooms = catalog.collections
    made = filled(catalog, alice, 1)
    owner, slug = at(made)
    for place in ((owner, ""), (owner, "x"), ("bob", slug), (owner, "\0" * 24), ("a\0", slug)):
        with pytest.raises(NotFound):
            rooms.find(alice, *place)
    for item in ("", "\0", "0" * 24, "x" * 5000):
        with pytest.raises(NotFound):
            rooms.remove_item(alice, owner, slug, item)
    with pytest.raises(NotFound):
        rooms.create(alice, "nob\0dy", "t")
    with pytest.raises(BadRequest):
        rooms.add_item(alice, owner, slug, "collection", "no-slash")
    with pytest.raises(BadRequest):
        rooms.add_item(alice, owner, slug, "collection", made.full_slug)
    with pytest.raises(BadRequest):
        rooms.add_item(alice, owner, slug, "model", "alice/m0", "x" * (NOTE_CHARS_MAX + 1))
    assert rooms.find(OPERATOR, owner.upper(), slug.upper()).hub_id == made.hub_id
