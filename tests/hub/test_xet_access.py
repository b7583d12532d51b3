"""Who gets an access token, what it opens, and when it ceases to: plain requests."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from headwater.catalog import tokens
from headwater.catalog.actors import OPERATOR, Scope
from headwater.names import RepoId, XetHash
from hub.xet_kit import Answer, Cas, serve

UNKNOWN = XetHash("ab" * 32)
ROUTE_MISSING = b"No such address"


@pytest.fixture
def cas() -> Iterator[Cas]:
    with serve() as served:
        for name in ("ann", "bob"):
            served.user(name)
        served.repo("ann/open")
        served.repo("ann/hidden", private=True)
        yield served


def told(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.headers["X-Error-Code"]


def asked(cas: Cas, base: str, key: str | None) -> Answer:
    """A call that a key of any kind may make: 404 when it opens."""
    return cas.ask("GET", f"{base}/v1/chunks/default/{UNKNOWN}", token=key)


def test_a_token_is_told_in_headers_and_in_json(cas: Cas) -> None:
    answer = cas.access(cas.user("ann"), "ann/open", "read")
    assert answer.status == 200
    body = answer.json
    assert body["casUrl"] == answer.headers["X-Xet-Cas-Url"] == f"{cas.url}/cas/g1"
    assert body["accessToken"] == answer.headers["X-Xet-Access-Token"]
    assert str(body["exp"]) == answer.headers["X-Xet-Token-Expiration"]
    assert 3500 < body["exp"] - time.time() < 3700
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_address_is_the_one_that_the_client_called(cas: Cas) -> None:
    answer = cas.ask(
        "GET", "/api/models/ann/open/xet-read-token/main", headers={"Host": "hub.example:81"}
    )
    assert answer.json["casUrl"] == "http://hub.example:81/cas/g1"


def test_who_gets_one(cas: Cas) -> None:
    ann, bob = cas.user("ann"), cas.user("bob")
    reads = cas.user("ann", "read")
    for token, full, verb, rev, expected in [
        (None, "ann/open", "read", "main", (200, None)),
        (bob, "ann/open", "read", "main", (200, None)),
        (None, "ann/hidden", "read", "main", (401, "RepoNotFound")),
        (None, "ann/absent", "read", "main", (401, "RepoNotFound")),
        (bob, "ann/hidden", "read", "main", (404, "RepoNotFound")),
        (bob, "ann/absent", "read", "main", (404, "RepoNotFound")),
        (ann, "ann/hidden", "read", "main", (200, None)),
        (ann, "ann/hidden", "write", "main", (200, None)),
        (ann, "ann/hidden", "write", "None", (200, None)),
        (ann, "ann/hidden", "write", "absent", (404, "RevisionNotFound")),
        (ann, "ann/open", "read", "absent", (404, "RevisionNotFound")),
        (reads, "ann/open", "write", "main", (403, "Forbidden")),
        (bob, "ann/open", "write", "main", (403, "Forbidden")),
        (bob, "ann/open", "write", "None", (403, "Forbidden")),
        (bob, "ann/hidden", "write", "main", (404, "RepoNotFound")),
        (None, "ann/open", "write", "main", (401, "RepoNotFound")),
        ("hf_nonsense", "ann/open", "read", "main", (401, "Unauthorized")),
    ]:
        got = told(cas.access(token, full, verb, rev))
        assert got == expected, (full, verb, rev)


def test_to_propose_is_enough_for_a_pull_request(cas: Cas) -> None:
    bob = cas.user("bob")
    path = "/api/models/ann/open/xet-write-token/None?create_pr=1"
    answer = cas.ask("GET", path, token=bob)
    assert answer.status == 200
    base = urlsplit(answer.json["casUrl"]).path
    shards = cas.ask("POST", f"{base}/v1/shards", token=answer.json["accessToken"], body=b"x")
    assert told(shards) == (400, "Malformed")  # he may; it is no shard
    assert told(cas.access(bob, "ann/open", "write", "refs/pr/1")) == (404, "RevisionNotFound")
    hidden = cas.ask("GET", path.replace("open", "hidden"), token=bob)
    assert told(hidden) == (404, "RepoNotFound")
    assert told(cas.ask("GET", path)) == (401, "RepoNotFound")


def test_a_gate_holds(cas: Cas) -> None:
    cas.hub.catalog.repos.set(OPERATOR, "model", "ann/open", gated="manual")
    assert told(cas.access(cas.user("bob"), "ann/open", "read")) == (403, "GatedRepo")
    assert told(cas.access(None, "ann/open", "read")) == (401, "GatedRepo")


def test_keys_that_open_nothing(cas: Cas) -> None:
    ann = cas.user("ann")
    base, key = cas.key(ann, "ann/open", "read")
    assert asked(cas, base, key).status == 404
    signed = cas.hub.signer.sign
    payload = cas.hub.signer.open("xet-read", key)
    for bad in (None, "", "x", ann, key + "A", signed("xet-data", payload, 60),
                signed("xet-read", payload, -1)):  # fmt: skip
        assert asked(cas, base, bad).status == 401
    for path in ("/v1/xorbs/default/" + UNKNOWN, "/v1/shards", "/v2/shards"):
        answer = cas.ask("POST", base + path, token=key, body=b"x")
        assert told(answer) == (403, "Forbidden"), path  # it only reads


@pytest.mark.parametrize("verb", ["read", "write"])
def test_a_key_ends_with_its_reason(cas: Cas, verb: str) -> None:
    tokens, repos = cas.hub.catalog.tokens, cas.hub.catalog.repos

    def fresh() -> tuple[str, str]:
        return cas.key(cas.user("ann"), "ann/hidden", verb)

    base, key = fresh()
    assert asked(cas, base, key).status == 404
    name = tokens.list("ann")[-1].name
    tokens.revoke("ann", name)
    assert asked(cas, base, key).status == 401

    base, key = fresh()
    repos.move(OPERATOR, "model", "ann/hidden", RepoId.parse("model", "bob/hidden"))
    assert told(asked(cas, base, key)) == (404, "RepoNotFound")
    repos.move(OPERATOR, "model", "bob/hidden", RepoId.parse("model", "ann/hidden"))
    assert asked(cas, base, key).headers["X-Error-Code"] == "NotFound"

    base, key = fresh()
    repos.delete(OPERATOR, "model", "ann/hidden")
    assert told(asked(cas, base, key)) == (404, "RepoNotFound")


def test_a_token_that_expires_takes_its_keys_along(cas: Cas) -> None:
    soon_ms = int((time.time() + 1.0) * 1000)
    token = cas.hub.catalog.tokens.create("ann", "brief", "write", expires_ms=soon_ms)
    base, key = cas.key(token, "ann/open", "write")
    assert asked(cas, base, key).status == 404
    time.sleep(1.1)
    assert asked(cas, base, key).status == 401


def test_a_token_without_an_end_has_none(cas: Cas, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when the clock moves on between two looks at it: one call in a thousand failed so."""
    base, key = cas.key(cas.user("ann"), "ann/open", "write")
    monkeypatch.setattr(tokens, "now_ms", itertools.count().__next__)
    assert asked(cas, base, key).status == 404


