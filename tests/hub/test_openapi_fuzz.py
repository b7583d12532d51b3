"""Requests made of the OpenAPI document, legal and not, against a running hub.

Every operation gets cases of both kinds, from callers of every kind, with the names of real repos
mixed in. What must hold for each answer: its status stands in the document, it is no 500, and a
failure keeps the error contract. The seed is printed; HEADWATER_TEST_FUZZ_SEED repeats a run.
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode

from live import LiveHub
from raw import Raw

CASES_MIN = 4000  # in all; every operation gets its share
CASE_S = 30.0
SEED = int(os.environ.get("HEADWATER_TEST_FUZZ_SEED") or 20260817)
WORDS_MAX = 80  # of a failure's request, in the report
LFS = b"w" * 5000
HEX = "0123456789abcdef" * 4
BOTH = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)

README = {"key": "file", "value": {"path": "README.md", "content": "# x"}}
HEADER = {"key": "header", "value": {"summary": "fuzz"}}

pytestmark = pytest.mark.slow


def lines(value: Any) -> bytes:
    """A commit body: the document describes one line; it comes second, after a sound header."""
    return b"\n".join(json.dumps(line).encode() for line in (HEADER, value))


@schemathesis.serializer("application/x-ndjson")
def _ndjson(context: Any, value: Any) -> bytes:
    return lines(value)


class World:
    """A hub with something in it, and everybody who may ask."""

    def __init__(self, hub: LiveHub) -> None:
        self.url = hub.url
        writer, reader = hub.token("fuzzer"), hub.token("fuzzer", "read")
        with Raw(hub.url, writer) as raw:
            for name, private in (("open", False), ("closed", True)):
                assert raw.create(f"fuzzer/{name}", private=private).status == 200
                raw.commit(f"fuzzer/{name}", {"README.md": b"---\nlicense: mit\n---\n# x"})
                oid, _ = raw.lfs(f"fuzzer/{name}", LFS)
                files = {"a/b.txt": b"text" * 99}
                raw.commit(f"fuzzer/{name}", files, {"w.bin": (oid, len(LFS))})
            for type in ("dataset", "space", "kernel"):
                assert raw.create("fuzzer/open", type, sdk="static").status == 200
                at = f"/api/{type}s/fuzzer/open/commit/main"
                assert raw.http.post(at, content=lines(README)).status_code == 200
            self.commit = raw.head("fuzzer/open")
            raw.http.post("/api/models/fuzzer/open/branch/side", json={})
            raw.http.post("/api/models/fuzzer/open/tag/main", json={"tag": "v1"})
            batch = {"operation": "download", "objects": [{"oid": oid, "size": len(LFS)}]}
            found = raw.http.post("/fuzzer/open.git/info/lfs/objects/batch", json=batch).json()
            signed = found["objects"][0]["actions"]["download"]["href"].rpartition("/")[2]
            xet = [
                raw.http.get(f"/api/models/fuzzer/open/xet-{kind}-token/main").json()["accessToken"]
                for kind in ("read", "write")
            ]
        self.callers = {
            "nobody": None, "writer": writer, "reader": reader, "admin": hub.admin_token,
            "stranger": hub.token("elsewhere"), "garbage": "hf_" + "0" * 36,
            "xet reader": xet[0], "xet writer": xet[1],
        }  # fmt: skip
        self.values: dict[str, list[str]] = {
            "namespace": ["fuzzer"], "repo": ["open", "open", "open", "closed", "missing"],
            "rev": ["main", "side", "v1", self.commit, "none"],
            "path": ["README.md", "w.bin", "a", "a/b.txt", "gone"], "name": ["side", "v1", "new"],
            "generation": ["g1"], "domain": ["default"], "token": [signed], "num": ["1"],
            "file": [HEX], "xorb": [HEX], "chunk": [HEX], "shard": [HEX], "org": ["fuzzer"],
            "oid": [oid], "organization": ["fuzzer"], "fromRepo": ["fuzzer/open"],
            "startingPoint": ["main", self.commit], "tag": ["v2"], "username": ["fuzzer"],
        }  # fmt: skip


@pytest.fixture(scope="module")
def world(live_hub: LiveHub) -> World:
    return World(live_hub)


def case_of(operation: Any, world: World) -> st.SearchStrategy[Case]:
    """A case of one operation; three of four times its address leads to something real."""
    names = [parameter.name for parameter in operation.path_parameters]
    known = {name: st.sampled_from(world.values[name]) for name in names if name in world.values}

    @st.composite
    def draw(pick: Callable[[Any], Any]) -> Case:
        mode = pick(st.sampled_from(BOTH))
        real = pick(st.integers(0, 3))
        case: Case = pick(operation.as_strategy(mode))
        if real:
            case.path_parameters = {**(case.path_parameters or {}), **pick(
                st.fixed_dictionaries(known))}  # fmt: skip
        if isinstance(case.body, dict) and pick(st.booleans()):
            case.body = {
                key: pick(st.sampled_from(world.values[key])) if key in world.values else value
                for key, value in case.body.items()
            }
        return case

    return draw()


def problem(answer: Any, allowed: set[int], method: str) -> str | None:
    """What is wrong with one answer, in words."""
    status = answer.status_code
    if status >= 500 and status not in (503, 507):
        return f"{status}"
    if status not in allowed:
        return f"{status} is not in the document"
    if status < 400:
        return None
    for name in ("X-Error-Code", "X-Error-Message", "X-Request-Id"):
        if not answer.headers.get(name):
            return f"{status} without {name}"
    text = answer.headers["X-Error-Message"]
    if not text.isascii() or len(text) > 300:
        return f"X-Error-Message of {len(text)} characters"
    if method == "HEAD" or answer.headers["Content-Type"].startswith("text/"):
        return None  # a page for people, or words for git
    body = answer.json()
    if body.get("requestId") != answer.headers["X-Request-Id"]:
        return f"{status} without its request id in the body"
    if body.get("errorCode") != answer.headers["X-Error-Code"] or not body.get("error"):
        return f"{status}: the body lacks error or errorCode"
    return None


# What git sends are bytes to schemathesis as any others are.
for service in ("upload", "receive"):
    schemathesis.serializer.alias(
        f"application/x-git-{service}-pack-request", "application/octet-stream"
    )


def test_every_answer_is_in_the_document(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\nseed {SEED}")
    schema = schemathesis.openapi.from_url(f"{world.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    # A bucket's events go on until the client leaves: test_buckets asks for them.
    operations = [found for found in operations if not found.path.endswith("/events")]
    each = -(-CASES_MIN // len(operations))
    wrong: Counter[str] = Counter()
    seen: Counter[int] = Counter()
    with requests.Session() as session:
        session.trust_env = False
        for operation in operations:
            _ask(operation, world, session, each, wrong, seen)
    with capsys.disabled():
        print(f"{len(operations)} operations, {seen.total()} cases: {dict(sorted(seen.items()))}")
    assert seen.total() >= CASES_MIN
    assert {200, 400, 401, 403, 404} <= set(seen), "the cases do not reach far enough"
    assert not wrong, "\n".join(f"{times}x {what}" for what, times in wrong.items())


def _ask(
    operation: Any,
    world: World,
    session: requests.Session,
    each: int,
    wrong: Counter[str],
    seen: Counter[int],
) -> None:
    usual = ["xet writer"] if operation.path.startswith("/cas/") else ["writer", "admin"]
    allowed = {int(status) for status in operation.definition.raw["responses"]}

    @seed(SEED)
    @settings(
        max_examples=each,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=case_of(operation, world), caller=st.sampled_from(usual * 4 + sorted(world.callers))
    )
    def one(case: Case, caller: str) -> None:
        token = world.callers[caller]
        case.headers["Authorization"] = f"Bearer {token}"
        if token is None:
            del case.headers["Authorization"]
        answer = session.request(
            **case.as_transport_kwargs(base_url=world.url), timeout=CASE_S, allow_redirects=False
        )
        seen[answer.status_code] += 1
        if said := problem(answer, allowed, case.method):
            body = repr(case.body)[:WORDS_MAX]
            where = f"{case.method} {operation.path}"
            wrong[f"{where} by {caller}: {said}: {answer.url[:WORDS_MAX]} {body}"] += 1

    one()
