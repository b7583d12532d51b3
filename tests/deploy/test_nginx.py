"""deploy/nginx.conf as it is shipped, run by a real nginx in front of a live hub.

Only the port, the upstream's address and nginx's own scratch folders are ours.
"""

import contextlib
import hashlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from live import HOST, LiveHub, free_port
from raw import Raw

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
START_S_MAX = 10.0
DATA = hashlib.shake_256(b"behind nginx").digest(3 * 2**20 + 17)
SCRATCH = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


def site(port: int, upstream_port: int) -> str:
    """The shipped file with its two addresses exchanged; each must be there exactly once."""
    text = SHIPPED.read_text("utf-8")
    for pattern, ours in (
        (r"listen 80;", f"listen {HOST}:{port};"),
        (r"server 127\.0\.0\.1:8765;", f"server {HOST}:{upstream_port};"),
    ):
        text, times = re.subn(pattern, ours, text)
        assert times == 1, pattern
    return text


@pytest.fixture(scope="module")
def proxy(live_hub: LiveHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an nginx that leads to the live hub."""
    folder = tmp_path_factory.mktemp("nginx")
    folder.chmod(0o755)
    port = free_port()
    (folder / "site.conf").write_text(site(port, live_hub.port), "utf-8")
    scratch = "\n".join(f"    {name}_temp_path {folder}/{name};" for name in SCRATCH)
    config = folder / "nginx.conf"
    config.write_text(
        f"""daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
{scratch}
    include {folder}/site.conf;
}}
""",
        "utf-8",
    )
    command = [str(NGINX), "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait(START_S_MAX)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.02)
    raise AssertionError("nginx did not begin to listen")


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
