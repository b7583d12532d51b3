"""Buckets over HTTP: what hostile or confused callers hear. (Real clients: tests/clients.)"""

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from live import HOST, LiveHub

ALICE_BUCKET = "/api/buckets/alice/b"
UNKNOWN_HASH = "1" * 64


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHub]:
    live = LiveHub(tmp_path_factory.mktemp("buckets"))
    live.start()
    yield live
    live.stop()


@pytest.fixture(scope="module")
def alice(hub: LiveHub) -> str:
    token = hub.token("alice")
    assert ask(hub, "POST", ALICE_BUCKET, token, {})[0] == 200
    return token


@pytest.fixture(scope="module")
def bob(hub: LiveHub) -> str:
    return hub.token("bob")


def ask(
    hub: LiveHub, method: str, path: str, token: str | None = None, body: Any = None
) -> tuple[int, dict[str, str], bytes]:
    """(status, headers with lower-case names, body). `body`: JSON, or bytes as they are."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    connection = http.client.HTTPConnection(HOST, hub.port, timeout=30)
    try:
        connection.request(method, path, raw, headers)
        reply = connection.getresponse()
        return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
    finally:
        connection.close()


def batch(hub: LiveHub, token: str | None, *lines: Any) -> tuple[int, Any]:
    raw = b"".join(
        (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines
    )
    status, _, body = ask(hub, "POST", f"{ALICE_BUCKET}/batch", token, raw)
    return status, json.loads(body)


@pytest.mark.parametrize(
    "line",
    [
        b"{", b"[]", b'"text"', b"\xff", b'{"type": "formatDisk", "path": "x"}',
        b'{"type": "deleteFile"}', b'{"type": "deleteFile", "path": 7}',
        b'{"type": "deleteFile", "path": "x", "path": "y"}',
        b'{"type": "addFile", "path": "x"}',
        b'{"type": "copyFile", "path": "x", "xetHash": "y", "sourceRepoType": "disk"}',
    ],
)  # fmt: skip
def test_a_line_that_is_no_operation_refuses_all(hub: LiveHub, alice: str, line: bytes) -> None:
    status, body = batch(hub, alice, {"type": "deleteFile", "path": "nothing"}, line)
    assert status == 400
    assert body["error"].startswith("line 2: ")


@pytest.mark.parametrize(
    "change",
    [
        {"path": "../x"}, {"path": "/x"}, {"path": "a//b"}, {"path": ".git/config"}, {"path": ""},
        {"path": "a\\b"}, {"path": "x\u202ey"}, {"xetHash": "G" * 64}, {"xetHash": "ab"},
        {"mtime": -1}, {"mtime": 2**60}, {"contentType": "x\ny"}, {"contentType": "x" * 300}, {},
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_line_by_line(
    hub: LiveHub, alice: str, change: dict[str, Any]
) -> None:
    """With a hash nobody uploaded the last one fails, too: all failed is 422."""
    line = {"type": "addFile", "path": "x", "xetHash": UNKNOWN_HASH, "mtime": 1} | change
    status, body = batch(hub, alice, line)
    assert status == 422
    assert [failure["path"] for failure in body["failed"]] == [line["path"]]
    assert body["failed"][0]["error"]


def test_visibility_is_that_of_repos(hub: LiveHub, alice: str) -> None:
    """What a hub without running Spaces cannot mean is refused, not taken for public; and who says
    nothing gets what the organisation has chosen."""
    status, _, said = ask(hub, "POST", "/api/buckets/alice/p", alice, {"visibility": "protected"})
    assert (status, json.loads(said)["errorCode"]) == (400, "BadRequest")
    duplicate = {"repository": "alice/copy", "visibility": "protected"}
    assert ask(hub, "POST", "/api/repos/create", alice, {"name": "alice/source"})[0] == 200
    assert ask(hub, "POST", "/api/models/alice/source/duplicate", alice, duplicate)[0] == 400
    assert ask(hub, "GET", "/api/models/alice/copy", alice)[0] == 404
    hub.cli_ok("org", "add", "closed", "--owner", "alice", "--private-by-default")
    assert ask(hub, "POST", "/api/buckets/closed/b", alice, {})[0] == 200
    assert json.loads(ask(hub, "GET", "/api/buckets/closed/b", alice)[2])["private"] is True


def test_an_empty_batch(hub: LiveHub, alice: str) -> None:
    assert batch(hub, alice)[0] == 400


def test_strangers(hub: LiveHub, alice: str, bob: str) -> None:
    """A private bucket and a missing one are the same, at every address of a bucket."""
    assert ask(hub, "POST", "/api/buckets/alice/secret", alice, {"private": True})[0] == 200
    asks = [
        ("GET", "", None), ("DELETE", "", None), ("PUT", "/settings", {"private": False}),
        ("GET", "/tree", None), ("GET", "/tree/a", None), ("POST", "/paths-info", {"paths": []}),
        ("POST", "/batch", b'{"type":"deleteFile","path":"x"}\n'), ("GET", "/events", None),
        ("GET", "/xet-read-token", None), ("GET", "/xet-write-token", None),
    ]  # fmt: skip
    for token, wanted in ((None, {401}), (bob, {404})):
        for method, path, body in asks:
            heard = []
            for name in ("secret", "absent"):
                status, headers, text = ask(
                    hub, method, f"/api/buckets/alice/{name}{path}", token, body
                )
                assert status in wanted, (method, path)
                heard.append((status, headers.get("x-error-code"), _told(text, name)))
            assert heard[0] == heard[1], (method, path)
        for name in ("secret", "absent"):
            at = f"/buckets/alice/{name}/resolve/x"
            assert ask(hub, "GET", at, token)[0] in wanted
    listing = json.loads(ask(hub, "GET", "/api/buckets/alice", bob)[2])
    assert [bucket["id"] for bucket in listing] == ["alice/b"]


def _told(text: bytes, name: str) -> Any:
    body = json.loads(text)
    return body["error"].replace(name, "NAME"), body["errorCode"]


def test_a_public_bucket_is_read_only_for_others(hub: LiveHub, alice: str, bob: str) -> None:
    line = {"type": "deleteFile", "path": "x"}
    assert batch(hub, bob, line)[0] == 403
    assert batch(hub, None, line)[0] == 401
    assert ask(hub, "GET", f"{ALICE_BUCKET}/xet-write-token", bob)[0] == 403
    assert ask(hub, "GET", f"{ALICE_BUCKET}/xet-read-token", bob)[0] == 200


def test_a_bucket_is_no_repo(hub: LiveHub, alice: str) -> None:
    """It has no commits, and the routes of repos do not know its type."""
    assert ask(hub, "GET", "/api/models/alice/b", alice)[0] == 404
    body = {"name": "alice/c", "type": "bucket"}
    assert ask(hub, "POST", "/api/repos/create", alice, body)[0] == 400


@pytest.mark.parametrize("prefix", ["%", "%00", "%25", "a%2Fb", "..", quote("é"), "x" * 2000])
def test_any_prefix_is_text(hub: LiveHub, alice: str, prefix: str) -> None:
    assert ask(hub, "GET", f"{ALICE_BUCKET}/tree/{prefix}", alice)[0] in (200, 400)


@pytest.mark.parametrize("query", ["cursor=x", "cursor=-1", f"cursor={'9' * 40}", "since=tomorrow"])
def test_follow_from_nowhere(hub: LiveHub, alice: str, query: str) -> None:
    assert ask(hub, "GET", f"{ALICE_BUCKET}/events?{query}", alice)[0] == 400


def test_a_forgotten_cursor_is_told(hub: LiveHub, alice: str) -> None:
    status, headers, body = ask(hub, "GET", f"{ALICE_BUCKET}/events?cursor=99999", alice)
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/event-stream")
    assert body.startswith(b"event: reset\n")


def test_followers_do_not_hold_up_a_stop(tmp_path: Path) -> None:
    """A stream that never ends by itself ends when the server stops, with a word of why."""
    live = LiveHub(tmp_path)
    live.start()
    token = live.token("alice")
    assert ask(live, "POST", ALICE_BUCKET, token, {})[0] == 200
    connection = http.client.HTTPConnection(HOST, live.port, timeout=30)
    connection.request(
        "GET", f"{ALICE_BUCKET}/events", headers={"Authorization": f"Bearer {token}"}
    )
    reply = connection.getresponse()
    assert reply.readline() == b"event: ready\n"
    began = time.monotonic()
    live.stop()
    assert b"event: reconnect" in reply.read()
    assert time.monotonic() - began < 15
    connection.close()
