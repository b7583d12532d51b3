"""Streaming: verified pieces of a blob to a client, as fast as the socket takes them.

    BytesReply(request, lambda start, stop: store.read(oid, start, stop), size_bytes, headers={…})

The first piece is fetched before the status line, so a damaged blob is a clean 500. Damage found
later closes the connection before the bad piece leaves: the client misses bytes of the promised
Content-Length and does not keep the file.

Two ways out. With a loan (`connection`) a thread reads a piece and sends it straight to the
socket, and a client too slow for that waits in the event loop, holding one piece and no thread.
Without (TLS, other servers) three pieces are read while three are sent by the loop.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from headwater.hub.connection import Loan, loan
from headwater.hub.meter import LENT_BYTES
from headwater.hub.pump import Piece, Pump, Read, Turn, senders
from headwater.hub.ranges import Span, parse_range

AHEAD_PIECES = 3  # read ahead without a loan: hides one disk access behind the sending
STALL_S = 300  # a client that takes nothing for so long is gone
OCTETS = "application/octet-stream"
RANGES = (200, 206, 416)  # what a `BytesReply` may answer: for `answers=` of a route
T = TypeVar("T")


class BytesReply(Response):
    """A file, or what the request's Range asks of it: 200, 206, or 206 in several parts.

    `read(start, stop)` yields exactly those bytes and is called in a thread, once a part. Give
    `ETag` (quoted) and Content-Type among the headers. RangeNotSatisfiable is raised at once. Who
    has rules of his own for ranges gives the `spans` to send instead.
    """

    def __init__(
        self,
        request: Request,
        read: Read,
        size_bytes: int,
        *,
        headers: Mapping[str, str] | None = None,
        spans: Sequence[Span] = (),
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({"Accept-Ranges": "bytes", **(headers or {})})
        self.headers.setdefault("Content-Type", OCTETS)
        self._read = read
        self._size_bytes = size_bytes
        spans = spans or self._asked(request)
        if not spans:
            self._pump = Pump(lambda: read(0, size_bytes), size_bytes)
        else:
            self.status_code = 206
            self._pump = self._part(spans[0]) if len(spans) == 1 else self._parts(spans)
        self.headers["Content-Length"] = str(self._pump.size_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pump = self._pump
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        if scope["method"] == "HEAD":
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        gone = asyncio.ensure_future(_watch(receive, pump))
        try:
            await _in_thread(pump.start)
            await send(start)
            if (whole := pump.whole) is not None:
                await send({"type": "http.response.body", "body": whole})
            elif (lent := loan(scope)) is not None:
                try:
                    await _send_lent(pump, lent, send, gone)
                finally:
                    scope[LENT_BYTES] = pump.size_bytes - pump.left_bytes
            else:
                await _send_ahead(pump, send)
        finally:
            gone.cancel()
            pump.stop()
            if pump.open:  # submitted, not awaited bare: a cancelled reply must be closed, too
                await asyncio.shield(asyncio.wrap_future(senders.submit(pump.close)))

    def _asked(self, request: Request) -> Sequence[Span]:
        """What the Range header asks for; empty for the whole file."""
        if request.method != "GET":
            return ()
        condition = request.headers.get("if-range")
        if condition is not None and condition != self.headers.get("etag"):
            return ()  # it changed since: send all of it. A date never matches, we send none
        return parse_range(request.headers.get("range"), self._size_bytes) or ()

    def _part(self, span: Span) -> Pump:
        self.headers["Content-Range"] = self._content_range(span)
        return Pump(lambda: self._read(*span), span[1] - span[0])

    def _parts(self, spans: Sequence[Span]) -> Pump:
        """multipart/byteranges, RFC 9110 section 14.6."""
        boundary = secrets.token_hex(12)
        heads = [
            f"\r\n--{boundary}\r\nContent-Type: {self.headers['content-type']}\r\n"
            f"Content-Range: {self._content_range(span)}\r\n\r\n".encode("latin-1")
            for span in spans
        ]
        tail = f"\r\n--{boundary}--\r\n".encode("latin-1")
        self.headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"

        def pieces() -> Iterator[Piece]:
            for head, span in zip(heads, spans, strict=True):
                body = self._read(*span)
                first = next(body, b"")  # before its head: damage at once is still a clean 500
                yield head
                yield first
                yield from body
            yield tail

        size_bytes = sum(stop - start for start, stop in spans) + sum(map(len, heads)) + len(tail)
        return Pump(pieces, size_bytes)

    def _content_range(self, span: Span) -> str:
        return f"bytes {span[0]}-{span[1] - 1}/{self._size_bytes}"


async def _send_lent(pump: Pump, lent: Loan, send: Send, gone: asyncio.Future[None]) -> None:
    client = await lent.socket()
    if client is None:
        return
    turn = Turn.OVER
    try:
        while turn in (Turn.OVER, Turn.FULL):
            turn = await _in_thread(pump.push, client)
            if turn is Turn.FULL and not await _writable(client, gone):
                turn = Turn.GONE
    except BaseException:  # cancelled, perhaps with a turn still under way
        pump.stop()
        senders.submit(_close, pump, client)
        raise
    client.close()
    if turn is Turn.DONE:
        lent.settle()
        await send({"type": "http.response.body", "body": b""})


def _close(pump: Pump, client: socket.socket) -> None:
    """The socket after the pump: while a turn is under way its number must not be given away."""
    pump.close()
    client.close()


async def _writable(client: socket.socket, gone: asyncio.Future[None]) -> bool:
    """Wait in the loop until the client takes more; False when it is gone or stalled."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(client, ready.set)
    waiting: asyncio.Future[Any] = asyncio.ensure_future(ready.wait())
    try:
        await asyncio.wait([waiting, gone], timeout=STALL_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_writer(client)
        waiting.cancel()
    return ready.is_set() and not gone.done()


async def _send_ahead(pump: Pump, send: Send) -> None:
    ahead = asyncio.ensure_future(_in_thread(pump.take, AHEAD_PIECES))
    try:
        while pieces := await ahead:
            ahead = asyncio.ensure_future(_in_thread(pump.take, AHEAD_PIECES))
            for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    finally:
        ahead.cancel()
    await send({"type": "http.response.body", "body": b""})


async def _watch(receive: Receive, pump: Pump) -> None:
    """Returns when the client is gone; by then the pump has been told to stop."""
    while (await receive())["type"] != "http.disconnect":
        pass
    pump.stop()


async def _in_thread(function: Callable[..., T], *args: object) -> T:
    return await asyncio.get_running_loop().run_in_executor(senders, function, *args)
