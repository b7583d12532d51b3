"""Replies: the error contract, and addresses that name the host the client called."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from http_kit import request_of
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from headwater.errors import (
    BadRequest,
    Conflict,
    EntryNotFound,
    RangeNotSatisfiable,
    Refused,
    Unauthorized,
    Unavailable,
)
from headwater.hub.replies import (
    TrustedPeers,
    base_url,
    client_host,
    error_reply,
    header_text,
    json_reply,
    next_link,
)
from headwater.names import Digest, RepoPath
from headwater.settings import Settings


def test_json_takes_our_own_names() -> None:
    class Row(msgspec.Struct):
        oid: Digest
        paths: dict[str, RepoPath]

    oid = Digest("a" * 64)
    reply = json_reply({"row": Row(oid, {"p": RepoPath("é/x")}), oid: None}, 201, {"X-A": "b"})
    assert reply.status_code == 201
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-a"] == "b"
    assert msgspec.json.decode(bytes(reply.body)) == {
        "row": {"oid": "a" * 64, "paths": {"p": "é/x"}}, "a" * 64: None
    }  # fmt: skip


def test_json_refuses_what_it_does_not_know() -> None:
    with pytest.raises(NotImplementedError):
        json_reply({"x": object()})


def test_an_error_reply_in_full() -> None:
    error = Conflict("It exists. Choose another.", extra={"url": "u", "error": "not this"})
    reply = error_reply(error, "id-1")
    assert reply.status_code == 409
    assert reply.headers["x-error-code"] == "Conflict"
    assert reply.headers["x-error-message"] == "It exists. Choose another."
    assert msgspec.json.decode(bytes(reply.body)) == {
        "error": "It exists. Choose another.", "errorCode": "Conflict", "requestId": "id-1",
        "url": "u",
    }  # fmt: skip


def test_special_headers() -> None:
    assert error_reply(Unavailable("busy"), "i").headers["retry-after"] == "2"
    past = RangeNotSatisfiable("past", size_bytes=77)
    assert error_reply(past, "i").headers["content-range"] == "bytes */77"
    missing = EntryNotFound("no file")
    missing.headers["X-Repo-Commit"] = "c" * 40
    assert error_reply(missing, "i").headers["x-repo-commit"] == "c" * 40
    bad_token = Unauthorized("Invalid credentials in Authorization header")
    assert error_reply(bad_token, "i").headers["x-error-message"] == bad_token.message


@given(st.text(max_size=2000))
def test_any_message_fits_a_header(message: str) -> None:
    text = header_text(message)
    assert len(text) <= 300
    assert all(32 <= ord(char) < 127 for char in text)
    assert error_reply(BadRequest(message), "i").headers["x-error-message"] == text


def test_an_unpaired_surrogate_in_a_message_is_still_a_reply() -> None:
    assert error_reply(BadRequest("name \ud800"), "i").status_code == 400


# Addresses


def of(headers: dict[str, str], **more: object) -> Request:
    return request_of(headers=headers, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host", ["hub.example", "127.0.0.1:8765", "[::1]:80", "localhost", "my_host:1"]
)
def test_the_host_that_was_called(host: str) -> None:
    assert base_url(of({"host": host})) == f"http://{host}"


@pytest.mark.parametrize(
    "host",
    [
        "", "evil/..", "a b", "a@b", "a:b", "http://x", "a,b", "a\tb", "é", "a:123456", "[::1",
        "a#b", "a?b", "-", "." * 300, "a" * 300,
    ],
)  # fmt: skip
def test_a_bad_host_is_refused(host: str) -> None:
    with pytest.raises(BadRequest):
        base_url(of({"host": host}))


def test_no_host_and_two_hosts_are_refused() -> None:
    with pytest.raises(BadRequest):
        base_url(of({}))
    twice = request_of()
    twice.scope["headers"] += [(b"host", b"a"), (b"host", b"a")]
    with pytest.raises(BadRequest):
        base_url(twice)


FORWARDED = {
    "host": "inner:1",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "hub.example",
    "x-forwarded-prefix": "/models/",
}


def test_a_trusted_proxy_is_believed() -> None:
    assert base_url(of(FORWARDED)) == "https://hub.example/models"
    assert base_url(of(FORWARDED, client=("::ffff:127.0.0.1", 1))).startswith("https://hub")


def test_nobody_else_is() -> None:
    for client in (("203.0.113.9", 1), None, ("", 0), ("unix:", 0)):
        assert base_url(of(FORWARDED, client=client)) == "http://inner:1"


def test_of_a_list_the_proxys_own_value_counts() -> None:
    """What stands before it was sent by the client."""
    request = of(FORWARDED | {"x-forwarded-host": "evil.example, hub.example"})
    assert base_url(request) == "https://hub.example/models"


def test_who_calls_behind_a_proxy() -> None:
    """The address that our proxy saw; of what a client says of itself, nothing."""
    assert client_host(of({"x-forwarded-for": "198.51.100.1, 203.0.113.7"})) == "203.0.113.7"
    assert client_host(of({})) == "127.0.0.1"
    outside = of({"x-forwarded-for": "198.51.100.1"}, client=("203.0.113.9", 1))
    assert client_host(outside) == "203.0.113.9"
    assert client_host(of({"x-forwarded-for": "198.51.100.1"}, client=None)) == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [("proto", "javascript"), ("prefix", "//evil"), ("prefix", "/a b"), ("host", "evil/..")],
)
def test_a_malformed_forwarded_header_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadRequest):
        base_url(of(FORWARDED | {f"x-forwarded-{name}": value}))


def test_a_mounted_hub_and_a_public_url() -> None:
    assert base_url(of({"host": "h"}, root_path="/hub")) == "http://h/hub"
    public = Settings(data=Path("/nonexistent"), public_url="https://models.example/")
    assert base_url(of({"host": "h"}, settings=public)) == "https://models.example"


def test_trusted_peers() -> None:
    peers = TrustedPeers.parse("10.0.0.0/8, ::1,")
    assert "10.255.1.2" in peers
    assert "::1" in peers
    assert "11.0.0.1" not in peers
    assert "nonsense" not in peers
    with pytest.raises(Refused):
        TrustedPeers.parse("proxy.example")


@dataclass(frozen=True)
class Link:
    url: str

    @classmethod
    def of(cls, request: Request, cursor: str) -> "Link":
        url, _, rest = next_link(request, cursor)[1:].partition(">")
        assert rest == '; rel="next"'
        return cls(url)


@given(cursor=st.text(min_size=1), path=st.binary(max_size=40), query=st.binary(max_size=60))
def test_a_next_link_keeps_the_question(cursor: str, path: bytes, query: bytes) -> None:
    raw = b"/api/models/" + path.replace(b"?", b"")
    question = b"limit=5&cursor=old&" + query.replace(b"cursor", b"")
    request = of({"host": "h"}, raw_path=raw + b"?" + question)
    try:
        link = Link.of(request, cursor)
    except UnicodeEncodeError:
        assert any(0xD800 <= ord(c) < 0xE000 for c in cursor)
        return
    assert link.url.isascii()
    assert not set(link.url) & set('<>" \r\n')
    asked = parse_qs(urlsplit(link.url).query)
    assert asked["cursor"] == [cursor]
    assert asked["limit"][0] == "5"


def test_a_next_link_under_a_prefix() -> None:
    request = of({"host": "h"}, raw_path=b"/hub/api/models?a=1&a=2", root_path="/hub")
    assert Link.of(request, "c").url == "http://h/hub/api/models?a=1&a=2&cursor=c"
