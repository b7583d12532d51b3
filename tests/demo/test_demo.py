"""`make demo`, for real: it needs the package index the first time, as every client test does.

Run twice over one folder, because a demo that works only once is a demo that fails in front of
people; then stopped, because a hub that cannot be stopped is worse than none.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from pathlib import Path

import pytest

from live import HOST, clean_environ, free_port

ROOT = Path(__file__).resolve().parents[2]
RUN_SECONDS_MAX = 500.0  # half a minute is normal; most of it is the package index

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo", "--folder", str(folder), *arguments],
        cwd=ROOT,
        env=clean_environ(),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )


def health(port: int) -> int | None:
    """The status of /healthz, or None when nobody listens."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()


def test_the_demo_runs_twice_and_stops(tmp_path: Path) -> None:
    """Exit 0, the line to copy, a hub that answers; the second run stores nothing new."""
    port = free_port()
    try:
        first = demo(tmp_path, "--port", str(port))
        assert first.returncode == 0, first.stdout + first.stderr
        assert f"\nexport HF_ENDPOINT=http://{HOST}:{port}\n" in first.stdout
        assert "RepositoryNotFoundError" in first.stdout
        assert health(port) == http.client.OK

        second = demo(tmp_path, "--port", str(port))
        assert second.returncode == 0, second.stdout + second.stderr
        assert "stopped it, its data stays" in second.stdout
        assert f"\nexport HF_ENDPOINT=http://{HOST}:{port}\n" in second.stdout
        assert "nothing new" in second.stdout
        assert health(port) == http.client.OK
    finally:
        stopped = demo(tmp_path, "--stop")
    assert stopped.returncode == 0
    assert health(port) is None


def test_a_stranger_with_our_pid_is_left_alone(tmp_path: Path) -> None:
    """Stopping touches no process but the demo's own hub: here, the pid is this test's."""
    (tmp_path / "hub.pid").write_text(f'{{"pid": {os.getpid()}, "port": 1}}')
    stopped = demo(tmp_path, "--stop")
    assert stopped.returncode == 0
    assert "no demo hub is running" in stopped.stdout
