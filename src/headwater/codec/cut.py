"""Content-defined chunking, for bytes that are no tensors.

    cuts(read, start, stop) -> ends of pieces, each an offset in the file, the last one `stop`

A cut depends on the 64 bytes before it and on where its piece began, so that an insertion moves the
cuts near it and, soon, no others: files that share a long run of bytes share pieces of it. Where
the cuts lie decides what is found twice, never what comes back: a recipe names its pieces itself.
Still they must not move between releases, or nothing new is like anything old. A test pins them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pyfastcdc import FastCDC

from headwater.errors import Malformed

PIECE_BYTES_MIN = 64 * 2**10  # smaller ones cost more in names than they save
PIECE_BYTES_TYPICAL = 256 * 2**10  # a frame's; means of 230 to 280 KiB were measured
PIECE_BYTES_MAX = 2**20  # what is held at once is two of these
# FastCDC looks for cuts only past the minimum, which adds to what it is told to aim at.
_AIM_BYTES = PIECE_BYTES_TYPICAL - PIECE_BYTES_MIN


class _Stream:
    """A range of the file as the chunker wants it: `readinto`, from the front to the back."""

    def __init__(self, read: Callable[[int, int], bytes], start: int, stop: int) -> None:
        self._read = read
        self._at = start
        self._stop = stop

    def readinto(self, buffer: memoryview) -> int:
        count = min(len(buffer), self._stop - self._at)
        if count <= 0:
            return 0
        data = self._read(self._at, self._at + count)
        if len(data) != count:
            raise Malformed(f"{len(data)} bytes at {self._at} where {count} were promised")
        buffer[:count] = data
        self._at += count
        return count


def cuts(read: Callable[[int, int], bytes], start: int, stop: int) -> Iterator[int]:
    """The ends of the pieces of `start` to `stop`, rising; none when the range is empty.

    `read(start, stop)` is asked once for every byte, at most two mebibytes at a time. All pieces
    but the last have `PIECE_BYTES_MIN` to `PIECE_BYTES_MAX` bytes. Malformed when `read` gives
    less than it was asked for.
    """
    # One for each range: the library keeps state in it.
    chunker = FastCDC(_AIM_BYTES, min_size=PIECE_BYTES_MIN, max_size=PIECE_BYTES_MAX)
    for piece in chunker.cut_stream(_Stream(read, start, stop)):
        yield start + piece.offset + piece.length
