"""The demo's hub: a detached server over `FOLDER/hub`, known again by a pid file.

    start(folder, port) -> Hub    ready to answer; another port when `port` is taken
    stop(folder) -> bool          whether one was running; never touches a process not ours

A pid alone proves nothing, because pids come back: a process is ours only when its command line
is the one that this folder's hub is started with.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import HOST, DemoFailed

START_SECONDS_MAX = 60.0  # about two are normal; a first start on a cold disk gets room
STOP_SECONDS_MAX = 40.0  # the hub gives running requests 30
POLL_SECONDS = 0.1
LOG_TAIL_LINES = 15
CONFLICT_EXIT = 4  # of `headwater`: it is here already
NOT_FOUND_EXIT = 3


@dataclass(frozen=True, slots=True)
class Hub:
    """One running hub."""

    data: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def command(self, *arguments: str, allowed: tuple[int, ...] = ()) -> str:
        """Run `headwater ARGUMENTS --data ...`: what it printed. DemoFailed on any other exit."""
        done = subprocess.run(  # noqa: S603  (our own program, no shell)
            [*_headwater(), *arguments, "--data", str(self.data)],
            capture_output=True,
            text=True,
            env=_environ(),
            check=False,
        )
        if done.returncode not in (0, *allowed):
            shown = " ".join(arguments[:2])
            raise DemoFailed(f"`headwater {shown}` failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout.strip()

    def get(self, path: str, token: str = "") -> tuple[int, Any]:
        """GET `path`: the status, and the JSON body (None when it is not JSON)."""
        return _get(self.port, path, token)

    def token(self, user: str, role: str, kept: Path) -> str:
        """The user's token, kept in the file `kept`; made anew when the hub no longer takes it."""
        if kept.is_file():
            token = kept.read_text().strip()
            if self.get("/api/whoami-v2", token)[0] == http.client.OK:
                return token
        self.command("token", "revoke", user, "demo", allowed=(NOT_FOUND_EXIT,))
        token = self.command("token", "create", user, "--name", "demo", "--role", role)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.touch(mode=0o600)
        kept.write_text(token)
        return token

    def stored_bytes(self) -> int:
        """What the store's files hold; a file with two names counts once."""
        sizes: dict[tuple[int, int], int] = {}
        for path in (self.data / "store").rglob("*"):
            with suppress(FileNotFoundError):  # a temporary file may go while we look
                info = path.lstat()
                if path.is_file():
                    sizes[info.st_dev, info.st_ino] = info.st_size
        return sum(sizes.values())


def start(folder: Path, port: int) -> Hub:
    """Start a hub that outlives us. DemoFailed with the end of its log when it does not come up."""
    hub = Hub(folder / "hub", _free_port(port))
    log = folder / "hub.log"
    log.touch(mode=0o600)  # the first start prints the admin's token there
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603  (our own program, no shell)
            [*_serve(hub.data), "--host", HOST, "--port", str(hub.port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environ(),
            start_new_session=True,  # closing this terminal must not end the hub
        )
    _pid_file(folder).write_text(json.dumps({"pid": process.pid, "port": hub.port}))
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError, http.client.HTTPException):
            if hub.get("/healthz")[0] == http.client.OK:
                return hub
        time.sleep(POLL_SECONDS)
    stop(folder)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
    raise DemoFailed(f"the hub did not come up; the end of {log}:\n{tail}")


def stop(folder: Path) -> bool:
    """End this folder's hub if one runs: SIGTERM, and SIGKILL after its time is up."""
    pid = running(folder)
    if pid is not None:
        for way, seconds in ((signal.SIGTERM, STOP_SECONDS_MAX), (signal.SIGKILL, 5.0)):
            with suppress(ProcessLookupError):
                os.kill(pid, way)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and running(folder) == pid:
                time.sleep(POLL_SECONDS)
            if running(folder) != pid:
                break
        else:
            raise DemoFailed(f"the hub (process {pid}) does not end; stop it by hand")
    _pid_file(folder).unlink(missing_ok=True)
    return pid is not None


def running(folder: Path) -> int | None:
    """The pid of this folder's hub, or None when it has ended or is somebody else by now."""
    try:
        pid = int(json.loads(_pid_file(folder).read_text())["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    ours = " ".join(_serve(folder / "hub")[1:]) + " "  # after the Python, which may be a link
    return pid if ours in _command_of(pid) + " " else None


def _command_of(pid: int) -> str:
    """The command line of a process; empty when it has ended (a zombie has none)."""
    proc = Path("/proc")
    if (proc / "self" / "cmdline").exists():
        with suppress(OSError):
            raw = (proc / str(pid) / "cmdline").read_bytes()
            return raw.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
        return ""
    ps = shutil.which("ps")
    if ps is None:
        return ""
    done = subprocess.run(  # noqa: S603  (a full path and a number)
        [ps, "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _headwater() -> list[str]:
    return [sys.executable, "-m", "headwater"]


def _serve(data: Path) -> list[str]:
    return [*_headwater(), "serve", "--data", str(data)]


def _pid_file(folder: Path) -> Path:
    return folder / "hub.pid"


def _environ() -> dict[str, str]:
    """Ours without HEADWATER_ settings: the demo must not write into somebody's real hub."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
    return kept | {"PYTHONUNBUFFERED": "1"}


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            with suppress(OSError):
                probe.bind((HOST, port))
                return int(probe.getsockname()[1])
    raise DemoFailed("no free TCP port on this machine")


def _get(port: int, path: str, token: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request(
            "GET", path, headers={"Authorization": f"Bearer {token}"} if token else {}
        )
        reply = connection.getresponse()
        body = reply.read()
    finally:
        connection.close()
    try:
        return reply.status, json.loads(body)
    except ValueError:
        return reply.status, None
