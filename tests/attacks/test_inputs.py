"""Queries and JSON bodies with everything wrong in them that one can write (B34, B35).

Walks the hub's document, so that it holds for every route with a query or a JSON body. Each answer
must stand in the document, be no 5xx, keep the error contract and come soon.
"""

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from doc_kit import Operation, one_of_each, operations

from effort import EVERYDAY, FULL, sample
from live import LiveHub
from raw import Raw

REPO = "probed/open"
ANSWER_S_MAX = 5.0
SHOWN = 60
MESSAGE_MAX = 300

# Percent-encoded where they stand in an address: some are not UTF-8.
QUERIES = {
    "negative": "-1", "2^63": str(2**63), "2^64": str(2**64), "5,000 digits": "9" * 5000,
    "float": "1e400", "NaN": "NaN", "hex": "0x10", "empty": "", "null": "null", "list": "[1,2]",
    "arabic digits": quote("١٢"), "superscript": quote("²"),
    "sql": quote("' OR 1=1; DROP TABLE repo--"),
    "like": quote("%_%\\"), "nul": "%00", "surrogate": "%ed%a0%80", "not utf-8": "%ff%fe",
    "bad escape": "%zz", "lf": "%0d%0aX-Evil:%201", "7,000 characters": "a" * 7000,
    "path": quote("../../etc/passwd"), "glob": quote("{a,b}*" * 50), "regex": quote("(a+)+$" * 50),
    "bidi": quote("\u202eabc"), "html": quote("<script>alert(1)</script>"),
    "cursor": "WzFd", "cursor of wrong kind": "eyJhIjoxfQ", "cursor not base64": "!!!!",
    "cursor deep": quote("W1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tb"),
}  # fmt: skip
VALUES: dict[str, Any] = {
    "null": None, "true": True, "0": 0, "-1": -1, "2^63": 2**63, "2^64": 2**64, "float": 1.5,
    "text": "word", "empty": "", "list": [], "list of null": [None], "object": {}, "deep": [[[[]]]],
    "proto": {"__proto__": {"admin": True}}, "nul": "a\0b", "surrogate": "\ud800",
    "bidi": "\u202ea",
    "long": "a" * 60_000, "path": "../../x", "sql": "' OR 1=1 --", "lf": "a\r\nX-Evil: 1",
}  # fmt: skip
# Whole bodies; none is JSON that anybody should take.
BODIES: dict[str, bytes] = {
    "nothing": b"", "spaces": b"  ", "half": b'{"name":', "bare word": b"undefined",
    "nan": b'{"a":NaN}', "1e400": b'{"a":1e400}', "bom": b"\xef\xbb\xbf{}",
    "not utf-8": b'{"a":"\xff"}',
    "two": b"{}{}", "comma": b'{"a":1,}', "single quotes": b"{'a':1}", "comment": b"{}//",
    "deep lists": b"[" * 10_000 + b"]" * 10_000,
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "deep where nobody looks": b'{"zz":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "9 x 5000": b'{"zz":' + b"9" * 5000 + b"}", "key twice": b'{"zz":1,"zz":2}', "number": b"1",
    "text": b'"x"', "null": b"null", "true": b"true", "nul": b"\0",
    "utf-16": '{"a":1}'.encode("utf-16"),
}  # fmt: skip


@pytest.fixture(scope="module")
def client(live_hub: LiveHub) -> Any:
    token = live_hub.token("probed")
    with Raw(live_hub.url, token) as raw:
        assert raw.create(REPO).status == 200
        raw.commit(REPO, {"README.md": b"# x", "a/b.txt": b"x"})
        yield raw.http


@pytest.fixture(scope="module")
def asked(live_hub: LiveHub) -> list[Operation]:
    document = httpx.get(f"{live_hub.url}/openapi.json", trust_env=False).json()
    # A bucket's events go on until the client leaves: tests/hub/test_buckets.py asks for them.
    return [op for op in one_of_each(operations(document)) if not op.path.endswith("/events")]


WORLD = {"T": "models", "namespace": "probed", "repo": "open", "rev": "main", "path": "a",
         "generation": "g1", "domain": "default", "num": "1"}  # fmt: skip


def wrong_with(reply: httpx.Response, op: Operation) -> str | None:
    status = reply.status_code
    if status not in op.statuses:
        return f"{status} is not in the document"
    if reply.elapsed.total_seconds() > ANSWER_S_MAX:
        return f"{reply.elapsed} is too slow"
    if "x-evil" in reply.headers:
        return "a header was smuggled in"
    if status < 400 or op.method == "HEAD":
        return None
    said = reply.headers.get("X-Error-Message", "")
    if not said or not said.isascii() or len(said) > MESSAGE_MAX:
        return f"X-Error-Message {said[:SHOWN]!r}"
    if reply.headers["Content-Type"].startswith("text/"):
        return None  # a page for people, or words for git
    body = reply.json()
    if body.get("requestId") != reply.headers.get("X-Request-Id") or not body.get("errorCode"):
        return f"not the error contract: {reply.text[:SHOWN]}"
    return None


def test_queries(client: httpx.Client, asked: list[Operation]) -> None:
    """Every parameter of every operation, each wrong value once, and twice at once."""
    found, cases = [], 0
    for op in asked:
        for name in op.query:
            for kind, value in sample(QUERIES.items()):
                pair = f"{quote(name)}={value}"
                for text in (pair, f"{pair}&{pair}"):
                    reply = client.request(op.method, op.url(WORLD) + "?" + text)
                    cases += 1
                    if problem := wrong_with(reply, op):
                        found.append(f"{op.name} {name}={kind}: {problem}")
    assert not found, "\n".join(found)
    assert cases > 1500 / (1 if FULL else EVERYDAY)


def test_many_parameters(client: httpx.Client, asked: list[Operation]) -> None:
    for op in asked:
        if op.query:
            text = "&".join(f"{name}=1" for name in op.query * 200)[:7000]
            reply = client.request(op.method, op.url(WORLD) + "?" + text)
            assert wrong_with(reply, op) is None, (op.name, reply.status_code)


def send(client: httpx.Client, op: Operation, content: bytes) -> httpx.Response:
    headers = {"Content-Type": op.json_media or ""}
    return client.request(op.method, op.url(WORLD), content=content, headers=headers)


def test_bodies_that_are_no_json(client: httpx.Client, asked: list[Operation]) -> None:
    """Refused, whatever the route: what is not well-formed is never taken."""
    found, routes = [], 0
    for op in asked:
        if op.json_media is None:
            continue
        routes += 1
        for kind, content in sample(BODIES.items()):
            reply = send(client, op, content)
            problem = wrong_with(reply, op)
            if problem is None and reply.status_code < 400:
                problem = f"{reply.status_code}: it was taken"
            if problem:
                found.append(f"{op.name} {kind}: {problem}")
    assert not found, "\n".join(found)
    assert routes >= 10


def test_fields_of_wrong_types(client: httpx.Client, asked: list[Operation]) -> None:
    """A sound body with one field changed, in every way; unknown fields are let through."""
    found = []
    for op in asked:
        sound = op.body({}) if op.json_media else None
        if not isinstance(sound, dict):
            continue
        schema = op.raw["requestBody"]["content"][op.json_media]["schema"]
        fields = op.schemas[schema["$ref"].rpartition("/")[2]].get("properties", {})
        for name in [*fields, "unknown", "__proto__", "constructor"]:
            for kind, value in sample(VALUES.items()):
                reply = send(client, op, json.dumps(sound | {name: value}).encode())
                if problem := wrong_with(reply, op):
                    found.append(f"{op.name} {name}={kind}: {problem}")
    assert not found, "\n".join(found)


def test_a_body_over_its_limit(client: httpx.Client, asked: list[Operation]) -> None:
    """Refused by its declared length, before it is read."""
    for op in asked:
        if op.json_media is None or "/cas/" in op.path:
            continue
        reply = send(client, op, b'{"zz":"' + b"a" * (20 * 2**20) + b'"}')
        assert reply.status_code in (400, 401, 403, 404, 413), (op.name, reply.status_code)
        assert wrong_with(reply, op) is None


def test_a_compressed_body(client: httpx.Client, asked: list[Operation]) -> None:
    """415, from all that read one (B36)."""
    seen = 0
    for op in asked:
        if op.media:
            headers = {"Content-Type": op.media[0], "Content-Encoding": "gzip"}
            reply = client.request(op.method, op.url(WORLD), content=b"\x1f\x8b", headers=headers)
            assert wrong_with(reply, op) is None, op.name
            assert reply.status_code >= 400 or "telemetry" in op.path, op.name
            seen += reply.status_code == 415
    assert seen >= 10
