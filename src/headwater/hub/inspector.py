"""Looking at hostile bytes in a process that may be killed (safety rule T14).

    inspector.inspect(read, size_bytes) -> Verdict

One worker process at a time, started when first needed. It has a pipe and nothing else; this side
reads the store for it. It is given two seconds of its own time and a bound of memory: beyond
them it is killed, and the verdict is that the file could not be verified. Never raises for what
the bytes are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from headwater.formats import inspect_worker
from headwater.formats.inspection import Verdict
from headwater.sandbox.parent import Dead, Worker

WALL_S = 2.0  # in which the worker computes; what the store takes to read is not counted
START_S = 20.0  # for a cold start on a busy machine
JOBS_MAX = 500  # of one process: what leaks, leaks no further
READS_MAX = 100_000  # ranges asked for in one job
READ_BYTES_MAX = 256 * 2**20  # in one job, in all

ENDED = "unknown"  # the kind of a file whose inspection did not come to its end
Read = Callable[[int, int], bytes]


class _Reply(msgspec.Struct, frozen=True):
    read: tuple[int, int] | None = None
    verdict: Verdict | None = None


class Inspector:
    """Verdicts, one at a time for each process of the hub. Call it in a thread."""

    def __init__(self, wall_s: float = WALL_S) -> None:
        self.wall_s = wall_s
        self._lock = threading.Lock()
        self._worker: Worker | None = None

    def inspect(self, read: Read, size_bytes: int) -> Verdict:
        """What `formats.inspection` says of these bytes; errors of `read` go through."""
        with self._lock:
            worker = self._ready()
            try:
                return self._job(worker, read, size_bytes)
            except (Dead, msgspec.DecodeError) as dead:
                self._end()
                why = str(dead) if isinstance(dead, Dead) else "it went wrong"
                reason = f"its inspection did not end: {why}"
                return Verdict(ENDED, "unverified", "caution", reason)
            except BaseException:
                self._end()  # it waits for bytes that will not come
                raise

    def close(self) -> None:
        with self._lock:
            self._end()

    def _ready(self) -> Worker:
        if self._worker is not None and self._worker.jobs >= JOBS_MAX:
            self._end()
        if self._worker is None or not self._worker.alive:
            self._end()
            self._worker = Worker(inspect_worker.__name__, start_s=START_S)
        return self._worker

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()

    def _job(self, worker: Worker, read: Read, size_bytes: int) -> Verdict:
        worker.allow(self.wall_s)
        worker.send(msgspec.json.encode({"size": size_bytes}))
        spent = 0
        for _ in range(READS_MAX):
            reply = msgspec.json.decode(worker.receive(), type=_Reply)
            worker.is_up()
            if reply.verdict is not None:
                return reply.verdict
            if reply.read is None:
                raise Dead("it went wrong")
            start, stop = reply.read
            spent += stop - start
            if not 0 <= start <= stop <= size_bytes or spent > READ_BYTES_MAX:
                raise Dead("it would read too much of it")
            worker.send(read(start, stop))
        raise Dead("it would read too often")


def reader_of(pieces: Callable[[int, int], object]) -> Read:
    """A `read(start, stop)` over something that yields pieces, as the store does."""

    def read(start: int, stop: int) -> bytes:
        return b"".join(bytes(piece) for piece in pieces(start, stop))  # type: ignore[attr-defined]

    return read
