"""What people say about repos: who may, what stays, and what nobody else gets to read."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from catalog_kit import commit, org, person, repo
from sqlalchemy import delete, func, select

from headwater.catalog import discussion_events as log
from headwater.catalog import discussions as room
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import ANONYMOUS, Actor, Scope
from headwater.catalog.catalog import Catalog
from headwater.catalog.discussions import PAGE_ROWS, shown_to
from headwater.catalog.models import Repo
from headwater.errors import BadRequest, Conflict, Forbidden, HeadwaterError, NotFound

NUL_AND_LONG = ["a\0b", "x" * 65_537]


@pytest.fixture
def carol(catalog: Catalog) -> Actor:
    """A stranger to both."""
    return person(catalog, "carol")


def kinds(catalog: Catalog, home: Repo, num: int) -> list[str]:
    return [event.kind for event in catalog.discussions.events(home, num)]


def test_a_talk_from_its_opening_to_its_end(
    catalog: Catalog, alice: Actor, bob: Actor, carol: Actor, home: Repo
) -> None:
    talk = catalog.discussions
    num = talk.open(bob, home, "  It does\nnot load ", "Why?")
    one = talk.find(home, num)
    assert (one.title, one.status, one.is_pr, one.author.name) == (
        "It does not load", "open", False, "bob"
    )  # fmt: skip
    reply = talk.comment(carol, home, num, "Same here")
    renamed = talk.rename(alice, home, num, "Does not load")
    assert (renamed.details.old, renamed.details.new) == ("It does not load", "Does not load")
    closed = talk.set_status(bob, home, num, "closed", "Found it")
    assert closed.details.status == "closed"
    assert kinds(catalog, home, num) == [
        "comment", "comment", "title-change", "comment", "status-change"
    ]  # fmt: skip
    first, second, *_ = talk.events(home, num)
    assert (first.content, first.author.name) == ("Why?", "bob")
    assert second == reply
    assert [e.created_ms for e in talk.events(home, num)] == sorted(
        e.created_ms for e in talk.events(home, num)
    )
    assert talk.find(home, num).title == "Does not load"
    with pytest.raises(Conflict, match="closed already"):
        talk.set_status(bob, home, num, "closed")
    talk.set_status(alice, home, num, "open")
    assert talk.find(home, num).status == "open"


def test_who_may_do_what(
    catalog: Catalog, alice: Actor, bob: Actor, carol: Actor, home: Repo
) -> None:
    talk = catalog.discussions
    num = talk.open(bob, home, "title", "text")
    mine = talk.events(home, num)[0].id
    reader = person(catalog, "bob", "read")
    elsewhere = person(catalog, "bob", "fineGrained", Scope("model", "bob/x", ("repo.write",)))
    for actor in (ANONYMOUS, reader, elsewhere):
        for change in (
            lambda a: talk.open(a, home, "title", ""),
            lambda a: talk.comment(a, home, num, "x"),
            lambda a: talk.rename(a, home, num, "other"),
            lambda a: talk.set_status(a, home, num, "closed"),
            lambda a: talk.edit(a, home, num, mine, "x"),
            lambda a: talk.hide(a, home, num, mine),
            lambda a: catalog.pull_requests.draft(a, home, "title", ""),
        ):
            with pytest.raises(HeadwaterError) as refused:
                change(actor)
            assert refused.value.status in (401, 403)
    for strange in (
        lambda: talk.rename(carol, home, num, "other"),
        lambda: talk.set_status(carol, home, num, "closed"),
        lambda: talk.edit(carol, home, num, mine, "x"),
        lambda: talk.edit(alice, home, num, mine, "x"),  # not even the repo's owner
        lambda: talk.hide(carol, home, num, mine),
    ):
        with pytest.raises(Forbidden):
            strange()
    scoped = person(catalog, "bob", "fineGrained", Scope("model", "alice/m", ("repo.write",)))
    talk.rename(scoped, home, num, "mine")
    talk.set_status(alice, home, num, "closed")
    with pytest.raises(Forbidden, match="closed"):
        talk.comment(carol, home, num, "still")
    talk.comment(bob, home, num, "its author may")
    talk.comment(alice, home, num, "and the owner")


def test_private_is_missing(catalog: Catalog, alice: Actor, bob: Actor, home: Repo) -> None:
    """From every door the same words as for a repo that never was."""
    talk = catalog.discussions
    num = talk.open(bob, home, "title", "text")
    event = talk.events(home, num)[0].id

    def heard() -> list[tuple[type, str]]:
        answers = []
        for change in (
            lambda: talk.open(bob, home, "title", ""),
            lambda: talk.comment(bob, home, num, "x"),
            lambda: talk.comment(bob, home, 77, "x"),
            lambda: talk.rename(bob, home, num, "other"),
            lambda: talk.set_status(bob, home, num, "closed"),
            lambda: talk.edit(bob, home, num, event, "x"),
            lambda: talk.hide(bob, home, num, event),
            lambda: catalog.pull_requests.draft(bob, home, "title", ""),
            lambda: catalog.merging.merge(bob, home, num),
        ):
            with pytest.raises(NotFound) as refused:
                change()
            answers.append((type(refused.value), refused.value.message))
        return answers

    catalog.repos.set(alice, "model", "alice/m", private=True)
    private = heard()
    catalog.repos.delete(alice, "model", "alice/m")
    assert heard() == private
    assert len(set(private)) == 1


def test_edits_keep_what_was_said_before(catalog: Catalog, bob: Actor, home: Repo) -> None:
    talk = catalog.discussions
    num = talk.open(bob, home, "title", "")
    assert talk.events(home, num) == []  # no words, no comment
    said = talk.comment(bob, home, num, "one")
    talk.edit(bob, home, num, said.id, "two")
    now = talk.edit(bob, home, num, said.id, "three")
    assert now.content == "three"
    assert [past.raw for past in now.details.history] == ["one", "two"]
    assert now.details.history[0].at_ms == said.created_ms
    assert now.created_ms == said.created_ms
    assert now.edited_ms is not None
    assert talk.events(home, num) == [now]


def test_edits_have_a_limit(
    catalog: Catalog, bob: Actor, home: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    num = catalog.discussions.open(bob, home, "title", "text")
    id = catalog.discussions.events(home, num)[0].id
    monkeypatch.setattr(room, "EDITS_MAX", 2)
    for text in ("two", "three"):
        catalog.discussions.edit(bob, home, num, id, text)
    with pytest.raises(Conflict, match="at most 2 times"):
        catalog.discussions.edit(bob, home, num, id, "four")


def test_what_is_hidden_is_for_its_author_and_writers(
    catalog: Catalog, alice: Actor, bob: Actor, carol: Actor, home: Repo
) -> None:
    talk = catalog.discussions
    num = talk.open(bob, home, "title", "secret")
    id = talk.events(home, num)[0].id
    hidden = talk.hide(alice, home, num, id)
    assert hidden.hidden
    assert talk.hide(bob, home, num, id) == hidden
    with pytest.raises(Conflict, match="hidden"):
        talk.edit(bob, home, num, id, "again")
    assert [shown_to(a, home, hidden) for a in (alice, bob, carol, ANONYMOUS)] == [
        True, True, False, False
    ]  # fmt: skip
    renamed = talk.rename(bob, home, num, "other")
    with pytest.raises(NotFound):
        talk.hide(bob, home, num, renamed.id)  # an event that is no comment
    for wrong in ("0" * 24, "", "x\0y", "é"):
        with pytest.raises(NotFound):
            talk.hide(bob, home, num, wrong)


def test_an_event_is_found_in_its_own_discussion_only(
    catalog: Catalog, bob: Actor, home: Repo
) -> None:
    talk = catalog.discussions
    one, other = (talk.open(bob, home, "title", "text") for _ in range(2))
    elsewhere = repo(catalog, bob, "bob/m")
    talk.open(bob, elsewhere, "title", "text")
    id = talk.events(home, one)[0].id
    for where, num in ((home, other), (elsewhere, 1)):
        with pytest.raises(NotFound):
            talk.edit(bob, where, num, id, "x")


def test_listing_filters_and_counts_what_matches(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo
) -> None:
    talk = catalog.discussions
    for who, title in ((alice, "one"), (bob, "two"), (bob, "three")):
        talk.open(who, home, title, "")
    draft = catalog.pull_requests.draft(bob, home, "four", "")
    commit(catalog, alice, home, {"a": b"1"}, "five", create_pr=True)
    commit(catalog, alice, home, {"b": b"1"}, "six", create_pr=True)
    talk.set_status(alice, home, 1, "closed")
    catalog.merging.merge(alice, home, 5)

    def found(**filters: str) -> list[int]:
        count, page = talk.page(home, 0, **filters)
        assert count == len(page)
        return [one.num for one in page]

    assert found() == [6, 5, 4, 3, 2, 1]
    assert found(type="discussion") == [3, 2, 1]
    assert found(type="pull_request") == [6, 5, 4]
    assert found(status="open") == [6, draft, 3, 2]
    assert found(status="closed") == [5, 1]
    assert found(author="BOB") == [4, 3, 2]
    assert found(author="nobody") == found(author="bob\0") == []
    assert found(author="alice", type="pull_request", status="closed") == [5]
    for wrong in ({"type": "x"}, {"status": "merged"}, {"status": "drop table"}):
        with pytest.raises(BadRequest):
            talk.page(home, 0, **wrong)


def test_pages(catalog: Catalog, bob: Actor, home: Repo) -> None:
    for number in range(PAGE_ROWS + 3):
        catalog.discussions.open(bob, home, f"title {number}", "")
    pages = [catalog.discussions.page(home, n, author="bob") for n in range(3)]
    assert [count for count, _ in pages] == [PAGE_ROWS + 3] * 3
    nums = [one.num for _, page in pages for one in page]
    assert nums == list(range(PAGE_ROWS + 3, 0, -1))


@pytest.mark.parametrize(
    "title", ["", "ab", "   a   ", "x" * 201, "a\0b", "abc\u202edef", "a\x1bb"]
)
def test_titles_that_are_refused(catalog: Catalog, bob: Actor, home: Repo, title: str) -> None:
    for opens in (catalog.discussions.open, catalog.pull_requests.draft):
        with pytest.raises(BadRequest, match="title"):
            opens(bob, home, title, "")
    num = catalog.discussions.open(bob, home, "fine", "")
    with pytest.raises(BadRequest):
        catalog.discussions.rename(bob, home, num, title)


@pytest.mark.parametrize("text", [*NUL_AND_LONG, "", "  \n"], ids=["nul", "long", "empty", "blank"])
def test_texts_that_are_refused(catalog: Catalog, bob: Actor, home: Repo, text: str) -> None:
    num = catalog.discussions.open(bob, home, "title", "text")
    id = catalog.discussions.events(home, num)[0].id
    with pytest.raises(BadRequest):
        catalog.discussions.comment(bob, home, num, text)
    with pytest.raises(BadRequest):
        catalog.discussions.edit(bob, home, num, id, text)
    if text.strip():
        with pytest.raises(BadRequest):
            catalog.discussions.open(bob, home, "title", text)
        with pytest.raises(BadRequest):
            catalog.discussions.set_status(bob, home, num, "closed", text)
        assert catalog.discussions.find(home, num).status == "open"
    assert len(catalog.discussions.events(home, num)) == 1


def test_a_discussion_is_one_reply_and_so_has_an_end(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(catalog, bob, home, {"a": b"1"}, "title", create_pr=True)
    monkeypatch.setattr(log, "EVENTS_MAX", 3)
    for _ in range(2):
        catalog.discussions.comment(bob, home, 1, "x")
    with pytest.raises(Conflict, match="full"):
        catalog.discussions.comment(bob, home, 1, "x")
    commit(catalog, bob, home, {"b": b"1"}, revision="refs/pr/1")  # the commit is what counts
    assert len(catalog.discussions.events(home, 1)) == 3
    monkeypatch.setattr(log, "EVENTS_MAX", 100)
    monkeypatch.setattr(log, "CHARS_MAX", 5_000)
    with pytest.raises(Conflict, match="full"):
        catalog.discussions.comment(bob, home, 1, "x" * 5_000)
    monkeypatch.setattr(log, "CHARS_MAX", 0)
    catalog.merging.merge(alice, home, 1)  # a long talk is not in the way of what it is about
    assert kinds(catalog, home, 1)[-1] == "status-change"


def test_numbers_are_given_once(catalog: Catalog, bob: Actor, home: Repo) -> None:
    """Many at one moment: each gets a number of its own, with none left out."""
    with ThreadPoolExecutor(6) as threads:
        opens = [
            threads.submit(catalog.discussions.open, bob, home, f"title {n}", "text")
            for n in range(12)
        ]
        assert sorted(o.result() for o in opens) == list(range(1, 13))
    for num in range(1, 13):
        assert len(catalog.discussions.events(home, num)) == 1


def test_a_deleted_user_leaves_words_without_a_name(
    catalog: Catalog, bob: Actor, home: Repo
) -> None:
    num = catalog.discussions.open(bob, home, "title", "text")
    catalog.accounts.delete("bob")
    assert catalog.discussions.find(home, num).author.name == "deleted"
    assert catalog.discussions.events(home, num)[0].author.name == "deleted"
    assert catalog.discussions.page(home, 0, author="bob") == (0, [])


def test_a_writer_of_an_organisation_rules_its_discussions(catalog: Catalog, bob: Actor) -> None:
    dana = person(catalog, "dana")
    org(catalog, "lab", dana="write", bob="read")
    dana, bob = (catalog.tokens.actor_of(a.user_id or 0, "write") for a in (dana, bob))
    home = repo(catalog, dana, "lab/m", private=True)
    num = catalog.discussions.open(bob, home, "title", "text")  # a reader may speak
    catalog.discussions.rename(dana, home, num, "better")
    with pytest.raises(Forbidden):
        catalog.merging.merge(bob, home, num)


def test_nothing_of_a_discussion_outlives_its_repo(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo
) -> None:
    catalog.discussions.open(bob, home, "title", "text")
    with catalog.db.write() as conn:
        conn.execute(delete(s.repo).where(s.repo.c.id == home.id))
        assert conn.execute(select(func.count()).select_from(so.discussion_event)).scalar() == 0
    assert alice.name == "alice"