def test_a_fine_grained_token_keeps_its_bounds(cas: Cas) -> None:
    scopes = (Scope("model", "ann/open", ("repo.write",)),)
    token = cas.hub.catalog.tokens.create("ann", "fine", "fineGrained", scopes=scopes)
    assert cas.access(token, "ann/open", "write").status == 200
    assert told(cas.access(token, "ann/hidden", "write"))[0] in (403, 404)
    base, key = cas.key(token, "ann/open", "write")
    assert asked(cas, base, key).status == 404


def test_without_anonymous_reading(cas: Cas) -> None:
    base, key = cas.key(None, "ann/open", "read")
    assert asked(cas, base, key).status == 404
    with serve(anonymous_read=False) as closed:
        closed.user("ann")
        closed.repo("ann/open")
        assert closed.access(None, "ann/open", "read").status == 401
        repo = closed.hub.catalog.repos.find(OPERATOR, "model", "ann/open")
        payload = {"user": None, "repo": repo.id, "verb": "bytes"}
        old = closed.hub.signer.sign("xet-read", payload, 60)
        assert asked(closed, base, old).status == 401


OLDER = [
    ("GET", "/v1/chunks/default/{}"),
    ("GET", "/v1/chunks/default-merkledb/{}"),
    ("GET", "/chunks/default/{}"),
    ("GET", "/chunk/default/{}"),
    ("GET", "/v2/reconstructions/{}"),
    ("GET", "/v1/reconstructions/{}"),
    ("GET", "/reconstructions/{}"),
    ("GET", "/reconstruction/{}"),
    ("HEAD", "/v1/files/{}"),
    ("HEAD", "/v1/xorbs/default/{}"),
    ("POST", "/v1/xorbs/default/{}"),
    ("POST", "/xorbs/default/{}"),
    ("POST", "/xorb/default/{}"),
    ("POST", "/v1/shards"),
    ("POST", "/shards"),
    ("POST", "/shard/default/{}"),
    ("PUT", "/shard/default/{}"),
    ("POST", "/v1/xorb-grants/default/{}"),
]


