"""Reading on when the bytes under a reader are moved.

A blob's name stands for its bytes, whatever layout or version of a container holds them. An open
file on a local disk outlives its name; an object does not. So a read that meets Moved opens the
blob again and goes on where it was: its reader notices nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from headwater.errors import Moved

MOVES_MAX = 3  # without a piece between them; a blob that is moved more often is being fought over

Pieces = Iterator[bytes | memoryview]


def steady(read: Callable[[int], Pieces], start: int) -> Pieces:
    """All pieces that `read(start)` gives; its own errors are raised here, before the first."""
    return _go_on(read(start), read, start)


def _go_on(first: Pieces, read: Callable[[int], Pieces], at: int) -> Pieces:
    pieces: Pieces | None = first
    moves = 0
    while True:
        try:
            for piece in read(at) if pieces is None else pieces:
                yield piece
                at += len(piece)
                moves = 0
            return
        except Moved:
            moves += 1
            if moves > MOVES_MAX:
                raise
            pieces = None
