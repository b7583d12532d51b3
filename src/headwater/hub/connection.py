"""Connections: uvicorn's HTTP protocol, with limits it lacks and a socket it can lend.

    uvicorn.Config(app, http=Connection, …)

Limits: a request's head must arrive within ten seconds, in 64 KiB and 128 headers, its address in
16 KiB; what stands between the bytes of a chunked body is bounded, too. The parser itself has no
such limits and keeps a header until it ends. What is refused here is answered by the contract of
docs/protocol.md, and the connection closes; an answer that is under way is never written into.

Lending: a reply of known length may write its body to the socket itself, from a thread, past the
event loop's buffers; `stream` uses this for everything large. Nothing is lent under TLS: there the
loop encrypts.

Two names of uvicorn are relied on that it does not document, `_start_asgi_task` and
`expected_content_length`; tests/hub/test_stream.py sees the first change in either.
"""

from __future__ import annotations

import asyncio
import socket
import uuid
from asyncio.events import TimerHandle
from collections.abc import Iterator
from http import HTTPStatus

from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from headwater.errors import BadRequest
from headwater.hub.replies import error_reply

HEAD_BYTES_MAX = 64 * 2**10  # address and headers; HF clients send about 1 KiB
HEADERS_MAX = 128  # HF clients send about 12, browsers 25; proxies add a few
ADDRESS_BYTES_MAX = 16 * 2**10  # nginx's limit, too; paths end at 8 KiB (hub/routing.py)
FRAMING_BYTES_MAX = 16 * 2**10  # between two pieces of a chunked body: a length, some extensions
PIPELINED_MAX = 16  # requests that wait for their turn; no client sends two
SLICE_BYTES = 8 * 2**10  # read at once where limits are counted: they are exact to one slice
LINGER_S = 1.0  # what a refused client still sends is read and dropped, so that it hears why
HEAD_S = 10  # a slower one is not a client but a flood
FLUSH_PAUSE_S_MAX = 0.05
_LOAN = "headwater.loan"
STOPPING = "headwater.stopping"  # set in the scope of a request when the server is to stop
_MALFORMED = "The request is not HTTP as it is spoken here."
_HEAD_TOO_LARGE = f"Address and headers together have over {HEAD_BYTES_MAX} bytes."


class Loan:
    """The right of one reply to write its body on the socket itself."""

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle) -> None:
        self._transport = transport
        self._cycle = cycle

    async def socket(self) -> socket.socket | None:
        """A duplicate of the client's socket, non-blocking, once all that the loop had to write is
        written; None when the connection is closing. The caller closes it."""
        pause_s = 0.0
        while not self._transport.is_closing():
            if self._transport.get_write_buffer_size() == 0:
                original = self._transport.get_extra_info("socket")
                lent = socket.fromfd(original.fileno(), original.family, original.type)
                lent.setblocking(False)
                return lent
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2 or 0.001, FLUSH_PAUSE_S_MAX)
        return None

    def settle(self) -> None:
        """The whole body has been written: an empty last message completes the reply."""
        self._cycle.expected_content_length = 0


def loan(scope: Scope) -> Loan | None:
    """The loan offered for this request; None under TLS and other servers."""
    found = (scope.get("extensions") or {}).get(_LOAN)
    return found if isinstance(found, Loan) else None


class HeadTooLarge(BadRequest):
    """More before the body than any client sends."""

    status = 431
    code = "HeadTooLarge"


class AddressTooLong(BadRequest):
    """An address that no route can mean."""

    status = 414
    code = "AddressTooLong"


class _Refusal(Exception):
    """Raised through the parser, which then gives up the connection."""


