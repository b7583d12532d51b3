"""What the HTTP tests share: a router asked in-process, and a real server in a thread.

In-process is for what a reply says; the server for what only sockets show: streaming, a client
that leaves, a connection cut short.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.requests import Request

from headwater.hub.connection import Connection
from headwater.hub.replies import ADDRESSING, REQUEST_ID, Addressing
from headwater.hub.routing import Route, Router
from headwater.settings import Settings

HOST = "127.0.0.1"
START_S = 20.0
SETTINGS = Settings(data=Path("/nonexistent"))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]  # lower-case names
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def scope(
    method: str = "GET", raw_path: bytes = b"/", headers: dict[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    """An ASGI scope as uvicorn makes them."""
    path, _, query = raw_path.partition(b"?")
    return {
        "type": "http", "method": method, "path": path.decode("latin-1"), "raw_path": path,
        "query_string": query, "scheme": "http", "root_path": "", "client": (HOST, 50000),
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in (headers or {}).items()],
        **more,
    }  # fmt: skip


def request_of(
    chunks: Sequence[bytes] = (),
    headers: dict[str, str] | None = None,
    *,
    settings: Settings = SETTINGS,
    leaves: bool = False,
    **more: Any,
) -> Request:
    """A request whose body arrives as `chunks`; with `leaves` the client goes before the end."""
    made = scope(headers=headers, **more)
    made |= {REQUEST_ID: "test", ADDRESSING: Addressing.of(settings)}
    return Request(made, _receive(chunks, leaves))


def _receive(chunks: Sequence[bytes], leaves: bool) -> Callable[[], Any]:
    waiting = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    last = "http.disconnect" if leaves else "http.request"
    waiting.append({"type": last, "body": b"", "more_body": False})

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return waiting.pop(0) if waiting else await asyncio.Future()

    return receive


def ask(
    routes: Sequence[Route],
    method: str,
    raw_path: bytes,
    headers: dict[str, str] | None = None,
    *,
    settings: Settings = SETTINGS,
    **more: Any,
) -> Answer:
    """One request to a router of these rows."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    made = scope(method, raw_path, {"host": "hub.example"} | (headers or {}), **more)
    asyncio.run(Router(routes, settings)(made, _receive((), False), send))
    assert sent[0]["type"] == "http.response.start"
    named = {name.decode().lower(): value.decode("ascii") for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], named, b"".join(m.get("body", b"") for m in sent[1:]))


@contextmanager
def serve(routes: Sequence[Route], *, http: Any = Connection) -> Iterator[int]:
    """A real server over these rows; its port. Checked to end by itself."""
    config = uvicorn.Config(
        Router(routes, SETTINGS), http=http, loop="uvloop", lifespan="off", ws="none",
        log_level="critical", proxy_headers=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started, START_S)
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(START_S)
            assert not thread.is_alive(), "the server did not stop"


def wait_until(ready: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def connect(port: int, sent: bytes) -> socket.socket:
    client = socket.create_connection((HOST, port), timeout=20)
    client.sendall(sent)
    return client


def get(path: str, headers: str = "") -> bytes:
    """A GET as bytes; the connection closes after it. `headers` are whole lines."""
    return f"GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{headers}\r\n".encode()


def read_all(client: socket.socket) -> tuple[bytes, bytes]:
    """Head and body, up to where the server closed."""
    data = b""
    try:
        while piece := client.recv(1 << 20):
            data += piece
    except ConnectionResetError:
        pass
    head, _, body = data.partition(b"\r\n\r\n")
    return head, body
