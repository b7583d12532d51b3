"""A pump: one reply's body, moved from a generator to a socket by whatever thread is free.

    start()        in a thread: the first piece, or the failure that keeps the reply from starting
    push(socket)   in a thread: send until done, until the client is slow, or until the turn is over
    take(count)    in a thread: the next pieces, for whoever sends them otherwise
    close()        in a thread: end the generator, once no other call is at work

No more is ever handed out than was promised, and less is a failure, not an end. A piece must stay
as it is when the next one is asked for.
"""

from __future__ import annotations

import enum
import select
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from headwater.errors import Corrupt

SEND_THREADS = 32  # more than disks and cores need; a slow client holds none
TURN_BYTES = 64 * 2**20  # then others may have the thread: some 20 ms at full speed
LINGER_MS = 5  # waited for a full socket: 1/3 of a 4 MB buffer drains in that time at 270 MB/s

Piece = bytes | memoryview
Read = Callable[[int, int], Iterator[Piece]]

senders = ThreadPoolExecutor(SEND_THREADS, "headwater-send")


class Turn(enum.Enum):
    """How a turn of `push` ended."""

    DONE = enum.auto()
    OVER = enum.auto()  # more to send, and the client takes it
    FULL = enum.auto()  # more to send when the socket is writable again
    GONE = enum.auto()  # the client went away, or `stop` was called


class Pump:
    """Moves exactly `size_bytes` out of the generator that `open_pieces` makes."""

    def __init__(self, open_pieces: Callable[[], Iterator[Piece]], size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.left_bytes = size_bytes  # not yet taken from the generator
        self._open_pieces = open_pieces
        self._pieces: Iterator[Piece] | None = None
        self._waiting = memoryview(b"")
        self._failure: Exception | None = None
        self._stopping = False
        self._lock = threading.Lock()  # one thread at a time is inside the generator

    def start(self) -> None:
        """Fetch the first piece; raises what the generator raises."""
        with self._lock:
            self._pieces = self._open_pieces()
            if self.size_bytes:
                self._waiting = self._next()
            else:
                self._end()

    @property
    def whole(self) -> bytes | None:
        """After `start`: the whole body if one piece was all of it."""
        return None if self.left_bytes else bytes(self._waiting)

    def push(self, client: socket.socket) -> Turn:
        """One turn of sending to a non-blocking socket."""
        with self._lock:
            turn_bytes = TURN_BYTES
            while not self._stopping:
                if not self._waiting:
                    if not self.left_bytes:
                        return Turn.DONE
                    if turn_bytes <= 0:
                        return Turn.OVER
                    self._waiting = self._next()
                try:
                    sent_bytes = client.send(self._waiting)
                except BlockingIOError:
                    if not _writable_soon(client):
                        return Turn.FULL
                    continue
                except OSError:  # reset, or shut: only the client can have done that
                    return Turn.GONE
                self._waiting = self._waiting[sent_bytes:]
                turn_bytes -= sent_bytes
            return Turn.GONE

    def take(self, count: int) -> list[memoryview]:
        """Up to `count` next pieces; [] at the end. A failure waits for the call after the pieces
        that came before it."""
        with self._lock:
            if self._failure is not None:
                raise self._failure
            taken = [self._waiting] if self._waiting else []
            self._waiting = memoryview(b"")
            try:
                while len(taken) < count and self.left_bytes and not self._stopping:
                    taken.append(self._next())
            except Exception as failure:
                if not taken:
                    raise
                self._failure = failure
            return taken

    def stop(self) -> None:
        """Make a call under way return soon. Never blocks."""
        self._stopping = True

    @property
    def open(self) -> bool:
        """Whether `close` has anything to do."""
        return self._pieces is not None

    def close(self) -> None:
        with self._lock:
            self._end()

    def _next(self) -> memoryview:
        assert self._pieces is not None
        for piece in self._pieces:
            view = memoryview(piece).cast("B") if piece else memoryview(b"")
            if len(view) > self.left_bytes:
                raise Corrupt(f"a piece reaches {len(view) - self.left_bytes} bytes past the end")
            if view:
                self.left_bytes -= len(view)
                if not self.left_bytes:
                    self._end()
                return view
        raise Corrupt(f"the bytes end {self.left_bytes} too soon")

    def _end(self) -> None:
        pieces, self._pieces = self._pieces, None
        close = getattr(pieces, "close", None)  # generators have one, plain iterators do not
        if close is not None:
            close()


def _writable_soon(client: socket.socket) -> bool:
    """Whether the client takes more within the linger time; an error counts, `send` reports it."""
    poll = select.poll()
    poll.register(client.fileno(), select.POLLOUT)
    return bool(poll.poll(LINGER_MS))
