"""The webhook routes, asked in-process: what is answered, what is refused, what is not told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from headwater.catalog.actors import Scope
from headwater.catalog.catalog import Catalog
from headwater.hub.context import Hub
from headwater.hub.routing import Router
from headwater.hub.signing import Signer
from headwater.hub.webhooks import DELIVERIES_MAX, LOOKUPS_MAX, WebhookRoutes
from headwater.names import RepoId
from headwater.settings import Settings
from headwater.store.store import Store
from hub.http_kit import Answer, scope

ROOT = "/api/settings/webhooks"
URL = "http://192.0.2.1/"
GOOD = {"url": "https://93.184.216.34/x", "watched": [{"type": "user", "name": "ann"}]}


class Asked:
    """A router over a catalog, and tokens for it."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(data=folder)
        self.catalog = Catalog.open(settings.catalog_url, upload_ttl_s=1, secret=b"s" * 32)
        hub = Hub(settings, self.catalog, Store.open(folder / "store"), Signer(b"s" * 32))
        self.routes = WebhookRoutes(hub)
        self.router = Router(self.routes.routes(), settings)
        self.tokens: dict[str, str] = {}
        for name in ("ann", "bob"):
            self.catalog.accounts.create(name)
            self.tokens[name] = self.catalog.tokens.create(name, "t", "write")

    def __call__(
        self, method: str, path: str, body: Any = None, who: str = "ann", token: str = ""
    ) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {
            "host": "hub.example", "content-type": "application/json", "x-request-id": "same"
        }  # fmt: skip
        if bearer := token or self.tokens.get(who, ""):
            headers["authorization"] = f"Bearer {bearer}"
        made = scope(method, path.encode(), headers)
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.router(made, receive, send))
        named = {k.decode(): v.decode("latin-1") for k, v in sent[0]["headers"]}
        return Answer(sent[0]["status"], named, b"".join(m.get("body", b"") for m in sent[1:]))


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    # The limiter belongs to a loop; each request here has its own.
    monkeypatch.setattr("headwater.hub.threads.limiter", lambda: anyio.CapacityLimiter(4))
    asked = Asked(tmp_path)
    yield asked
    asked.catalog.close()


def test_made_read_changed_deleted(ask: Asked) -> None:
    made = ask("POST", ROOT, GOOD | {"secret": "s", "domains": ["repo"]})
    assert made.status == 200
    hook = made.json["webhook"]
    assert hook == {
        "id": hook["id"], "url": GOOD["url"], "watched": GOOD["watched"], "domains": ["repo"],
        "secret": "s", "disabled": False, "disabledReason": None,
    }  # fmt: skip
    one = f"{ROOT}/{hook['id']}"
    assert ask("GET", one).json["webhook"] == hook
    assert ask("GET", ROOT).json == [hook]
    changed = ask("POST", one, {"watched": [], "domains": ["discussion"]}).json["webhook"]
    assert changed == hook | {"domains": ["discussion"]}
    assert ask("POST", one + "/disable").json["webhook"]["disabled"] is True
    assert ask("POST", one + "/enable").json["webhook"]["disabled"] is False
    assert ask("DELETE", one).status == 200
    assert ask("GET", one).status == 404
    assert ask("GET", ROOT).json == []


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://127.0.0.1/"}, {"url": URL}, {"url": "ftp://a.org/"}, {"url": ""},
        {"url": "http://localhost/"}, {"url": "https://u:p@a.org/"}, {"url": 7},
        {"url": "http://" + "a" * 3000}, {"watched": []}, {"watched": [{"type": "user"}]},
        {"watched": [{"type": "planet", "name": "x"}]}, {"domains": ["weather"]}, {"domains": []},
        {"watched": [{"type": "model", "name": "a\0/b"}]}, {"secret": "x" * 300},
        {"secret": "a\r\nX-Evil: 1"}, {"jobSourceId": "123"}, {"secret": "\ud800"},
    ],
)  # fmt: skip
def test_what_could_never_work_is_refused_with_the_reason(ask: Asked, change: Any) -> None:
    made = ask("POST", ROOT, GOOD | change)
    assert made.status == 400, made.body
    assert made.json["error"]
    assert ask("GET", ROOT).json == []
    hook = ask("POST", ROOT, GOOD).json["webhook"]
    if change != {"watched": []}:  # which clients send when they mean something else
        assert ask("POST", f"{ROOT}/{hook['id']}", change).status == 400
    assert ask("GET", ROOT).json == [hook]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"url":1,"url":2}', b"\xff"])
