"""Connections: uvicorn's HTTP protocol, with limits it lacks and a socket it can lend.

    uvicorn.Config(app, http=Connection, …)

Limits: a request's head must arrive within ten seconds and within 64 KiB. Lending: a reply of
known length may write its body to the socket itself, from a thread, past the event loop's buffers;
`stream` uses this for everything large. Nothing is lent under TLS: there the loop encrypts.

Two names of uvicorn are relied on that it does not document, `_start_asgi_task` and
`expected_content_length`; tests/hub/test_stream.py sees the first change in either.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio.events import TimerHandle

from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_BYTES_MAX = 64 * 2**10  # address and headers; HF clients send about 1 KiB
HEAD_S = 10  # a slower one is not a client but a flood
FLUSH_PAUSE_S_MAX = 0.05
_LOAN = "headwater.loan"


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


class Connection(HttpToolsProtocol):
    """One connection."""

    _head_bytes = 0
    _head_timer: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        self._expect_head()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_arrived()
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if self.scheme == "http":
            scope: Scope = cycle.scope  # type: ignore[assignment]
            scope["extensions"] = {_LOAN: Loan(self.transport, cycle)}
        super()._start_asgi_task(cycle, app)

    def _count(self, more_bytes: int) -> None:
        """Raised through the parser: uvicorn answers 400 and closes."""
        self._head_bytes += more_bytes
        if self._head_bytes > HEAD_BYTES_MAX:
            raise ValueError("the head of the request is too large")

    def _expect_head(self) -> None:
        self._head_arrived()
        self._head_timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _head_arrived(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
