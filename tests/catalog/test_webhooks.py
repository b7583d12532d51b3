"""Webhooks in the catalog: whose they are, what they hear, and that an event is told once."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from catalog_kit import again, commit, open_catalog, org, person, repo
from sqlalchemy import func, select, update

from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor, Scope
from headwater.catalog.catalog import Catalog
from headwater.catalog.clock import now_ms
from headwater.catalog.deliveries import Outcome, Ready
from headwater.catalog.outbox import DELIVERY_KEPT_S, EVENT_KEPT_S
from headwater.catalog.sealing import Sealer
from headwater.catalog.webhooks import (
    SECRET_CHARS_MAX,
    WATCHED_MAX,
    WEBHOOKS_PER_USER_MAX,
    Wanted,
    Watched,
    Webhook,
)
from headwater.errors import BadRequest, Corrupt, Forbidden, NotFound
from headwater.names import RepoId

BASE = "http://hub.example"
URL = "https://hooks.example/x"
DONE = Outcome(True, 200)


def hook(catalog: Catalog, actor: Actor, *watched: str, secret: str | None = None) -> Webhook:
    items = [Watched(*name.split(":")) for name in watched]  # type: ignore[arg-type]
    return catalog.webhooks.create(actor, Wanted(URL, items, None, secret), BASE)


def heard(catalog: Catalog, webhook: Webhook) -> list[Any]:
    """Everything that is told to it now, in order, each delivered."""
    catalog.outbox.dispatch()
    bodies = []
    while (ready := catalog.deliveries.next(webhook.id)) is not None:
        bodies.append(json.loads(ready.body))
        catalog.deliveries.settle(ready, DONE, 3600)
    return bodies


def brief(bodies: list[Any]) -> list[str]:
    return [
        f"{body['event']['action']} {body['event']['scope']} {body['repo']['name']}"
        for body in bodies
    ]


def settled(catalog: Catalog, webhook: Webhook, outcome: Outcome, give_up_s: int = 3600) -> Ready:
    ready = catalog.deliveries.next(webhook.id)
    assert ready is not None
    catalog.deliveries.settle(ready, outcome, give_up_s)
    return ready


def test_a_webhook_is_its_users_own(catalog: Catalog) -> None:
    """To anybody else, an admin included, it does not exist; in no verb."""
    ann, bob = person(catalog, "ann"), person(catalog, "bob")
    root = person(catalog, "root", admin=True)
    mine = hook(catalog, ann, "user:ann", secret="s")
    assert catalog.webhooks.list(ann) == [mine] == [catalog.webhooks.get(ann, mine.hub_id)]
    for other in (bob, root):
        assert catalog.webhooks.list(other) == []
        for attempt in (
            lambda who: catalog.webhooks.get(who, mine.hub_id),
            lambda who: catalog.webhooks.change(who, mine.hub_id, Wanted(URL), BASE),
            lambda who: catalog.webhooks.set_disabled(who, mine.hub_id, True),
            lambda who: catalog.webhooks.delete(who, mine.hub_id),
            lambda who: catalog.deliveries.page(who, mine.hub_id, 10),
            lambda who: catalog.deliveries.replay(who, mine.hub_id, "0" * 24),
        ):
            with pytest.raises(NotFound) as theirs:
                attempt(other)
            assert str(theirs.value) == f"You have no webhook '{mine.hub_id}'."
    catalog.webhooks.delete(ann, mine.hub_id)
    assert catalog.webhooks.list(ann) == []


def test_a_token_that_sees_less_than_its_user_has_no_webhooks(catalog: Catalog) -> None:
    ann = person(catalog, "ann")
    mine = hook(catalog, ann, "user:ann")
    reader = person(catalog, "ann", "read")
    fine = person(catalog, "ann", "fineGrained", Scope("user", "ann", ("repo.write",)))
    assert [one.id for one in catalog.webhooks.list(reader)] == [mine.id]
    with pytest.raises(Forbidden):
        catalog.webhooks.list(fine)
    for actor in (reader, fine):
        with pytest.raises(Forbidden):
            hook(catalog, actor, "user:ann")
        with pytest.raises(Forbidden):
            catalog.webhooks.delete(actor, mine.hub_id)


def test_limits(catalog: Catalog) -> None:
    ann = person(catalog, "ann")
    for wanted in (
        Wanted(URL, ()),
        Wanted(None, [Watched("user", "ann")]),
        Wanted(URL, [Watched("user", "a/b")]),
        Wanted(URL, [Watched("model", "alone")]),
        Wanted(URL, [Watched("model", "a/../b")]),
        Wanted(URL, [Watched("user", f"u{n}") for n in range(WATCHED_MAX + 1)]),
        Wanted(URL, [Watched("user", "ann")], ()),
        Wanted(URL, [Watched("user", "ann")], None, "x" * (SECRET_CHARS_MAX + 1)),
        Wanted(URL, [Watched("user", "ann")], None, "a\nb"),
        Wanted(URL, [Watched("user", "ann")], None, "é"),
        Wanted(URL, [Watched("user", "ann")], None, " a"),
    ):
        with pytest.raises(BadRequest):
            catalog.webhooks.create(ann, wanted, BASE)
    for _ in range(WEBHOOKS_PER_USER_MAX):
        hook(catalog, ann, "user:ann", "user:ANN")
    with pytest.raises(Forbidden, match="the most"):
        hook(catalog, ann, "user:ann")


def test_a_change_changes_what_it_names(catalog: Catalog) -> None:
    """Clients send `watched: []` when they mean something else."""
    ann = person(catalog, "ann")
    mine = hook(catalog, ann, "user:ann", "model:ann/m", secret="one")
    changed = catalog.webhooks.change(
        ann, mine.hub_id, Wanted(None, [], ["discussion"], "two"), "http://other.example"
    )
    assert (changed.url, changed.watched) == (mine.url, mine.watched)
    assert (changed.domains, changed.secret) == (("discussion",), "two")
    assert changed.base_url == "http://other.example"
    assert catalog.webhooks.change(ann, mine.hub_id, Wanted(secret=""), BASE).secret == ""


def test_the_database_does_not_tell_a_secret(catalog: Catalog, url: str) -> None:
    """Not in any column of any row; a hub with another key says that it does not open."""
    ann = person(catalog, "ann")
    mine = hook(catalog, ann, "user:ann", secret="hunter2hunter2")
    with catalog.db.read() as conn:
        for table in (so.webhook, s.audit, s.event):
            assert "hunter2" not in str(conn.execute(select(table)).all())
    other = Catalog.open(url, upload_ttl_s=1, secret=b"t" * 32)
    try:
        assert other.webhooks.get(ann, mine.hub_id).secret is None
    finally:
        other.close()


def test_a_sealed_text_opens_in_its_place_only() -> None:
    sealer = Sealer(b"k" * 32)
    sealed = sealer.seal("text", "here")
    assert sealer.open(sealed, "here") == "text"
    assert sealer.seal("text", "here") != sealed
    for text, place in ((sealed, "there"), (sealed[:-4] + "AAAA", "here"), ("", "here")):
        with pytest.raises(Corrupt):
            sealer.open(text, place)


def test_every_change_is_in_the_trail_once_and_without_the_url(catalog: Catalog) -> None:
    ann = person(catalog, "ann")
    mine = catalog.webhooks.create(
        ann, Wanted("https://h.example/?key=k3y", [Watched("user", "ann")]), BASE
    )
    catalog.webhooks.change(ann, mine.hub_id, Wanted(secret="s"), BASE)
    catalog.webhooks.set_disabled(ann, mine.hub_id, True)
    catalog.webhooks.set_disabled(ann, mine.hub_id, False)
    catalog.webhooks.delete(ann, mine.hub_id)
    with catalog.db.read() as conn:
        rows = conn.execute(select(s.audit).where(s.audit.c.action.like("webhook.%"))).all()
    words = ["create", "update", "disable", "enable", "delete"]
    assert [row.action for row in rows] == [f"webhook.{word}" for word in words]
    assert "k3y" not in str(rows)


def test_what_is_heard(catalog: Catalog) -> None:
    """Accounts with all they own, repos by name, old names after a move; nothing from before."""
    ann = person(catalog, "ann")
    before = repo(catalog, ann, "ann/before")
    account, one = hook(catalog, ann, "user:Ann"), hook(catalog, ann, "model:ann/BEFORE")
    data = hook(catalog, ann, "dataset:ann/before")
    assert heard(catalog, account) == [], "it was made later than the repo"
    repo(catalog, ann, "ann/other")
    commit(catalog, ann, before, {"a": b"1"})
    catalog.repos.set(ann, "model", "ann/before", gated="auto")
    catalog.repos.move(ann, "model", "ann/before", RepoId.parse("model", "ann/after"))
    catalog.repos.delete(ann, "model", "ann/after")
    mine = [
        "update repo.content ann/before",
        "update repo.config ann/before",
        "move repo ann/before",
        "delete repo ann/after",
    ]
    told = heard(catalog, account)
    assert brief(told) == ["create repo ann/other", *mine]
    assert brief(heard(catalog, one)) == mine
    assert heard(catalog, data) == []
    assert told[2]["updatedConfig"] == {"private": False, "gated": "auto"}
    assert told[3]["movedTo"]["name"] == "ann/after"
    assert told[3]["movedTo"]["owner"]["id"] == told[3]["repo"]["owner"]["id"] == ann.hub_id


def test_domains_are_kept_apart(catalog: Catalog) -> None:
    ann = person(catalog, "ann")
    talk = catalog.webhooks.create(ann, Wanted(URL, [Watched("user", "ann")], ["discussion"]), BASE)
    repo(catalog, ann, "ann/m")
    assert heard(catalog, talk) == []


@pytest.mark.parametrize("role", ["read", "contributor", "write", "admin"])
def test_rights_are_those_of_the_moment_of_telling(catalog: Catalog, role: str) -> None:
    """A member hears of a private repo; out of the organisation, or with the repo made private
    under them, they do not, of what happened before that either, nor see it in the list."""
    ann, bob, eve = (person(catalog, name) for name in ("ann", "bob", "eve"))
    org(catalog, "lab", ann="admin", bob=role)
    ann = again(catalog, ann)
    hooks = {who.name: hook(catalog, who, "org:lab") for who in (ann, bob, eve)}
    repo(catalog, ann, "lab/hidden", private=True)
    public = repo(catalog, ann, "lab/public")
    assert brief(heard(catalog, hooks["bob"])) == [
        "create repo lab/hidden",
        "create repo lab/public",
    ]
    assert brief(heard(catalog, hooks["eve"])) == ["create repo lab/public"]
    commit(catalog, ann, public, {"a": b"1"})
    catalog.outbox.dispatch()
    catalog.repos.set(ann, "model", "lab/public", private=True)
    catalog.accounts.set_role("lab", "bob", None)
    catalog.repos.delete(ann, "model", "lab/hidden")
    for name in ("bob", "eve"):
        assert heard(catalog, hooks[name]) == [], name
    now = {who.name: again(catalog, who) for who in (ann, bob, eve)}
    for name in ("bob", "eve"):
        assert catalog.deliveries.page(now[name], hooks[name].hub_id, 100) == [], name
    assert len(heard(catalog, hooks["ann"])) == 5


def test_a_deleted_user_hears_nothing(catalog: Catalog) -> None:
    ann, bob = person(catalog, "ann"), person(catalog, "bob")
    mine = hook(catalog, bob, "user:ann")
    repo(catalog, ann, "ann/m")
    catalog.outbox.dispatch()
    catalog.accounts.delete("bob")
    assert catalog.deliveries.next(mine.id) is None


def test_many_dispatchers_tell_an_event_once(catalog: Catalog) -> None:
    """Threads of one process, as processes do: by the one write transaction."""
    ann = person(catalog, "ann")
    mine = hook(catalog, ann, "user:ann")
    model = repo(catalog, ann, "ann/m")
    for number in range(20):
        catalog.refs.create_branch(ann, model, f"b{number}")
    threads = [threading.Thread(target=catalog.outbox.dispatch) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refs = [body["updatedRefs"][0]["ref"] for body in heard(catalog, mine)[1:]]
    assert refs == [f"refs/heads/b{number}" for number in range(20)]


def test_the_oldest_goes_first_and_the_others_wait(catalog: Catalog) -> None:
    ann = person(catalog, "ann")
    mine = hook(catalog, ann, "user:ann")
    repo(catalog, ann, "ann/a")
    repo(catalog, ann, "ann/b")
    catalog.outbox.dispatch()
    (due,) = catalog.deliveries.due()
    assert (due[0], due[2]) == (mine.id, 0)
    settled(catalog, mine, Outcome(False, 500, "answered 500", now_ms() + 60_000))
    assert catalog.deliveries.due() == [], "the second would overtake the first"
    assert catalog.deliveries.next(mine.id) is None
    repo(catalog, ann, "ann/c")
    catalog.outbox.dispatch()
    first = catalog.deliveries.page(ann, mine.hub_id, 10)[2]
    catalog.deliveries.replay(ann, mine.hub_id, first.hub_id)
    assert catalog.deliveries.due() == [], "a newer one would overtake the first"
    shown = catalog.deliveries.page(ann, mine.hub_id, 10)
    assert [(one.repo, one.attempts, one.error) for one in shown] == [
        ("ann/a", 0, None),
        ("ann/c", 0, None),
        ("ann/b", 0, None),
        ("ann/a", 1, "answered 500"),
    ]


def test_a_webhook_that_fails_for_long_is_switched_off(catalog: Catalog) -> None:
    """With the reason; what waits is failed. Switched on again it begins anew."""
    ann = person(catalog, "ann")
    mine = hook(catalog, ann, "user:ann")
    for name in ("a", "b", "c"):
        repo(catalog, ann, f"ann/{name}")
    catalog.outbox.dispatch()
    settled(catalog, mine, Outcome(False, 500, "answered 500"))
    assert not catalog.webhooks.get(ann, mine.hub_id).disabled
    with catalog.db.write() as conn:
        conn.execute(update(so.webhook).values(failing_since_ms=now_ms() - 4000_000))
    settled(catalog, mine, Outcome(False, 500, "answered 500"))
    off = catalog.webhooks.get(ann, mine.hub_id)
    assert off.disabled
    assert "4000 seconds" in (off.disabled_reason or "")
    states = {one.status for one in catalog.deliveries.page(ann, mine.hub_id, 10)}
    assert states == {"failed"}
    repo(catalog, ann, "ann/d")
    on = catalog.webhooks.set_disabled(ann, mine.hub_id, False)
    assert (on.disabled, on.disabled_reason) == (False, None)
    repo(catalog, ann, "ann/e")
    assert brief(heard(catalog, mine)) == ["create repo ann/e"]


def test_a_success_forgives(catalog: Catalog) -> None:
    ann = person(catalog, "ann")
    mine = hook(catalog, ann, "user:ann")
    for name in ("a", "b", "c"):
        repo(catalog, ann, f"ann/{name}")
    catalog.outbox.dispatch()
    settled(catalog, mine, Outcome(False, 404, "answered 404"))
    settled(catalog, mine, DONE)
    with catalog.db.read() as conn:
        row = conn.execute(select(so.webhook)).one()
    assert (row.failures, row.failing_since_ms) == (0, None)


def test_a_retry_says_what_the_first_attempt_said(catalog: Catalog) -> None:
    ann = person(catalog, "ann")
    mine = hook(catalog, ann, "user:ann")
    model = repo(catalog, ann, "ann/m")
    catalog.outbox.dispatch()
    first = settled(catalog, mine, Outcome(False, 500, "answered 500", now_ms()))
    commit(catalog, ann, model, {"a": b"1"})
    second = catalog.deliveries.next(mine.id)
    assert second is not None
    assert (second.body, second.hub_id, second.attempts) == (first.body, first.hub_id, 1)


def test_old_events_and_deliveries_are_forgotten(catalog: Catalog) -> None:
    """What waits is not, however old."""
    ann = person(catalog, "ann")
    mine = hook(catalog, ann, "user:ann")
    for name in ("a", "b"):
        repo(catalog, ann, f"ann/{name}")
    catalog.outbox.dispatch()
    settled(catalog, mine, DONE)
    repo(catalog, ann, "ann/c")

    def count() -> tuple[int, int]:
        with catalog.db.read() as conn:
            events = conn.execute(select(func.count()).select_from(s.event)).scalar_one()
            rows = select(func.count()).select_from(so.webhook_delivery)
            return events, conn.execute(rows).scalar_one()

    catalog.outbox.forget()
    assert count() == (3, 2)
    long_ago = now_ms() - max(EVENT_KEPT_S, DELIVERY_KEPT_S) * 1000 - 1
    with catalog.db.write() as conn:
        taken = s.event.c.done_ms.is_not(None)
        conn.execute(update(s.event).where(taken).values(done_ms=long_ago))
        conn.execute(update(s.event).values(at_ms=long_ago))
        conn.execute(update(so.webhook_delivery).values(updated_ms=long_ago))
    catalog.outbox.forget()
    assert count() == (1, 1)


def test_a_second_catalog_sees_the_same(catalog: Catalog, url: str) -> None:
    """Two processes: one dispatches, the other delivers."""
    ann = person(catalog, "ann")
    mine = hook(catalog, ann, "user:ann", secret="s")
    repo(catalog, ann, "ann/m")
    catalog.outbox.dispatch()
    other = open_catalog(url)
    try:
        assert brief(heard(other, mine)) == ["create repo ann/m"]
    finally:
        other.close()
    assert heard(catalog, mine) == []


def test_every_body_is_one_that_the_client_takes(catalog: Catalog) -> None:
    """huggingface_hub's own model of the payload parses each, discussions and comments included."""
    pytest.importorskip("pydantic")
    from huggingface_hub import WebhookPayload

    ann = person(catalog, "ann")
    mine = hook(catalog, ann, "user:ann")
    model = repo(catalog, ann, "ann/m")
    data = repo(catalog, ann, "ann/d", "dataset")
    commit(catalog, ann, model, {"a": b"1"})
    talk = catalog.discussions
    num = talk.open(ann, data, "<b>", "why?")
    talk.comment(ann, data, num, "hi")
    catalog.repos.set(ann, "model", "ann/m", private=True)
    catalog.repos.move(ann, "model", "ann/m", RepoId.parse("model", "ann/n"))
    catalog.repos.delete(ann, "model", "ann/n")
    bodies = heard(catalog, mine)
    for body in bodies:
        parsed = WebhookPayload.model_validate(body)
        assert parsed.webhook.id == mine.hub_id
    (told,) = [b for b in bodies if b.get("comment", {}).get("content") == "hi"]
    place = f"{BASE}/datasets/ann/d/discussions/{num}"
    assert told["comment"]["url"] == {"web": f"{place}#{told['comment']['id']}"}
    assert told["discussion"]["url"] == {
        "web": place,
        "api": f"{BASE}/api/datasets/ann/d/discussions/{num}",
    }
    assert (told["discussion"]["title"], told["discussion"]["isPullRequest"]) == ("<b>", False)