class Connection(HttpToolsProtocol):
    """One connection."""

    _head_bytes = 0  # of the head under way: whole headers
    _idle_bytes = 0  # since the parser last said that something is whole
    _in_head = True
    _in_body = False  # the head is whole, the body is not
    _chunked = False
    _running: RequestResponseCycle | None = None  # the one that is being answered
    _error: BadRequest | None = None
    _deaf = False
    _head_timer: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        for piece in self._pieces(data):
            if self._deaf or self.transport.is_closing():
                return
            self._idle_bytes += len(piece)
            super().data_received(piece)
            if self._deaf or self.transport.is_closing():
                return
            if self._in_head and self._head_bytes + self._idle_bytes > HEAD_BYTES_MAX:
                self._error = HeadTooLarge(_HEAD_TOO_LARGE)
            elif self._chunked and self._idle_bytes > FRAMING_BYTES_MAX:
                self._error = BadRequest("A chunk's first line or the trailer is too long.")
            if self._error is not None:
                self.send_400_response(self._error.message)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        """A body of known length is passed on whole: nothing in it needs counting."""
        start = 0
        while start < len(data):
            stop = start + SLICE_BYTES if self._in_head or self._chunked else len(data)
            yield data[start:stop]
            start = stop

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._chunked = True, False
        self._head_bytes = 0
        self._expect_head()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > ADDRESS_BYTES_MAX:
            self._refuse(AddressTooLong(f"The address has over {ADDRESS_BYTES_MAX} bytes."))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._idle_bytes = 0
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes + len(self.url) > HEAD_BYTES_MAX:
            self._refuse(HeadTooLarge(_HEAD_TOO_LARGE))
        if not self._in_head:
            return  # a trailer: what comes after the body changes nothing of the request
        if len(self.headers) >= HEADERS_MAX:
            self._refuse(HeadTooLarge(f"The request has over {HEADERS_MAX} headers."))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_arrived()
        self._in_head = False
        self._idle_bytes = 0
        self._check_head()
        super().on_headers_complete()
        self._in_body = True
        if len(self.pipeline) > PIPELINED_MAX:
            self._refuse(BadRequest("Too many requests at once on one connection."))

    def _check_head(self) -> None:
        """What the parser lets pass, and others read in another way: each is a way in for a
        request inside a request."""
        version = self.parser.get_http_version()
        coding = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if version not in ("1.0", "1.1") or (coding and (version, coding) != ("1.1", [b"chunked"])):
            self._refuse(BadRequest(_MALFORMED))
        if not self.url.startswith(b"/"):
            # Absolute form names a host twice.
            self._refuse(BadRequest("The address must begin with a slash."))
        if self.parser.should_upgrade() and (coding or self._has_length()):
            # The parser would take the body for the new protocol.
            self._refuse(BadRequest("No upgrade is offered. Send the request without asking one."))
        self._chunked = bool(coding)

    def _has_length(self) -> bool:
        lengths = [value for name, value in self.headers if name == b"content-length"]
        return any(value.strip(b"0") for value in lengths)

    def _unsupported_upgrade_warning(self) -> None:
        """An upgrade that was asked for is not made; what follows it is not HTTP, maybe."""
        self._deaf = True
        self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._idle_bytes = 0
        super().on_body(body)

    def on_chunk_header(self) -> None:
        self._idle_bytes = 0

    def on_message_complete(self) -> None:
        self._idle_bytes = 0
        self._in_head, self._in_body, self._chunked = True, False, False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """The last that this connection hears. Nothing is written into an answer that is under
        way, nor after one that this same request has had already."""
        self._deaf = True
        self._head_arrived()
        running = self._running
        its_own_body = self._in_body and running is not None and self.cycle is running
        if running is not None and not running.response_complete:
            if not its_own_body:
                running.keep_alive = False  # it is answered in full, and then nobody else is
                return
            running.disconnected = True  # its endpoint sees a client that left
            running.message_event.set()
            if running.response_started:
                self.transport.abort()
                return
        elif its_own_body:
            self.transport.close()
            return
        self.transport.write(_closing_reply(self._error or BadRequest(_MALFORMED)))
        # To close with bytes unread resets the connection, and the client may lose the answer.
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)

    def _refuse(self, error: BadRequest) -> None:
        self._error = error
        raise _Refusal

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if self.scheme == "http":
            scope: Scope = cycle.scope  # type: ignore[assignment]
            scope["extensions"] = {_LOAN: Loan(self.transport, cycle)}
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def shutdown(self) -> None:
        """The server stops once all replies are complete: endless ones are told to end."""
        if self.cycle is not None:
            scope: Scope = self.cycle.scope  # type: ignore[assignment]
            scope[STOPPING] = True
        super().shutdown()

    def _expect_head(self) -> None:
        self._head_arrived()
        self._head_timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _head_arrived(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _closing_reply(error: BadRequest) -> bytes:
    """An error of the contract as HTTP, with the word that the connection ends."""
    request_id = uuid.uuid4().hex
    reply = error_reply(error, request_id)
    headers = [
        *reply.raw_headers,
        (b"x-request-id", request_id.encode()),
        (b"connection", b"close"),
    ]
    head = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n".encode()
    return head + b"".join(b"%s: %s\r\n" % pair for pair in headers) + b"\r\n" + bytes(reply.body)
