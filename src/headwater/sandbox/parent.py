"""This side of a process that looks at hostile bytes, and may be killed (safety rule T14).

    worker = Worker("headwater.formats.inspect_worker", start_s=20)
    worker.allow(2.0); worker.send(body); worker.receive()     Dead when its time is over
    worker.end()

The process has a pipe and nothing else: this side reads files for it. Only the time that is spent
waiting for it counts; what it is sent takes as long as it takes. No process outlives its `Worker`.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
import weakref
from pathlib import Path

import headwater
from headwater.sandbox.child import FRAME_BYTES_MAX

PIECE_BYTES = 2**16


class Dead(Exception):
    """The worker ended, or must be ended; the text says why."""


class Worker:
    """One process, and the time that it may still take."""

    def __init__(self, module: str, *, start_s: float) -> None:
        source = str(Path(headwater.__file__).resolve().parent.parent)
        self.process = subprocess.Popen(  # noqa: S603  (a module of our own)
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={
                "PYTHONPATH": source,
                "PATH": os.defpath,
                "PYTHONSAFEPATH": "1",
                "OPENBLAS_NUM_THREADS": "1",  # each would reserve memory, and take a core
                "OMP_NUM_THREADS": "1",
            },
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.to, self.out = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self.to, False)
        os.set_blocking(self.out, False)
        self.jobs = 0
        self._start_s = start_s
        self._wall_s = self._left_s = 0.0
        # By `end`, or when nobody holds the worker any more: no process outlives its use.
        self.end = weakref.finalize(self, _end_process, self.process)

    @property
    def alive(self) -> bool:
        return self.end.alive and self.process.poll() is None

    def allow(self, wall_s: float) -> None:
        """A new job, and how long it may take; the first one may take the start besides."""
        self._wall_s = wall_s
        self._left_s = wall_s if self.jobs else wall_s + self._start_s
        self.jobs += 1

    def is_up(self) -> None:
        """It has answered: what is left of the time for its start is taken back."""
        self._left_s = min(self._left_s, self._wall_s)

    def send(self, body: bytes) -> None:
        """One frame."""
        data = memoryview(len(body).to_bytes(4, "big") + body)
        while data:
            self._wait(write=True)
            try:
                data = data[os.write(self.to, data[:PIECE_BYTES]) :]
            except BlockingIOError:
                continue
            except OSError:
                raise Dead("it was ended by a limit") from None

    def receive(self) -> bytes:
        """One frame."""
        length = int.from_bytes(self._exactly(4), "big")
        if length > FRAME_BYTES_MAX:
            raise Dead("it went wrong")
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
                raise Dead("it was ended by a limit of time or memory")
            parts += got
        return bytes(parts)

    def _wait(self, *, write: bool) -> None:
        began = time.monotonic()
        poll = select.poll()
        poll.register(self.to if write else self.out, select.POLLOUT if write else select.POLLIN)
        ready = poll.poll(max(0.0, self._left_s) * 1000)
        self._left_s -= time.monotonic() - began
        if not ready:
            raise Dead(f"it took more than {self._wall_s:g} s")


def _end_process(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            assert pipe is not None
            pipe.close()