def test_a_comment_hidden_since_is_told_of_without_its_text(catalog: Catalog) -> None:
    """What was written in anger and taken back within a second goes to nobody."""
    ann = person(catalog, "ann")
    mine = hook(catalog, ann, "user:ann")
    model = repo(catalog, ann, "ann/m")
    num = catalog.discussions.open(ann, model, "a title", "the description")
    said = catalog.discussions.comment(ann, model, num, "a secret")
    catalog.discussions.hide(ann, model, num, said.id)
    bodies = heard(catalog, mine)
    assert "a secret" not in json.dumps(bodies)
    assert [b["comment"]["hidden"] for b in bodies if b.get("comment", {}).get("id") == said.id]


def test_a_public_url_of_the_settings_comes_first(catalog: Catalog) -> None:
    ann = person(catalog, "ann")
    mine = hook(catalog, ann, "user:ann")
    repo(catalog, ann, "ann/m")
    catalog.outbox.dispatch()
    ready = catalog.deliveries.next(mine.id, "https://public.example/hub/")
    assert ready is not None
    assert json.loads(ready.body)["repo"]["url"]["web"] == "https://public.example/hub/ann/m"


def test_many_that_fail_do_not_hide_one_that_is_due(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much waits behind failures, it takes no place among what is due."""
    monkeypatch.setattr("headwater.catalog.deliveries.DUE_MAX", 3)
    ann, bob = person(catalog, "ann"), person(catalog, "bob")
    failing = [hook(catalog, ann, "user:ann") for _ in range(5)]
    for name in ("a", "b", "c"):
        repo(catalog, ann, f"ann/{name}")
    catalog.outbox.dispatch()
    for one in failing:
        settled(catalog, one, Outcome(False, 500, "answered 500", now_ms() + 60_000))
    repo(catalog, ann, "ann/d")
    healthy = hook(catalog, bob, "user:bob")
    repo(catalog, bob, "bob/m")
    catalog.outbox.dispatch()
    assert [row[0] for row in catalog.deliveries.due()] == [healthy.id]


def test_replays_do_not_pile_up(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.catalog.deliveries.REPLAYS_WAITING_MAX", 3)
    ann = person(catalog, "ann")
    mine = hook(catalog, ann, "user:ann")
    repo(catalog, ann, "ann/a")
    catalog.outbox.dispatch()
    sent = settled(catalog, mine, DONE)
    for _ in range(3):
        catalog.deliveries.replay(ann, mine.hub_id, sent.hub_id)
    with pytest.raises(Forbidden, match="wait already"):
        catalog.deliveries.replay(ann, mine.hub_id, sent.hub_id)


def test_a_webhook_far_behind_hears_of_no_more(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver that is down for days does not fill the database."""
    monkeypatch.setattr("headwater.catalog.outbox.WAITING_MAX", 3)
    ann = person(catalog, "ann")
    mine = hook(catalog, ann, "user:ann")
    for name in ("a", "b", "c", "d", "e"):
        repo(catalog, ann, f"ann/{name}")
    assert [body["repo"]["name"] for body in heard(catalog, mine)] == ["ann/a", "ann/b", "ann/c"]
