"""Private is missing: whatever is asked, of any route, a stranger hears the same of both (S18).

Every operation of the hub's document that names a repo is asked twice, for a private repo and for
one that never was; the names are equally long. Status, headers and body must be equal but for the
request id, the time and the name itself.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from doc_kit import Operation, one_of_each, operations

from live import LiveHub
from raw import Raw

OWNER = "walled"
PRIVATE, MISSING = "garden", "desert"  # equally long
# In the owner's namespace, which everybody may know; and in none at all.
NOBODY = "nobody"
IGNORED = frozenset({"x-request-id", "date"})
LEAST = 35  # operations that name a repo; fewer, and the walk has lost its way


@pytest.fixture(scope="module")
def walled(live_hub: LiveHub) -> dict[str, str]:
    """Values for addresses; a private repo of each type that has all of what they name."""
    with Raw(live_hub.url, live_hub.token(OWNER)) as raw:
        for type in ("model", "dataset", "space", "kernel"):
            assert raw.create(f"{OWNER}/{PRIVATE}", type, private=True, sdk="static").status == 200
        raw.commit(f"{OWNER}/{PRIVATE}", {"README.md": b"# secret", "a/b.txt": b"x"})
        raw.http.post(f"/api/models/{OWNER}/{PRIVATE}/branch/side", json={})
        raw.http.post(f"/api/models/{OWNER}/{PRIVATE}/tag/main", json={"tag": "v1"})
        pull = b'{"key":"header","value":{"summary":"pr"}}\n{"key":"file","value":{"path":"n",'
        made = raw.http.post(
            f"/api/models/{OWNER}/{PRIVATE}/commit/main?create_pr=1",
            content=pull + b'"content":""}}',
        )
        assert made.status_code == 200
    return {
        "T": "models", "namespace": OWNER, "rev": "main", "path": "README.md", "name": "side",
        "num": "1", "tag": "v1", "user": OWNER, "username": OWNER, "org": OWNER,
    }  # fmt: skip


@pytest.fixture(scope="module")
def asked(live_hub: LiveHub) -> list[Operation]:
    document = httpx.get(f"{live_hub.url}/openapi.json", trust_env=False).json()
    return one_of_each(operations(document))


@pytest.fixture(scope="module", params=["nobody", "a stranger", "a stranger who reads"])
def stranger(live_hub: LiveHub, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    tokens = {
        "nobody": None,
        "a stranger": lambda: live_hub.token("passerby"),
        "a stranger who reads": lambda: live_hub.token("passerby", "read"),
    }
    token = tokens[request.param]
    headers = {"Authorization": f"Bearer {token()}"} if token else {}
    with httpx.Client(base_url=live_hub.url, headers=headers, trust_env=False) as client:
        yield client


def answer(
    client: httpx.Client, op: Operation, values: dict[str, str], name: str
) -> tuple[int, list[tuple[str, str]], str]:
    """What came, with the name that was asked for taken out."""
    full = f"{values['namespace']}/{name}"
    named = {"name": name, "organization": values["namespace"], "repo": name, "repoId": full,
             "fromRepo": full, "toRepo": f"passerby/{name}", "repo_id": full, "repoName": full,
             "paths": ["README.md"]}  # fmt: skip
    content: dict[str, Any] = {}
    if op.json_media is not None:
        body = op.body(named)
        content = {"json": body, "headers": {"Content-Type": op.json_media}}
        if op.json_media == "application/x-ndjson":
            content = {"content": b'{"key":"header","value":{"summary":"x"}}\n'}
    elif op.media:
        content = {"content": b"bytes"}
    reply = client.request(op.method, op.url(values | {"repo": name}), **content)

    def clean(text: str) -> str:
        return text.replace(full.lower(), "REPO").replace(full, "REPO").replace(name, "NAME")

    headers = [(k, clean(v)) for k, v in reply.headers.items() if k not in IGNORED]
    text = reply.text.replace(reply.headers["x-request-id"], "ID")
    return reply.status_code, sorted(headers), clean(text)


@pytest.mark.parametrize("namespace", [OWNER, NOBODY])
def test_private_and_missing_sound_the_same(
    stranger: httpx.Client, walled: dict[str, str], asked: list[Operation], namespace: str
) -> None:
    """The second time, the missing one lies in a namespace that does not exist either."""
    told, seen = [], 0
    for op in asked:
        fields = (op.body({}) or {}) if isinstance(op.body({}), dict) else {}
        if "repo" not in op.variables and not {"name", "fromRepo", "repoId"} & fields.keys():
            continue
        if op.path == "/api/repos/create" or (op.path.endswith("/move") and namespace == NOBODY):
            continue  # to make one is to ask for a name; who may is told by the namespace alone
        seen += 1
        there = answer(stranger, op, walled, PRIVATE)
        gone = answer(stranger, op, walled | {"namespace": namespace}, MISSING)
        if there != gone:
            told.append(f"{op.name}: {there} but {gone}")
        elif there[0] < 400:
            told.append(f"{op.name}: {there[0]}; a stranger was served")
    assert not told, "\n".join(told)
    assert seen >= LEAST


@pytest.mark.parametrize("query", ["", "?author=" + OWNER, "?search=" + PRIVATE, "?full=true"])
def test_no_list_tells(
    stranger: httpx.Client, walled: dict[str, str], asked: list[Operation], query: str
) -> None:
    """Nor does any GET that names no repo: not its name, not what lies in it."""
    for op in asked:
        if op.method == "GET" and "repo" not in op.variables:
            for type in (
                ("models", "datasets", "spaces", "kernels") if "T" in op.variables else ("",)
            ):
                reply = stranger.get(op.url(walled | {"T": type}) + query)
                assert f"{OWNER}/{PRIVATE}" not in reply.text, op.name


def test_the_owner_is_served(live_hub: LiveHub, walled: dict[str, str]) -> None:
    """Else the tests above would compare two repos that are missing."""
    with Raw(live_hub.url, live_hub.token(OWNER)) as raw:
        for path in ("/api/models/{}", "/{}/resolve/main/README.md", "/api/models/{}/refs"):
            assert raw.http.get(path.format(f"{OWNER}/{PRIVATE}")).status_code == 200
