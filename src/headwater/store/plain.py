"""The plain layout: the file's bytes as they came, then a checksum of every 256 KiB frame.

    PlainWriter          hashes while it writes; `finish` checks the name and makes it durable
    read_plain           verified frames, trimmed to the range asked for
    plain_tail           what follows the bytes: sums of frames, footer

A read touches the footer, the sums of the frames it needs and those frames, nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Self

import xxhash

from headwater.errors import DigestMismatch
from headwater.names import Digest
from headwater.store.blob import Blob
from headwater.store.containers import PIECE_BYTES, PLAIN, Container, Footer
from headwater.store.files import Buffer, Temp, need_space
from headwater.store.hashing import FRAME_BYTES, FrameSums, Sha256
from headwater.store.layout import Layout

_SUMS_AHEAD = 8192  # sums read at once: 64 KiB of them cover 2 GiB

# Called with the name once the bytes have proven it; a Blob means: kept already, drop these.
Keep = Callable[[Digest], Blob | None]


def plain_tail(index: bytes, oid: Digest, size_bytes: int) -> bytes:
    """All that follows the bytes in a plain container."""
    name = bytes.fromhex(oid)
    return index + Footer.of(PLAIN, index, name, body_bytes=size_bytes, raw_bytes=size_bytes).pack()


def check_promise(got: Digest, got_bytes: int, oid: Digest | None, size_bytes: int | None) -> None:
    """DigestMismatch unless what came is what was promised."""
    if size_bytes is not None and got_bytes != size_bytes:
        raise DigestMismatch(f"size mismatch: got {got_bytes} bytes, expected {size_bytes}")
    if oid is not None and got != oid:
        raise DigestMismatch(f"sha256 mismatch: got {got}, expected {oid}")


class PlainWriter:
    """One file on its way in. Use it in a `with`: it is dropped unless finished."""

    def __init__(self, layout: Layout, size_bytes: int | None, keep: Keep) -> None:
        if size_bytes is not None:
            need_space(layout.tmp, size_bytes)
        self._layout = layout
        self._size_bytes = size_bytes
        self._keep = keep
        self._sha256 = Sha256()
        self._sums = FrameSums()
        self._temp = Temp(layout.tmp, ".plain", "blob")

    @property
    def written_bytes(self) -> int:
        return self._temp.size_bytes

    def write(self, data: Buffer) -> None:
        """The next bytes, in pieces of any size. NoSpace, Unavailable or, as soon as more came
        than was promised, DigestMismatch; after any of them the writer is of no more use."""
        view = memoryview(data).cast("B")
        if self._size_bytes is not None and self.written_bytes + len(view) > self._size_bytes:
            self.abort()
            raise DigestMismatch(f"size mismatch: got more than {self._size_bytes} bytes")
        self._sha256.update(view)
        try:
            self._temp.write(view)
            self._sums.update(view)
        finally:
            self._sha256.wait()  # the caller may use its buffer again

    def finish(self, oid: Digest | None = None, size_bytes: int | None = None) -> Blob:
        """Durable when it returns. DigestMismatch when the bytes are not `oid` or not as many as
        promised (here or at the start); then nothing is kept."""
        with self._temp as temp:
            got, got_bytes = self._sha256.digest(), temp.size_bytes
            check_promise(got, got_bytes, oid, size_bytes)
            check_promise(got, got_bytes, oid, self._size_bytes)
            kept = self._keep(got)
            if kept is not None:
                return kept
            temp.write(plain_tail(self._sums.finish(), got, got_bytes))
            temp.publish(self._layout.shelf, self._layout.plain(got))
            self._layout.drop_other(got, "plain")
            return Blob(got, got_bytes, "plain", None)

    def abort(self) -> None:
        """Drop what was written. Harmless after `finish`."""
        self._temp.drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()


def open_plain(layout: Layout, oid: Digest) -> Container | None:
    """The plain container of a blob, its footer checked. None when there is none."""
    name, what = bytes.fromhex(oid), f"blob {oid}"
    box = Container.open(layout.shelf, layout.plain(oid), PLAIN, name, what)
    if box is not None:
        footer = box.footer
        frames = -(-footer.body_bytes // FRAME_BYTES)
        if footer.count != frames or footer.raw_bytes != footer.body_bytes:
            raise box.corrupt("its footer contradicts itself")
    return box


def read_plain(box: Container, start: int, stop: int) -> Iterator[bytes | memoryview]:
    """Bytes `start` to `stop` in pieces of at most 1 MiB, each frame verified before it leaves."""
    size = box.footer.body_bytes
    first, last = start // FRAME_BYTES, -(-stop // FRAME_BYTES)
    ahead = PIECE_BYTES // FRAME_BYTES
    for batch in range(first, last, _SUMS_AHEAD):
        count = min(_SUMS_AHEAD, last - batch)
        sums = struct.unpack(f"<{count}Q", box.read(8 * count, size + 8 * batch))
        for frame in range(batch, batch + count, ahead):
            begin = frame * FRAME_BYTES
            end = min(begin + PIECE_BYTES, (batch + count) * FRAME_BYTES, size)
            data = box.read(end - begin, begin)
            view = memoryview(data)
            for at in range(0, end - begin, FRAME_BYTES):
                sum_ = xxhash.xxh3_64_intdigest(view[at : at + FRAME_BYTES])
                if sum_ != sums[frame - batch + at // FRAME_BYTES]:
                    stop_at = min(begin + at + FRAME_BYTES, size)
                    raise box.corrupt(
                        f"bytes {begin + at} to {stop_at} do not match their checksum"
                    )
            if begin >= start and end <= stop:
                yield data
            else:
                yield view[max(start - begin, 0) : min(stop, end) - begin]
