"""What discussions leave behind: commits noted in them, audit rows, events for webhooks."""

import msgspec
import pytest
from catalog_kit import changes, commit
from sqlalchemy import select

from headwater.catalog import discussion_events as log
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.catalog import Catalog
from headwater.catalog.commits import Plan
from headwater.catalog.models import Repo
from headwater.errors import Conflict, Forbidden


def kinds(catalog: Catalog, home: Repo, num: int) -> list[str]:
    return [event.kind for event in catalog.discussions.events(home, num)]


def test_commits_of_a_pull_request_are_noted(catalog: Catalog, bob: Actor, home: Repo) -> None:
    num = catalog.pull_requests.draft(bob, home, "Propose", "because")
    one = catalog.discussions.find(home, num)
    assert (one.status, one.is_pr, one.target_ref) == ("draft", True, "refs/heads/main")
    assert catalog.refs.resolve(home, f"refs/pr/{num}").commit == catalog.refs.head(home)
    made = commit(catalog, bob, home, {"a": b"1"}, "first\nmore", revision=f"refs/pr/{num}")
    *_, noted = catalog.discussions.events(home, num)
    assert (noted.kind, noted.details.oid) == ("commit", made.oid)
    catalog.discussions.set_status(bob, home, num, "open")
    catalog.discussions.set_status(bob, home, num, "closed")
    with pytest.raises(Forbidden):
        commit(catalog, bob, home, {"a": b"2"}, revision=f"refs/pr/{num}")
    assert catalog.refs.resolve(home, f"refs/pr/{num}").commit == made.oid


def test_a_commit_with_a_description_opens_with_it(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo
) -> None:
    files = changes(catalog, home, {"a": b"1"})
    plan = Plan("main", files, "title", "because", create_pr=True)
    assert catalog.commits.apply(bob, home, plan).pr == 1
    first, second = catalog.discussions.events(home, 1)
    assert (first.kind, first.content, second.kind) == ("comment", "because", "commit")
    assert catalog.commits.apply(bob, home, plan).pr == 1  # a retry opens no second one
    assert len(catalog.discussions.events(home, 1)) == 2
    catalog.discussions.set_status(bob, home, 1, "closed")
    with pytest.raises(Conflict, match="closed"):
        commit(catalog, alice, home, {"a": b"2"}, revision="refs/pr/1")


def test_a_summary_makes_a_title_whatever_it_is(catalog: Catalog, bob: Actor, home: Repo) -> None:
    for summary, title in (
        ("\u202eevil\n\nand  more", "evil and more"),
        ("x" * 500, "x" * 200),
        ("\t", "Pull request"),
    ):
        num = commit(catalog, bob, home, {"a": summary.encode()}, summary, create_pr=True).pr
        assert num is not None
        assert catalog.discussions.find(home, num).title == title
        assert catalog.discussions.events(home, num)[-1].details.subject == title


def payloads(catalog: Catalog) -> list[dict[str, dict[str, object]]]:
    query = select(s.event.c.payload).order_by(s.event.c.id)
    with catalog.db.read() as conn:
        return [msgspec.json.decode(text) for text in conn.execute(query).scalars()]


def test_one_audit_row_and_the_events_of_webhooks(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo
) -> None:
    talk = catalog.discussions
    num = talk.open(bob, home, "title", "text")
    said = talk.comment(bob, home, num, "hello").id

    def noted(change: object) -> tuple[list[str], list[str]]:
        def rows() -> tuple[list[str], list[str]]:
            with catalog.db.read() as conn:
                a = conn.execute(select(s.audit.c.action).order_by(s.audit.c.id)).scalars().all()
                e = conn.execute(select(s.event.c.scope, s.event.c.action).order_by(s.event.c.id))
                return list(a), [" ".join(row) for row in e]

        before = rows()
        change()  # type: ignore[operator]
        after = rows()
        return after[0][len(before[0]) :], after[1][len(before[1]) :]

    comment = "discussion.comment"
    assert noted(lambda: talk.open(bob, home, "other", "text")) == (
        ["discussion.open"], ["discussion create"]
    )  # fmt: skip
    assert noted(lambda: talk.comment(bob, home, num, "x")) == (
        [comment], [f"{comment} create"]
    )  # fmt: skip
    assert noted(lambda: talk.edit(bob, home, num, said, "y")) == (
        ["discussion.edit"], [f"{comment} update"]
    )  # fmt: skip
    assert noted(lambda: talk.rename(bob, home, num, "renamed")) == (
        ["discussion.title"], ["discussion update"]
    )  # fmt: skip
    assert noted(lambda: talk.set_status(bob, home, num, "closed", "bye")) == (
        ["discussion.status"], [f"{comment} create", "discussion update"]
    )  # fmt: skip
    assert noted(lambda: talk.hide(bob, home, num, said)) == (
        ["discussion.hide"], [f"{comment} update"]
    )  # fmt: skip
    assert noted(lambda: talk.hide(bob, home, num, said)) == ([], [])
    assert noted(lambda: catalog.pull_requests.draft(bob, home, "propose", "")) == (
        ["discussion.open"], ["discussion create", "repo.content update"]
    )  # fmt: skip
    opened = next(p for p in payloads(catalog) if "discussion" in p)
    assert opened["discussion"] == {
        "id": log.hub_id(home, num), "num": num, "title": "title", "status": "open",
        "isPullRequest": False, "author": {"id": bob.hub_id},
    }  # fmt: skip
    assert opened["comment"]["content"] == "text"
    assert opened["comment"]["author"] == {"id": bob.hub_id}
    assert opened["repo"]["name"] == "alice/m"


def test_the_outbox_is_not_told_what_is_hidden(catalog: Catalog, bob: Actor, home: Repo) -> None:
    num = catalog.discussions.open(bob, home, "title", "secret")
    catalog.discussions.hide(bob, home, num, catalog.discussions.events(home, num)[0].id)
    *_, told = payloads(catalog)
    assert told["comment"]["hidden"] is True
    assert "secret" not in str(told)