def test_bodies_that_are_none(ask: Asked, body: bytes) -> None:
    assert ask("POST", ROOT, body).status == 400


def test_nobody_and_others(ask: Asked) -> None:
    """401 without a token; another's webhook answers as one that does not exist, to the letter."""
    hook = ask("POST", ROOT, GOOD).json["webhook"]["id"]
    doors = [
        ("GET", ""), ("POST", ""), ("DELETE", ""), ("POST", "/enable"), ("POST", "/disable"),
        ("GET", "/deliveries"), ("POST", "/replay/" + "0" * 24),
    ]  # fmt: skip
    assert ask("GET", ROOT, who="nobody").status == ask("POST", ROOT, GOOD, "nobody").status == 401
    for method, door in doors:
        assert ask(method, f"{ROOT}/{hook}{door}", {}, "nobody").status == 401
        theirs = ask(method, f"{ROOT}/{hook}{door}", {}, "bob")
        none = ask(method, f"{ROOT}/{'f' * 24}{door}", {}, "bob")
        assert theirs.status == none.status == 404
        assert theirs.body.replace(hook.encode(), b"f" * 24) == none.body
    assert ask("GET", f"{ROOT}/a%00b").status == 400
    assert ask("GET", ROOT, who="bob").json == []


def test_only_an_owner_can_have_a_name_looked_up(
    ask: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of what is not one's own ends before any resolver is asked."""
    asked: list[str] = []
    monkeypatch.setattr("socket.getaddrinfo", lambda host, *_, **__: asked.append(host) or [])
    hook = ask("POST", ROOT, GOOD).json["webhook"]["id"]
    assert ask("POST", f"{ROOT}/{hook}", {"url": "http://a.example/"}, "bob").status == 404
    assert asked == []
    assert ask("POST", f"{ROOT}/{hook}", {"url": "http://a.example/"}).status == 200
    assert asked == ["a.example"]


def test_slow_resolvers_do_not_take_all_threads(ask: Asked) -> None:
    for _ in range(LOOKUPS_MAX):
        assert ask.routes._lookups.acquire(blocking=False)
    busy = ask("POST", ROOT, GOOD)
    assert (busy.status, busy.headers["Retry-After".lower()]) == (503, "2")
    ask.routes._lookups.release()
    assert ask("POST", ROOT, GOOD).status == 200


def test_tokens_that_see_less_have_no_webhooks(ask: Asked) -> None:
    scopes = (Scope("user", "ann", ("repo.write",)),)
    fine = ask.catalog.tokens.create("ann", "fine", "fineGrained", scopes=scopes)
    reader = ask.catalog.tokens.create("ann", "reader", "read")
    assert ask("GET", ROOT, token=fine).status == 403
    assert ask("POST", ROOT, GOOD, token=fine).status == 403
    assert ask("GET", ROOT, token=reader).status == 200
    assert ask("POST", ROOT, GOOD, token=reader).status == 403


def test_deliveries_are_shown_and_replayed(ask: Asked) -> None:
    hook = ask("POST", ROOT, GOOD).json["webhook"]["id"]
    actor = ask.catalog.tokens.actor(ask.tokens["ann"])
    for number in range(3):
        ask.catalog.repos.create(actor, RepoId.parse("model", f"ann/m{number}"))
    ask.catalog.outbox.dispatch()
    rows = ask("GET", f"{ROOT}/{hook}/deliveries?limit=2").json
    assert [row["repo"]["name"] for row in rows] == ["ann/m2", "ann/m1"]
    assert (rows[0]["status"], rows[0]["attempts"]) == ("pending", 0)
    assert rows[0]["event"] == {"action": "create", "scope": "repo"}
    assert rows[0]["nextAttemptAt"] is not None
    again = ask("POST", f"{ROOT}/{hook}/replay/{rows[1]['id']}").json
    assert again["id"] != rows[1]["id"]
    assert again["repo"] == rows[1]["repo"]
    assert len(ask("GET", f"{ROOT}/{hook}/deliveries").json) == 4
    assert ask("GET", f"{ROOT}/{hook}/deliveries?limit=x").status == 400
    assert ask("GET", f"{ROOT}/{hook}/deliveries?limit={DELIVERIES_MAX * 9}").status == 200
    ask("POST", f"{ROOT}/{hook}/disable")
    assert ask("POST", f"{ROOT}/{hook}/replay/{rows[1]['id']}").status == 403
