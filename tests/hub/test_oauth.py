"""The browser side of signing in: the page, who may send its form, and OAuth's own answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from headwater.catalog import devices
from headwater.hub.routes import table
from hub.xet_kit import Answer, Cas, serve

CLIENT = "26be6b09-91c5-47da-9861-d2d2bb7a7e36"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def cas() -> Iterator[Cas]:
    with serve(table) as served:
        served.user("ann")
        yield served


def post(cas: Cas, path: str, fields: dict[str, str], **headers: str) -> Answer:
    sent = {"Content-Type": FORM} | {k.replace("_", "-"): v for k, v in headers.items()}
    return cas.ask("POST", path, body=urlencode(fields).encode(), headers=sent)


def begin(cas: Cas) -> dict[str, str]:
    answer = post(cas, "/oauth/device", {"client_id": CLIENT})
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return dict(answer.json)


def poll(cas: Cas, code: str) -> Answer:
    fields = {"grant_type": DEVICE, "device_code": code, "client_id": CLIENT}
    return post(cas, "/oauth/token", fields)


def decide(cas: Cas, code: str, token: str, decision: str = "approve", **headers: str) -> Answer:
    fields = {"user_code": code, "token": token, "decision": decision}
    return post(cas, "/oauth/verify", fields, **({"Origin": cas.url} | headers))


def test_from_the_terminal_to_the_page_and_back(cas: Cas) -> None:
    ann, begun = cas.user("ann"), begin(cas)
    assert begun["verification_uri"] == f"{cas.url}/oauth/verify"
    assert re.fullmatch(r"[B-Z]{4}-[B-Z]{4}", begun["user_code"])
    waiting = poll(cas, begun["device_code"])
    assert (waiting.status, waiting.json["error"]) == (400, "authorization_pending")
    page = cas.ask("GET", begun["verification_uri_complete"])
    assert f'value="{begun["user_code"]}"'.encode() in page.body
    done = decide(cas, begun["user_code"], ann)
    assert done.status == 200
    assert b"Approved" in done.body
    granted = poll(cas, begun["device_code"]).json
    assert set(granted) == {"access_token", "token_type", "expires_in", "refresh_token"}
    me = cas.ask("GET", "/api/whoami-v2", token=granted["access_token"]).json
    assert me["name"] == "ann"
    assert me["auth"]["accessToken"]["role"] == "write"
    assert me["auth"]["accessToken"]["displayName"].startswith("oauth-hf-")
    fields = {"grant_type": "refresh_token", "refresh_token": granted["refresh_token"]}
    renewed = post(cas, "/oauth/token", fields | {"client_id": CLIENT}).json
    assert cas.ask("GET", "/api/whoami-v2", token=renewed["access_token"]).json["name"] == "ann"
    again = post(cas, "/oauth/token", fields | {"client_id": CLIENT})
    assert (again.status, again.json["error"]) == (400, "invalid_grant")


def test_denied(cas: Cas) -> None:
    begun = begin(cas)
    assert b"Denied" in decide(cas, begun["user_code"], cas.user("ann"), "deny").body
    assert poll(cas, begun["device_code"]).json["error"] == "access_denied"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": DEVICE}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "password", "username": "ann"}, "unsupported_grant_type"),
        ({"grant_type": DEVICE, "device_code": "x"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
    ],
)
def test_the_words_of_oauth(cas: Cas, fields: dict[str, str], error: str) -> None:
    answer = post(cas, "/oauth/token", fields)
    assert (answer.status, answer.json["error"]) == (400, error)
    assert answer.json["error_description"]
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},  # and no Referer
        {"Origin": "", "Referer": "https://evil.example/oauth/verify"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Origin": "http://[::1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
    ids=str,
)
def test_the_form_is_taken_from_our_own_page_only(cas: Cas, headers: dict[str, str]) -> None:
    begun = begin(cas)
    refused = decide(cas, begun["user_code"], cas.user("ann"), **headers)
    assert refused.status == 403
    assert poll(cas, begun["device_code"]).json["error"] == "authorization_pending"


def test_a_referer_will_do(cas: Cas) -> None:
    begun = begin(cas)
    referer = f"{cas.url}/oauth/verify?user_code={begun['user_code']}"
    done = decide(cas, begun["user_code"], cas.user("ann"), Origin="", Referer=referer)
    assert done.status == 200


def test_the_page_is_plain_and_cannot_be_framed(cas: Cas) -> None:
    evil = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E"
    page = cas.ask("GET", f"/oauth/verify?user_code={evil}")
    assert b"<script" not in page.body
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["Referrer-Policy"] == "same-origin"  # else browsers send Origin: null
    assert page.headers["Cache-Control"] == "no-store"
    assert re.search(rb'type="password"[^>]*autocomplete="off"', page.body)


def test_what_the_page_says_when_it_fails(cas: Cas) -> None:
    """Each failure is a page with the form; the token is never shown again, nor the code told."""
    ann, begun = cas.user("ann"), begin(cas)
    failures = [
        (decide(cas, begun["user_code"], "hf_" + "x" * 36), 401),
        (decide(cas, begun["user_code"], cas.user("ann", "read")), 403),
        (decide(cas, "BBBB-BBBB", ann), 404),
        (decide(cas, begun["user_code"], ann, "maybe"), 400),
        (decide(cas, "<img src=x>", ann), 404),
    ]
    for answer, status in failures:
        assert answer.status == status
        assert answer.headers["Content-Type"].startswith("text/html")
        assert b"<form" in answer.body
        assert b"<img" not in answer.body
        assert ann.encode() not in answer.body
    unknown = decide(cas, "BBBB-BBBB", "hf_" + "x" * 36)
    known = decide(cas, begun["user_code"], "hf_" + "x" * 36)
    assert unknown.status == known.status == 401  # without a token nobody learns of a code
    assert poll(cas, begun["device_code"]).json["error"] == "authorization_pending"


def test_guessing_and_floods_are_answered_with_429(
    cas: Cas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "MISSES_MAX", 2)
    monkeypatch.setattr(devices, "WAITING_OF_CALLER_MAX", 1)
    ann, begun = cas.user("ann"), begin(cas)
    for _ in range(2):
        assert decide(cas, "BBBB-BBBB", ann).status == 404
    assert decide(cas, begun["user_code"], ann).status == 429
    flooded = post(cas, "/oauth/device", {"client_id": CLIENT})
    assert (flooded.status, flooded.headers["X-Error-Code"]) == (429, "TooManyRequests")
    assert flooded.headers["Retry-After"]
    # Behind a proxy of ours the caller is who the proxy saw: one of them does not stop the others.
    other = post(cas, "/oauth/device", {"client_id": CLIENT}, X_Forwarded_For="203.0.113.7")
    assert other.status == 200
    spoofed = "198.51.100.1, 203.0.113.7"  # what stands before came from outside
    again = post(cas, "/oauth/device", {"client_id": CLIENT}, X_Forwarded_For=spoofed)
    assert again.status == 429


def test_signing_in_works_on_a_hub_for_its_users_only(cas: Cas) -> None:
    with serve(table, anonymous_read=False) as closed:
        ann, begun = closed.user("ann"), begin(closed)
        assert decide(closed, begun["user_code"], ann).status == 200
        assert poll(closed, begun["device_code"]).status == 200


def test_a_large_or_doubled_form_is_refused(cas: Cas) -> None:
    big = cas.ask("POST", "/oauth/token", body=b"a=" + b"x" * 20_000)
    assert big.status == 413
    twice = cas.ask("POST", "/oauth/token", body=b"grant_type=a&grant_type=b")
    assert twice.status == 400
