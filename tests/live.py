"""A real hub for tests: the server in its own processes, on loopback, over a folder of its own.

    hub = LiveHub(folder)
    hub.start(workers=1)   ready (GET /healthz is 200) or HubFailed with the end of the log
    hub.stop()             SIGTERM, waits; HubFailed if it must be killed
    hub.kill()             SIGKILL to all its processes at once: a crash
    hub.restart()          stop if running, start again on the same port over the same data
    hub.token("ann")       a write token; makes the user first
    hub.cli("check")       `headwater check --data ...` as a CompletedProcess, run in this process
    hub.process("check")   the same in one of its own

Nothing of the caller's own Hugging Face or Headwater settings reaches the server.
"""

from __future__ import annotations

import http.client
import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from threading import Lock
from unittest.mock import patch

from headwater.catalog.actors import TokenRole
from headwater.catalog.catalog import Catalog
from headwater.cli.main import run
from headwater.settings import load

HOST = "127.0.0.1"
START_SECONDS_MAX = 30.0  # a cold start takes about two; slow shared machines get room
STOP_SECONDS_MAX = 20.0  # a graceful stop lets running requests end
CLI_SECONDS_MAX = 120.0  # `check --bytes` reads the whole store
POLL_SECONDS = 0.05
PORT_TRIES = 5  # another test worker may take the port between our look and the server's bind
LOG_TAIL_CHARS = 4000
TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{34,}\b")
FOREIGN_PREFIXES = ("HF_", "HUGGING", "HEADWATER_", "TRANSFORMERS_", "DATASETS_", "XET_")
CLI_LOCK = Lock()  # it borrows the output and the environment of the whole process
SOURCE = Path(__file__).resolve().parents[1] / "src"


class HubFailed(RuntimeError):
    """The server did not do what the test harness needs; the message ends with its log."""


def clean_environ() -> dict[str, str]:
    """This process's environment without any hub setting, and this checkout first to import."""
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(FOREIGN_PREFIXES)}
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SOURCE), kept.get("PYTHONPATH")]))
    kept["PYTHONUNBUFFERED"] = "1"  # a log that lags behind a crash explains nothing
    return kept


