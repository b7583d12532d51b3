"""Which executors are alive: each holds a lock that ends with its process.

    lives = lives_of(url, folder)
    lives.hold("me")           until this process dies or `close`
    lives.beat()               now and then: takes the lock again if a server dropped it
    with lives.gone("other") as gone:   True when nobody holds it

On one machine a lock on a file; on PostgreSQL, whose executors may be on many machines, an
advisory lock of a session. Neither needs a clock: an executor that is slow is not dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

_LOCKS = 0x4845_4A4F  # "HEJO": the class of our advisory locks


class Lives(Protocol):
    def hold(self, executor: str) -> None: ...
    def beat(self) -> None: ...
    def gone(self, executor: str) -> contextlib.AbstractContextManager[bool]: ...
    def close(self) -> None: ...


def lives_of(url: str, folder: Path) -> Lives:
    return FileLives(folder) if url.startswith("sqlite") else ServerLives(url)


class FileLives:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._held: tuple[int, Path] | None = None

    def hold(self, executor: str) -> None:
        path = self._folder / f"{executor}.alive"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._held = (descriptor, path)

    def beat(self) -> None:
        """A file's lock holds by itself. What executors left that had no jobs is cleared away."""
        for path in self._folder.glob("*.alive"):
            with self.gone(path.stem):
                pass

    @contextlib.contextmanager
    def gone(self, executor: str) -> Iterator[bool]:
        path = self._folder / f"{executor}.alive"
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            yield True
            return
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        if self._held is not None:
            descriptor, path = self._held
            path.unlink(missing_ok=True)
            os.close(descriptor)
            self._held = None


class ServerLives:
    def __init__(self, url: str) -> None:
        self._url = url.replace("postgresql+psycopg://", "postgresql://")
        self._executor = ""
        self._guard = threading.Lock()  # one session, asked from one thread at a time
        self._connect()

    def _connect(self) -> None:
        import psycopg  # late: a hub on SQLite does without

        self._conn = psycopg.connect(self._url, autocommit=True)

    def hold(self, executor: str) -> None:
        self._executor = executor
        with self._guard:
            self._conn.execute("SELECT pg_advisory_lock(%s, %s)", (_LOCKS, _number(executor)))

    def beat(self) -> None:
        """After a lost session: a new one, and the lock again."""
        try:
            with self._guard:
                self._conn.execute("SELECT 1")
        except Exception:
            with contextlib.suppress(Exception):
                self._conn.close()
            self._connect()
            self.hold(self._executor)

    @contextlib.contextmanager
    def gone(self, executor: str) -> Iterator[bool]:
        key = (_LOCKS, _number(executor))
        with self._guard:
            row = self._conn.execute("SELECT pg_try_advisory_lock(%s, %s)", key).fetchone()
            free = bool(row and row[0])
            try:
                yield free
            finally:
                if free:
                    self._conn.execute("SELECT pg_advisory_unlock(%s, %s)", key)

    def close(self) -> None:
        self._conn.close()


def _number(executor: str) -> int:
    """A signed 32-bit number for PostgreSQL."""
    return zlib.crc32(executor.encode()) - 2**31
