"""Looking at hostile bytes in a process that may be killed (safety rule T14).

    inspector.inspect(read, size_bytes) -> Verdict

One worker process at a time, started when first needed. It has a pipe and nothing else; this side
reads the store for it. It is given two seconds of its own time and a bound of memory: beyond
them it is killed, and the verdict is that the file could not be verified. Never raises for what
the bytes are.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import msgspec

import headwater
from headwater.formats.inspect_worker import FRAME_BYTES_MAX
from headwater.formats.inspection import Verdict

WALL_S = 2.0  # in which the worker computes; what the store takes to read is not counted
START_S = 20.0  # for a cold start on a busy machine
JOBS_MAX = 500  # of one process: what leaks, leaks no further
READS_MAX = 100_000  # ranges asked for in one job
READ_BYTES_MAX = 256 * 2**20  # in one job, in all
PIECE_BYTES = 2**16

ENDED = "unknown"  # the kind of a file whose inspection did not come to its end
Read = Callable[[int, int], bytes]


class _Dead(Exception):
    """The worker ended, or must be ended; the text says why."""


class _Reply(msgspec.Struct, frozen=True):
    read: tuple[int, int] | None = None
    verdict: Verdict | None = None


class _Worker:
    """One process, and the time that it may still take."""

    def __init__(self) -> None:
        source = str(Path(headwater.__file__).resolve().parent.parent)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "headwater.formats.inspect_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"PYTHONPATH": source, "PATH": os.defpath, "PYTHONSAFEPATH": "1"},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.to, self.out = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self.to, False)
        os.set_blocking(self.out, False)
        self.jobs = 0
        self.left_s = START_S
        # By `end`, or when nobody holds the worker any more: no process outlives its use.
        self.end = weakref.finalize(self, _end_process, self.process)

    def send(self, body: bytes) -> None:
        data = memoryview(len(body).to_bytes(4, "big") + body)
        while data:
            self._wait(write=True)
            try:
                data = data[os.write(self.to, data[:PIECE_BYTES]) :]
            except BlockingIOError:
                continue
            except OSError:
                raise _Dead("its inspection was ended by a limit") from None

    def receive(self) -> bytes:
        length = int.from_bytes(self._exactly(4), "big")
        if length > FRAME_BYTES_MAX:
            raise _Dead("its inspection went wrong")
        return self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            self._wait(write=False)
            try:
                got = os.read(self.out, count - len(parts))
            except BlockingIOError:
                continue
            if not got:
                raise _Dead("its inspection was ended by a limit of time or memory")
            parts += got
        return bytes(parts)

    def _wait(self, *, write: bool) -> None:
        began = time.monotonic()
        poll = select.poll()
        poll.register(self.to if write else self.out, select.POLLOUT if write else select.POLLIN)
        ready = poll.poll(max(0.0, self.left_s) * 1000)
        self.left_s -= time.monotonic() - began
        if not ready:
            raise _Dead(f"its inspection took more than {WALL_S:g} s")


def _end_process(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            assert pipe is not None
            pipe.close()


class Inspector:
    """Verdicts, one at a time for each process of the hub. Call it in a thread."""

    def __init__(self, wall_s: float = WALL_S) -> None:
        self.wall_s = wall_s
        self._lock = threading.Lock()
        self._worker: _Worker | None = None

    def inspect(self, read: Read, size_bytes: int) -> Verdict:
        """What `formats.inspection` says of these bytes; errors of `read` go through."""
        with self._lock:
            worker = self._ready()
            try:
                return self._job(worker, read, size_bytes)
            except (_Dead, msgspec.DecodeError) as dead:
                self._end()
                reason = str(dead) if isinstance(dead, _Dead) else "its inspection went wrong"
                return Verdict(ENDED, "unverified", "caution", reason)
            except BaseException:
                self._end()  # it waits for bytes that will not come
                raise

    def close(self) -> None:
        with self._lock:
            self._end()

    def _ready(self) -> _Worker:
        if self._worker is not None and self._worker.jobs >= JOBS_MAX:
            self._end()
        if self._worker is None or self._worker.process.poll() is not None:
            self._end()
            self._worker = _Worker()
        return self._worker

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()

    def _job(self, worker: _Worker, read: Read, size_bytes: int) -> Verdict:
        worker.left_s = self.wall_s if worker.jobs else START_S + self.wall_s
        worker.jobs += 1
        worker.send(msgspec.json.encode({"size": size_bytes}))
        spent = 0
        for _ in range(READS_MAX):
            reply = msgspec.json.decode(worker.receive(), type=_Reply)
            worker.left_s = min(worker.left_s, self.wall_s)  # it is up
            if reply.verdict is not None:
                return reply.verdict
            if reply.read is None:
                raise _Dead("its inspection went wrong")
            start, stop = reply.read
            spent += stop - start
            if not 0 <= start <= stop <= size_bytes or spent > READ_BYTES_MAX:
                raise _Dead("its inspection would read too much of it")
            worker.send(read(start, stop))
        raise _Dead("its inspection would read too often")


def reader_of(pieces: Callable[[int, int], object]) -> Read:
    """A `read(start, stop)` over something that yields pieces, as the store does."""

    def read(start: int, stop: int) -> bytes:
        return b"".join(bytes(piece) for piece in pieces(start, stop))  # type: ignore[attr-defined]

    return read