def free_port() -> int:
    """A TCP port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class LiveHub:
    def __init__(self, folder: Path) -> None:
        """`folder` will hold `data/` (the hub's) and `hub.log` (stdout and stderr of all runs)."""
        folder.mkdir(parents=True, exist_ok=True)
        self.data = folder / "data"
        self.log = folder / "hub.log"
        self.port = 0  # chosen by the first start, then kept
        self.wrapper: list[str] = []  # a program that runs the server, such as strace
        self.workers = 1
        self.lineage = False  # comparing what tests upload costs seconds a model
        self.admin_token = ""  # printed by the first start only
        self._process: subprocess.Popen[bytes] | None = None
        self._users: set[str] = {"admin"}
        self._tokens: dict[tuple[str, str], str] = {}

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def store(self) -> Path:
        """The folder whose growth tells what the server kept."""
        return self.data / "store"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    # -- life ------------------------------------------------------------------------------

    def start(self, workers: int = 1) -> None:
        """Serve, and return when the hub answers. Raises HubFailed."""
        if self.running:
            raise HubFailed("the hub is running already")
        self.workers = workers
        tries = 1 if self.port else PORT_TRIES
        for attempt in range(tries):
            if not self.port:
                self.port = free_port()
            try:
                self._start_once()
                break
            except HubFailed:
                if attempt == tries - 1 or "in use" not in self.log_tail():
                    raise
                self.port = 0
        if not self.admin_token:
            self.admin_token = self._printed_token()

    def _start_once(self) -> None:
        command = [*self.wrapper, sys.executable, "-m", "headwater", "serve"]
        command += ["--data", str(self.data)]
        command += ["--host", HOST, "--port", str(self.port), "--workers", str(self.workers)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=clean_environ() | {"HEADWATER_LINEAGE": str(self.lineage).lower()},
                start_new_session=True,  # its own group, so that kill() reaches every worker
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if not self.running:
                self._process = None
                raise self._failed("the hub ended while starting")
            if self._healthy():
                return
            time.sleep(POLL_SECONDS)
        self.kill()
        raise self._failed(f"GET /healthz was not 200 within {START_SECONDS_MAX} s")

    def stop(self) -> None:
        """End it as an operator would, with SIGTERM. No-op when it is not running."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._failed(f"the hub ignored SIGTERM for {STOP_SECONDS_MAX} s") from None
        self._process = None

    def kill(self) -> None:
        """End every process of the hub at once with SIGKILL. No-op when it is not running."""
        process = self._process
        if process is None:
            return
        with suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._process = None

    def restart(self, workers: int | None = None) -> None:
        """Stop if need be, then serve the same data on the same port. Raises HubFailed."""
        self.stop()
        self.start(self.workers if workers is None else workers)

    # -- people ----------------------------------------------------------------------------

    def process(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run `headwater ARGS --data DIR` to its end; the caller looks at the return code."""
        return subprocess.run(
            [sys.executable, "-m", "headwater", *args, "--data", str(self.data)],
            capture_output=True,
            text=True,
            env=clean_environ(),
            timeout=CLI_SECONDS_MAX,
            check=False,
        )

    def cli(self, *args: str) -> subprocess.CompletedProcess[str]:
        """As `process`, in this one: to start another takes longer than most commands do."""
        out, err, code = io.StringIO(), io.StringIO(), 0
        argv = ["headwater", *args, "--data", str(self.data)]
        with (
            CLI_LOCK,
            patch.dict(os.environ, clean_environ(), clear=True),
            patch.object(sys, "argv", argv),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                run()
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
        return subprocess.CompletedProcess(argv, code, out.getvalue(), err.getvalue())

    def cli_ok(self, *args: str) -> str:
        """Like `cli`, but HubFailed unless it exits 0; gives its stdout, stripped."""
        done = self.cli(*args)
        if done.returncode:
            said = (done.stdout + done.stderr)[-LOG_TAIL_CHARS:]
            raise HubFailed(f"headwater {' '.join(args)} exited {done.returncode}:\n{said}")
        return done.stdout.strip()

    @contextmanager
    def catalog(self) -> Iterator[Catalog]:
        """The hub's catalog, opened beside it as its command line does: hundreds of tests need
        somebody of their own, and to start a process for each takes longer than the tests."""
        settings = load({"data": self.data}, clean_environ())
        secret = (self.data / "secret").read_bytes()
        ttl_s = settings.upload_ttl_s
        opened = Catalog.open(settings.catalog_url, upload_ttl_s=ttl_s, secret=secret)
        try:
            yield opened
        finally:
            opened.close()

    def user(self, name: str) -> str:
        """Make sure that user `name` exists."""
        if name not in self._users:
            with self.catalog() as catalog:
                catalog.accounts.create(name)
            self._users.add(name)
        return name

    def org(self, name: str, owner: str) -> str:
        """Make a new organisation owned by `owner`."""
        self.user(owner)
        with self.catalog() as catalog:
            catalog.accounts.create(name, "org")
            catalog.accounts.set_role(name, owner, "admin")
        return name

    def token(self, user: str, role: TokenRole = "write") -> str:
        """A token of `user` (made if need be) with `role`; the same one each time."""
        if (user, role) not in self._tokens:
            self.user(user)
            with self.catalog() as catalog:
                self._tokens[user, role] = catalog.tokens.create(user, f"test-{role}", role)
        return self._tokens[user, role]

    # -- looking ---------------------------------------------------------------------------

    def rss_bytes(self) -> int:
        """Resident memory of the server and all its children, shared pages counted each time."""
        return sum(_rss_bytes(pid) for pid in self._tree())

    def log_tail(self) -> str:
        """The end of the log, for failure messages; empty before the first start."""
        return self.log.read_text(errors="replace")[-LOG_TAIL_CHARS:] if self.log.exists() else ""

    def _tree(self) -> list[int]:
        if self._process is None:
            return []
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (parent := _parent(int(entry.name))):
                children.setdefault(parent, []).append(int(entry.name))
        tree = [self._process.pid]
        for pid in tree:  # grows while it is walked: that is the walk
            tree += children.get(pid, [])
        return tree

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _printed_token(self) -> str:
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if found := TOKEN.search(self.log.read_text(errors="replace")):
                return found[0]
            time.sleep(POLL_SECONDS)
        raise self._failed("the first start printed no admin token")

    def _failed(self, what: str) -> HubFailed:
        return HubFailed(f"{what}; {self.log} ends:\n{self.log_tail()}")


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None  # it ended while we looked
    return int(stat.rpartition(")")[2].split()[1])  # the name before ")" may hold anything


def _rss_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
