"""A real PostgreSQL for the tests: one throwaway cluster a session, on loopback only.

    with cluster() as postgres:            NoServer, with the reason, when there are no binaries
        url = postgres.database("name")    a fresh, empty database

It runs as an unprivileged user when the tests run as root (PostgreSQL refuses root), and without
fsync: what it holds is worth nothing the moment the tests are over.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

START_S = 30
_BINARIES = "/usr/lib/postgresql/*/bin"  # where Debian keeps each version apart
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")


class NoServer(Exception):
    """There is no PostgreSQL here to run; the text says what was looked for."""


class Postgres:
    """A running cluster."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, database: str) -> str:
        return f"postgresql://headwater@127.0.0.1:{self.port}/{database}"

    def database(self, name: str, template: str = "template0") -> str:
        """The address of a new database, empty or a copy of `template`."""
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self.url(name)

    def drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as conn:
            conn.execute(statement)


@contextmanager
def cluster() -> Iterator[Postgres]:
    """A cluster in a folder of its own, stopped and removed at the end."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="headwater-pg-"))
    who = _unprivileged(folder)
    try:
        _run([binaries / "initdb", "-D", folder / "data", "-U", "headwater", "-A", "trust",
              "-E", "UTF8", "--locale=C", "--no-sync"], who, folder)  # fmt: skip
        port = _free_port()
        options = [arg for option in _FAST for arg in ("-c", option)]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", folder / "data", "-p", str(port), *options,
                 "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
                 "-c", "max_connections=200"],
                stdout=log, stderr=log, cwd=folder, **who,
            )  # fmt: skip
        try:
            _wait(port, server, folder / "log")
            yield Postgres(port)
        finally:
            server.terminate()
            try:
                server.wait(START_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    """The folder of the newest server on this machine."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    root, _, below = _BINARIES.partition("*")
    versions = [p for p in Path(root).glob(f"*{below}") if (p / "initdb").exists()]
    if not versions:
        raise NoServer(f"no PostgreSQL server: no initdb on PATH or in {_BINARIES}")
    return max(versions, key=lambda p: float(p.parent.name))


def _unprivileged(folder: Path) -> dict[str, Any]:
    """How to start a process as somebody who owns `folder` and is not root."""
    if os.getuid() != 0:
        return {}
    known = {user.pw_name: user for user in pwd.getpwall()}
    user = known.get("postgres") or known.get("nobody")
    if user is None:
        raise NoServer("PostgreSQL refuses to run as root, and there is no user for it here")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _run(command: list[Any], who: dict[str, Any], folder: Path) -> None:
    done = subprocess.run(command, capture_output=True, cwd=folder, **who)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.decode()}")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _wait(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            psycopg.connect(f"postgresql://headwater@127.0.0.1:{port}/postgres").close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}") from None
            time.sleep(0.05)
