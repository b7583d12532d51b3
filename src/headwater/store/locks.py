"""Locks between the processes of one hub: held on a file, gone with their holder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from headwater.errors import Unavailable

_LOCK_FILE = "LOCK"
_POLL_S = 0.02


@contextmanager
def file_lock(root: str, *, shared: bool) -> Iterator[None]:
    """Holds the store's own lock: shared to publish or renew, alone to look at an age and delete.

    Both are brief: nothing is read, written or synced under it.
    """
    fd = os.open(f"{root}/{_LOCK_FILE}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)  # gives the lock back


@contextmanager
def lock_of(root: str, name: str, *, shared: bool, wait_s: float) -> Iterator[None]:
    """Holds the lock file `name` of the store for as long as a job takes; Unavailable when others
    have not given it back after `wait_s`."""
    try:
        fd = os.open(f"{root}/{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"lock {name}: {error.strerror}; try again") from error
    try:
        lock_fd(fd, shared=shared, wait_s=wait_s, what="a packed file")
        yield
    finally:
        os.close(fd)


def lock_fd(fd: int, *, shared: bool, wait_s: float, what: str) -> None:
    """Locks an open file for as long as it stays open; Unavailable after `wait_s`."""
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(fd, kind)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline_s:
                raise Unavailable(f"{what} is still being written; try again") from None
            time.sleep(_POLL_S)
