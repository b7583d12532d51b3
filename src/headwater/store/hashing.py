"""Hashes of a stream of bytes: SHA-256 beside the caller, XXH3-64 of each frame.

Measured on 1 MiB pieces: writing and hashing one after the other runs at 1.1 GB/s, side by side
at 1.5 GB/s, for the same CPU time. On smaller pieces the hand-over costs what it saves.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from concurrent.futures import Future, ThreadPoolExecutor

import xxhash

from headwater.names import Digest
from headwater.store.files import Buffer

FRAME_BYTES = 256 * 2**10  # small enough for a range read, large enough that sums cost nothing
ASIDE_BYTES_MIN = 512 * 2**10  # from here on a piece is worth a hand-over to another thread


class Sha256:
    """SHA-256 of a stream; long pieces are hashed on a thread of this stream's own."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._thread: ThreadPoolExecutor | None = None  # begun with the first long piece
        self._pending: Future[None] | None = None

    def update(self, *pieces: Buffer) -> None:
        """The next bytes. They must not change before `wait`, the next `update` or `digest`."""
        self.wait()
        if sum(map(len, pieces)) < ASIDE_BYTES_MIN:
            self._hash(pieces)
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "sha256")
        self._pending = self._thread.submit(self._hash, pieces)

    def wait(self) -> None:
        """Return when all bytes so far are hashed."""
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def digest(self) -> Digest:
        """The name of all bytes so far."""
        self.wait()
        return Digest(self._sha256.hexdigest())

    def _hash(self, pieces: tuple[Buffer, ...]) -> None:
        for piece in pieces:
            self._sha256.update(piece)


class FrameSums:
    """XXH3-64 of each frame of 256 KiB, from pieces of any size."""

    def __init__(self) -> None:
        self._sums = array("Q")
        self._frame = xxhash.xxh3_64()
        self._room = FRAME_BYTES

    def update(self, view: memoryview) -> None:
        """The next bytes of the file."""
        at, size = 0, len(view)
        while at < size:
            take = min(self._room, size - at)
            if take == FRAME_BYTES:
                self._sums.append(xxhash.xxh3_64_intdigest(view[at : at + take]))
            else:
                self._frame.update(view[at : at + take])
                self._room -= take
                if not self._room:
                    self._close_frame()
            at += take

    def finish(self) -> bytes:
        """One little-endian u64 a frame, the last frame perhaps shorter."""
        if self._room < FRAME_BYTES:
            self._close_frame()
        return struct.pack(f"<{len(self._sums)}Q", *self._sums)

    def _close_frame(self) -> None:
        self._sums.append(self._frame.intdigest())
        self._frame.reset()
        self._room = FRAME_BYTES
