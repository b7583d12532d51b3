"""A relay that counts: what a client really sent, whatever protocol it chose.

    with CountingRelay(hub_port) as relay:
        ...            the client talks to relay.url
    relay.sent_bytes   TCP payload, HTTP headers included; final once the block has ended

The hub answers with addresses on the host that the client called, so Xet and LFS traffic comes
through here as well.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import suppress
from typing import Self

from demo import HOST

BUFFER_BYTES = 256 * 1024  # large enough that the relay costs little beside hashing


class CountingRelay(socketserver.ThreadingTCPServer):
    daemon_threads = False  # server_close() waits for them: the count is complete afterwards
    request_queue_size = 128  # hf_xet opens dozens of connections at once

    def __init__(self, hub_port: int) -> None:
        super().__init__((HOST, 0), _Connection)
        self.hub_port = hub_port
        self.sent_bytes = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}"

    def add(self, sent_bytes: int) -> None:
        with self._lock:
            self.sent_bytes += sent_bytes

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        relay, client = self.server, self.request
        assert isinstance(relay, CountingRelay), "only the relay makes these"
        with socket.create_connection((HOST, relay.hub_port)) as hub:
            for end in (client, hub):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=_pump, args=(hub, client))
            back.start()
            relay.add(_pump(client, hub))
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> int:
    """Pass bytes on until `source` ends; how many. A connection cut short ends it, too."""
    passed_bytes = 0
    buffer = memoryview(bytearray(BUFFER_BYTES))
    with suppress(OSError):
        while count := source.recv_into(buffer):
            sink.sendall(buffer[:count])
            passed_bytes += count
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
    return passed_bytes
