"""Webhooks end to end: a live hub of two processes, a real receiver on loopback."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from live import LiveHub
from receiver import Receiver, Reply, receiver

SETTINGS = 'outbound_allow = "127.0.0.1"\nwebhook_retry_s = 0.5\nwebhook_give_up_s = 3600\n'


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHub]:
    """Two worker processes, allowed to call 127.0.0.1, quick to try again."""
    live = LiveHub(tmp_path_factory.mktemp("webhooks"))
    live.data.mkdir()
    (live.data / "headwater.toml").write_text(SETTINGS)
    live.start(workers=2)
    try:
        yield live
    finally:
        live.kill()


@pytest.fixture
def got() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def ask(hub: LiveHub, token: str, method: str, path: str, body: Any = None) -> Any:
    sent = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(hub.url + path, sent, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.loads(reply.read() or b"null")


def refused(hub: LiveHub, token: str, method: str, path: str, body: Any = None) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(hub, token, method, path, body)
    return caught.value.code, caught.value.read().decode()


def watch(hub: LiveHub, token: str, url: str, *names: str, **more: Any) -> str:
    watched = [dict(zip(("type", "name"), name.split(":"), strict=True)) for name in names]
    body = {"url": url, "watched": watched, "domains": ["repo", "discussion"], **more}
    return str(ask(hub, token, "POST", "/api/settings/webhooks", body)["webhook"]["id"])


def make(hub: LiveHub, token: str, name: str, *, private: bool = False) -> None:
    ask(hub, token, "POST", "/api/repos/create", {"name": name, "private": private})


def branch(hub: LiveHub, token: str, full: str, name: str) -> None:
    ask(hub, token, "POST", f"/api/models/{full}/branch/{name}", {})


def deliveries(hub: LiveHub, token: str, hook: str) -> Any:
    return ask(hub, token, "GET", f"/api/settings/webhooks/{hook}/deliveries")


def test_a_new_repo_is_told_with_a_signature_that_holds(hub: LiveHub, got: Receiver) -> None:
    """The payload of version 3, the secret as Hugging Face sends it, and a signature beside it."""
    ann = hub.token("ann")
    hook = watch(hub, ann, got.url, "user:ann", secret="s3cret")
    make(hub, ann, "told")
    told = got.wait_for(1)[0]
    assert told.headers["x-webhook-secret"] == "s3cret"
    wanted = hmac.new(b"s3cret", told.body, hashlib.sha256).hexdigest()
    assert told.headers["x-headwater-signature"] == f"sha256={wanted}"
    body = told.json
    assert body["event"] == {"action": "create", "scope": "repo"}
    assert body["webhook"] == {"id": hook, "version": 3}
    repo = body["repo"]
    assert (repo["type"], repo["name"], repo["private"]) == ("model", "ann/told", False)
    assert repo["url"] == {"web": f"{hub.url}/ann/told", "api": f"{hub.url}/api/models/ann/told"}
    info = ask(hub, ann, "GET", "/api/models/ann/told")
    assert repo["headSha"] == info["sha"]
    assert repo["id"] == info["_id"]
    rows = deliveries(hub, ann, hook)
    assert [(row["id"], row["status"], row["replyStatus"]) for row in rows] == [
        (told.delivery, "delivered", 200)
    ]


def test_order_holds_and_failures_are_tried_again(hub: LiveHub, got: Receiver) -> None:
    """While the receiver is down nothing overtakes; each event arrives, each under one id."""
    bob = hub.token("bob")
    make(hub, bob, "ordered")
    hook = watch(hub, bob, got.url, "model:bob/ordered")
    got.replies += [Reply(500), Reply(503), Reply(429, {"Retry-After": "1"})]
    for number in range(8):
        branch(hub, bob, "bob/ordered", f"b{number}")
    came = got.wait_for(11)
    assert len({one.delivery for one in came[:4]}) == 1, "another went before the one that failed"
    refs = [one.json["updatedRefs"][0]["ref"] for one in came[3:]]
    assert refs == [f"refs/heads/b{number}" for number in range(8)]
    assert came[3].at_s - came[2].at_s >= 1, "Retry-After was not honoured"
    assert came[1].at_s - came[0].at_s >= 0.3
    assert {one.body for one in came[:4]} == {came[0].body}, "a retry says the same"
    time.sleep(2.5)
    assert len(got.requests) == 11, "something was told twice"
    rows = deliveries(hub, bob, hook)
    assert [row["attempts"] for row in rows] == [1] * 7 + [4]


def test_nobody_hears_of_what_they_may_not_see(hub: LiveHub, got: Receiver) -> None:
    """A stranger who watches an account hears of its public repos alone; made private between
    the event and its telling, a repo is not told of, nor listed."""
    cat, spy = hub.token("cat"), hub.token("spy")
    make(hub, cat, "open")
    with receiver() as owner:
        watch(hub, cat, owner.url, "user:cat")
        hook = watch(hub, spy, got.url, "user:cat", "model:cat/hidden", "model:cat/open")
        make(hub, cat, "hidden", private=True)
        branch(hub, cat, "cat/hidden", "b")
        branch(hub, cat, "cat/open", "seen")
        owner.wait_for(3)
        assert got.wait_for(1)[0].json["repo"]["name"] == "cat/open"
        got.replies.append(Reply(500))
        branch(hub, cat, "cat/open", "late")
        got.wait_for(2)
        ask(hub, cat, "PUT", "/api/models/cat/open/settings", {"private": True})
        owner.wait_for(5)
        time.sleep(3)
    assert len(got.requests) == 2, "told of a repo that is private now"
    assert deliveries(hub, spy, hook) == []
    assert b"hidden" not in b"".join(one.body for one in got.requests)


def test_what_is_refused_is_not_tried_again(hub: LiveHub, got: Receiver) -> None:
    """A redirect is not followed, a 404 is an answer; replay sends the same body anew."""
    dan = hub.token("dan")
    make(hub, dan, "m")
    hook = watch(hub, dan, got.url, "model:dan/m")
    got.replies += [Reply(302, {"Location": got.url}), Reply(404)]
    branch(hub, dan, "dan/m", "a")
    branch(hub, dan, "dan/m", "b")
    first, second = got.wait_for(2)
    time.sleep(2)
    rows = deliveries(hub, dan, hook)
    assert [(row["status"], row["replyStatus"]) for row in rows] == [
        ("failed", 404),
        ("failed", 302),
    ]
    assert "redirect" in rows[1]["error"]
    ask(hub, dan, "POST", f"/api/settings/webhooks/{hook}/replay/{second.delivery}")
    third = got.wait_for(3)[2]
    assert third.body == second.body
    assert third.delivery not in (first.delivery, second.delivery)


def test_a_move_is_told_under_the_old_name(hub: LiveHub, got: Receiver) -> None:
    """Who watches the old name hears of the move, and of what happens later under the new one."""
    eve = hub.token("eve")
    make(hub, eve, "before")
    watch(hub, eve, got.url, "model:eve/before")
    ask(hub, eve, "POST", "/api/repos/move", {
        "fromRepo": "eve/before", "toRepo": "eve/after", "type": "model"})  # fmt: skip
    branch(hub, eve, "eve/after", "b")
    moved, later = (one.json for one in got.wait_for(2))
    assert moved["event"] == {"action": "move", "scope": "repo"}
    assert moved["repo"]["name"] == "eve/before"
    assert moved["movedTo"]["name"] == "eve/after"
    assert moved["movedTo"]["owner"] == moved["repo"]["owner"]
    assert later["repo"]["name"] == "eve/after"
    ask(hub, eve, "DELETE", "/api/repos/delete", {"name": "after"})
    gone = got.wait_for(3)[2].json
    assert gone["event"] == {"action": "delete", "scope": "repo"}


def test_switched_off_means_silent(hub: LiveHub, got: Receiver) -> None:
    fay = hub.token("fay")
    make(hub, fay, "m")
    hook = watch(hub, fay, got.url, "model:fay/m")
    assert ask(hub, fay, "POST", f"/api/settings/webhooks/{hook}/disable")["webhook"]["disabled"]
    branch(hub, fay, "fay/m", "unheard")
    time.sleep(2.5)
    ask(hub, fay, "POST", f"/api/settings/webhooks/{hook}/enable")
    branch(hub, fay, "fay/m", "heard")
    assert got.wait_for(1)[0].json["updatedRefs"][0]["ref"] == "refs/heads/heard"
    ask(hub, fay, "DELETE", f"/api/settings/webhooks/{hook}")
    branch(hub, fay, "fay/m", "unheard2")
    time.sleep(2.5)
    assert len(got.requests) == 1


@pytest.mark.crash
def test_killed_in_the_middle_everything_is_told(hub: LiveHub, got: Receiver) -> None:
    """SIGKILL to all processes while a delivery is on its way: after the restart each event is
    told, in order; what is told twice has the same delivery id and the same body."""
    gil = hub.token("gil")
    make(hub, gil, "m")
    watch(hub, gil, got.url, "model:gil/m")
    got.replies += [Reply(), Reply(wait_s=3.0)]
    for number in range(6):
        branch(hub, gil, "gil/m", f"b{number}")
    got.wait_for(2)
    hub.kill()
    hub.start(workers=2)
    got.wait(lambda me: len({one.delivery for one in me.requests}) == 6, 60)
    time.sleep(2)
    first: dict[str, str] = {}
    for one in got.requests:
        first.setdefault(one.json["updatedRefs"][0]["ref"], one.delivery)
    assert list(first) == [f"refs/heads/b{number}" for number in range(6)]
    told = {(one.delivery, one.json["updatedRefs"][0]["ref"]) for one in got.requests}
    assert len(told) == 6, "an event had two delivery ids"
    assert len(got.requests) <= 7, "more than the interrupted one was repeated"
