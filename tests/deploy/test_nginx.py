"""deploy/nginx.conf as it is shipped, run by a real nginx in front of a live hub."""

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gitrun import GitUser

from live import HOST, LiveHub
from nginx_kit import NGINX, nginx
from raw import Raw

COUNTED_S_MAX = 10.0  # downloads are written each second
DATA = hashlib.shake_256(b"behind nginx").digest(3 * 2**20 + 17)

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@pytest.fixture(scope="module")
def proxy(live_hub: LiveHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an nginx that leads to the live hub."""
    with nginx(tmp_path_factory.mktemp("nginx"), live_hub.port) as port:
        yield f"http://{HOST}:{port}"


@pytest.fixture
def caller(proxy: str, live_hub: LiveHub) -> Iterator[Raw]:
    with Raw(proxy, live_hub.token("nina")) as raw:
        yield raw


def test_a_file_goes_up_and_comes_down_and_every_address_is_the_proxys(
    proxy: str, caller: Raw
) -> None:
    """The whole way of an LFS file; the batch's addresses lead through the proxy again."""
    made = caller.create("nina/proxied")
    assert (made.status, made.body["url"]) == (200, f"{proxy}/nina/proxied")
    oid = hashlib.sha256(DATA).hexdigest()
    batch = caller.http.post(
        "/nina/proxied.git/info/lfs/objects/batch",
        json={
            "operation": "upload",
            "transfers": ["basic"],
            "objects": [{"oid": oid, "size": len(DATA)}],
        },
    ).json()
    actions = batch["objects"][0]["actions"]
    assert all(action["href"].startswith(f"{proxy}/") for action in actions.values())
    assert httpx.put(actions["upload"]["href"], content=DATA, trust_env=False).status_code == 200
    lines = (
        '{"key":"header","value":{"summary":"through nginx"}}\n'
        '{"key":"lfsFile","value":{"path":"w.bin","algo":"sha256",'
        f'"oid":"{oid}","size":{len(DATA)}}}}}\n'
    )
    commit = caller.http.post(
        "/api/models/nina/proxied/commit/main",
        content=lines,
        headers={"Content-Type": "application/x-ndjson"},
    ).json()
    assert commit["commitUrl"].startswith(f"{proxy}/nina/proxied/commit/")

    got = caller.http.get("/nina/proxied/resolve/main/w.bin", follow_redirects=False)
    assert got.status_code == 200
    assert hashlib.sha256(got.content).hexdigest() == oid
    assert got.headers["X-Repo-Commit"] == commit["commitOid"]
    part = caller.http.get("/nina/proxied/resolve/main/w.bin", headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, DATA[5:10])
    head = caller.http.head("/nina/proxied/resolve/main/w.bin")
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(DATA)))


def test_a_body_without_a_length_passes(proxy: str, caller: Raw) -> None:
    """Unbuffered and chunked: what nginx does not know the end of goes on as it comes."""
    caller.create("nina/chunked")
    lines = [
        b'{"key":"header","value":{"summary":"chunked"}}\n',
        b'{"key":"file","value":{"content":"aGVsbG8=","path":"a.txt","encoding":"base64"}}\n',
    ]
    commit = caller.http.post(
        "/api/models/nina/chunked/commit/main",
        content=iter(lines),
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert commit.status_code == 200
    assert caller.http.get("/nina/chunked/resolve/main/a.txt").content == b"hello"


def test_an_escaped_revision_arrives_as_it_was_sent(proxy: str, caller: Raw) -> None:
    """`feature%2Fone` is one segment; a proxy that decodes it makes it two."""
    caller.create("nina/escaped")
    branch = caller.http.post("/api/models/nina/escaped/branch/feature%2Fone", json={})
    assert branch.status_code == 200
    assert caller.http.get("/api/models/nina/escaped/tree/feature%2Fone").status_code == 200


def test_what_a_client_says_of_itself_does_not_reach_the_hub(proxy: str, caller: Raw) -> None:
    """The hub believes nginx, so nginx must not pass on a stranger's X-Forwarded-*."""
    lies = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Prefix": "/evil",
    }
    token = caller.http.post(
        "/api/repos/create", json={"name": "honest", "organization": "nina"}, headers=lies
    ).json()
    assert token["url"] == f"{proxy}/nina/honest"


def test_xet_addresses_are_the_proxys_too(proxy: str, caller: Raw) -> None:
    caller.create("nina/xet")
    answer = caller.http.get("/api/models/nina/xet/xet-write-token/main")
    assert answer.json()["casUrl"].startswith(f"{proxy}/cas/g")
    assert answer.headers["X-Xet-Cas-Url"] == answer.json()["casUrl"]


def test_anonymous_callers_behind_the_proxy_are_told_apart(
    proxy: str, caller: Raw, live_hub: LiveHub
) -> None:
    """Two networks are two callers, although every request comes from nginx; and what a client
    writes into X-Forwarded-For makes nobody a third."""
    caller.create("nina/counted")
    caller.commit("nina/counted", {"config.json": b"{}"})
    for source in ("127.0.0.2", "127.0.0.3", "127.0.0.2"):
        transport = httpx.HTTPTransport(local_address=source)
        lies = {"X-Forwarded-For": "203.0.113.1"}
        with httpx.Client(transport=transport, headers=lies, trust_env=False) as client:
            got = client.get(f"{proxy}/nina/counted/resolve/main/config.json")
            assert got.status_code == 200
    deadline = time.monotonic() + COUNTED_S_MAX
    while (found := callers_of(live_hub, "nina/counted")) < 2:
        assert time.monotonic() < deadline, f"{found} callers were counted"
        time.sleep(0.1)
    assert found == 2


def callers_of(hub: LiveHub, key: str) -> int:
    with contextlib.closing(sqlite3.connect(hub.data / "catalog.sqlite")) as conn:
        (count,) = conn.execute(
            "SELECT count(*) FROM download_seen JOIN repo ON repo.id = repo_id WHERE key = ?",
            (key,),
        ).fetchone()
        return int(count)


def test_git_clones_and_pushes_through_it(
    proxy: str, caller: Raw, live_hub: LiveHub, tmp_path: Path
) -> None:
    """A pack of megabytes goes in pieces of no stated length; a 401 comes back as one."""
    caller.create("nina/git")
    git = GitUser(live_hub, live_hub.token("nina"), tmp_path / "home")
    git("clone", f"{proxy}/nina/git", "m", cwd=tmp_path)
    git.commit(tmp_path / "m", {f"{n}.txt": os.urandom(2**20) for n in range(5)})
    git("push", cwd=tmp_path / "m")
    git("clone", f"{proxy}/nina/git.git", "again", cwd=tmp_path)
    assert (tmp_path / "again/4.txt").read_bytes() == (tmp_path / "m/4.txt").read_bytes()