@pytest.mark.parametrize(("method", "path"), OLDER)
def test_the_paths_of_every_client(cas: Cas, method: str, path: str) -> None:
    base, key = cas.key(cas.user("ann"), "ann/open", "write")
    body = b"{}" if method in ("POST", "PUT") else None
    answer = cas.ask(method, base + path.format(UNKNOWN), token=key, body=body)
    assert answer.status in (400, 404)
    assert ROUTE_MISSING not in answer.body
    assert len(answer.headers["X-Request-Id"]) >= 8
    # Without a key none of them does anything, grants excepted: they are not here at all.
    bare = cas.ask(method, base + path.format(UNKNOWN), body=body)
    assert bare.status == (404 if "grants" in path else 401)


def test_what_a_client_falls_back_from(cas: Cas) -> None:
    """404, not 501 and not 405: the newest client then does without."""
    base, key = cas.key(cas.user("ann"), "ann/open", "write")
    grant = cas.ask("POST", f"{base}/v1/xorb-grants/default/{UNKNOWN}", token=key, body=b"{}")
    hashes = cas.ask("GET", f"{base}/v2/file-chunk-hashes/{UNKNOWN}", token=key)
    assert (grant.status, hashes.status) == (404, 404)


def test_telemetry_is_taken(cas: Cas) -> None:
    base, key = cas.key(cas.user("ann"), "ann/open", "read")
    assert cas.ask("POST", f"{base}/v1/telemetry", token=key, body=b"{}").status == 204
    assert cas.ask("POST", f"{base}/v1/telemetry", body=b"{}").status == 401


def test_what_is_remembered_of_an_earlier_store_is_forgotten(cas: Cas) -> None:
    ann = cas.user("ann")
    base, key = cas.key(ann, "ann/open", "write")
    old = base.replace("g1", "g0")
    for method, path in [
        ("GET", f"/v1/chunks/default/{UNKNOWN}"),
        ("POST", f"/v1/xorbs/default/{UNKNOWN}"),
        ("POST", "/v2/shards"),
    ]:
        answer = cas.ask(method, old + path, token=key, body=b"")
        assert (answer.status, b"earlier store" in answer.body) == (404, True)


def test_grants() -> None:
    with serve(xet_grants=True) as served:
        ann, bob = served.user("ann"), served.user("bob")
        served.repo("ann/m")
        base, key = served.key(ann, "ann/m", "write")
        door = f"{base}/v1/xorb-grants/default/{UNKNOWN}"
        body = b'{"length":5,"checksum":{"algo":"crc64nvme","value":"1"}}'
        answer = served.ask("POST", door, token=key, body=body)
        assert answer.status == 201
        grant = answer.json
        assert (grant["method"], grant["headers"]) == ("PUT", {})
        wrong = served.ask("PUT", grant["url"], body=b"four")
        assert told(wrong) == (400, "BadRequest")
        assert told(served.ask("PUT", grant["url"], body=b"five!"))[0] == 400  # no such xorb
        assert told(served.ask("PUT", grant["url"] + "A", body=b"five!"))[0] == 403
        done = f"{base}/v1/xorb-commits/default/{UNKNOWN}/grant/{grant['id']}"
        assert served.ask("POST", done, token=key, body=b"").json == {"was_inserted": True}
        assert served.ask("POST", done[:-3], token=key, body=b"").status == 404
        other = done.replace(UNKNOWN, "0" * 64)
        assert served.ask("POST", other, token=key, body=b"").status == 404
        assert served.ask("POST", door, token=key, body=b'{"length":0}').status == 400
        reader = served.key(bob, "ann/m", "read")[1]
        assert served.ask("POST", door, token=reader, body=body).status == 403
        served.hub.catalog.tokens.revoke("ann", served.hub.catalog.tokens.list("ann")[0].name)
        assert served.ask("PUT", grant["url"], body=b"five!").status == 401
