"""The whole hub under strace: nothing is acknowledged before it is on the disk.

One upload and two commits, one request at a time. The store's rule is the lint's; the catalog's is
that no HTTP reply leaves while its write-ahead log holds bytes that no sync followed: with
`synchronous=NORMAL` COMMIT returns before that, and kill -9 would never show it.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fsync_order import HTTP_REPLY, strace, violations

from live import HOST, TOKEN, clean_environ, free_port
from raw import Raw

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]

WAL = re.compile(r"<[^>]*catalog\.sqlite-wal>")
# A start-up line that a reader of this test may want to break, to see the lint turn red.
LAX = "import headwater.catalog.db as db; db.SYNCHRONOUS = 'OFF'"


@contextmanager
def traced_hub(folder: Path, trace: Path, lax: bool) -> Iterator[tuple[str, str]]:
    port, log = free_port(), folder / "log"
    env = clean_environ()
    if lax:
        (folder / "lax").mkdir()
        (folder / "lax" / "sitecustomize.py").write_text(LAX)
        env["PYTHONPATH"] = f"{folder / 'lax'}{os.pathsep}{env['PYTHONPATH']}"
    command = [sys.executable, "-m", "headwater", "serve", "--data", str(folder / "data")]
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*strace(str(trace)), *command, "--port", str(port)],
            env=env,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    url = f"http://{HOST}:{port}"
    try:
        for _ in range(400):
            try:
                if httpx.get(f"{url}/healthz").status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.05)
        else:
            raise AssertionError(log.read_text())
        found = TOKEN.search(log.read_text())
        assert found, log.read_text()
        yield url, found.group()
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # strace itself waits for what it traces
        server.wait(30)


def publish(folder: Path, *, lax: bool = False) -> list[str]:
    trace = folder / "trace"
    with traced_hub(folder, trace, lax) as (url, token), Raw(url, token) as raw:
        assert raw.create("admin/m").status == 200
        data = os.urandom(300_000)
        oid, status = raw.lfs("admin/m", data)
        assert status == 200
        assert raw.commit("admin/m", lfs={"w.bin": (oid, len(data))}).status == 200
        assert raw.commit("admin/m", files={"a.txt": b"text"}).status == 200
        assert raw.get("admin/m", "w.bin").content == data
    return trace.read_text(errors="replace").splitlines()


def unsynced_replies(lines: list[str]) -> list[str]:
    """Replies that left while the log held unsynced bytes, and how often it was written."""
    dirty, found, writes = False, [], 0
    for line in lines:
        if WAL.search(line) and re.search(r"\b(pwrite64|write|writev)\(", line):
            dirty, writes = True, writes + 1
        elif WAL.search(line) and re.search(r"\b(fsync|fdatasync)\(", line):
            dirty = False
        elif dirty and HTTP_REPLY in line and "HTTP/1.1 200" in line:
            found.append(line)
    assert writes > 0, "the trace shows no write to the log: the test looks in the wrong place"
    return found


def test_a_reply_follows_every_sync(tmp_path: Path) -> None:
    lines = publish(tmp_path)
    assert violations(lines, tmp_path / "data" / "store") == []
    assert unsynced_replies(lines) == []


def test_a_lax_catalog_is_caught(tmp_path: Path) -> None:
    assert unsynced_replies(publish(tmp_path, lax=True)) != []
