"""A receiver of webhooks: a real HTTP server on loopback that keeps what came.

with receiver() as got:
    got.url, got.port
    got.replies.append(Reply(500))    the next answer; 200 when there is none
    got.connections                   accepted, whether or not anything was sent
    got.requests                      what came, in order
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Reply:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    wait_s: float = 0.0


@dataclass(frozen=True)
class Got:
    path: str
    headers: dict[str, str]  # lower-case names
    body: bytes
    at_s: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def delivery(self) -> str:
        return self.headers["x-headwater-delivery"]


class Receiver:
    def __init__(self) -> None:
        self.requests: list[Got] = []
        self.replies: list[Reply] = []
        self.connections = 0
        self.port = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/hook"

    def wait(self, enough: Callable[[Receiver], bool], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not enough(self):
            assert time.monotonic() < deadline, f"in {seconds} s came only {self.requests}"
            time.sleep(0.05)

    def wait_for(self, count: int, seconds: float = 30.0) -> list[Got]:
        self.wait(lambda me: len(me.requests) >= count, seconds)
        return self.requests[:count]


@contextmanager
def receiver() -> Iterator[Receiver]:
    got = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            named = {name.lower(): value for name, value in self.headers.items()}
            with got.lock:
                reply = got.replies.pop(0) if got.replies else Reply()
                got.requests.append(Got(self.path, named, body, time.time()))
            time.sleep(reply.wait_s)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            """Silence."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self) -> tuple[socket.socket, Any]:
            accepted = super().get_request()
            got.connections += 1
            return accepted

        def handle_error(self, *_: object) -> None:
            """A sender that died in the middle is what some tests want."""

    server = Server((HOST, 0), Handler)
    got.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
