"""A TCP proxy on loopback that breaks connections, as bad networks do.

    with CuttingProxy("127.0.0.1", port, cut_after_bytes=8 << 20, cuts=2) as proxy:
        ...talk to proxy.url instead...
    proxy.cuts_made, proxy.sent_bytes

The first `cuts` connections that get as far as `cut_after_bytes` bytes of response are closed
exactly there, in the middle of whatever was being sent; all others pass untouched. It knows no
HTTP, so the Host header stays the proxy's own and the hub's replies lead back through it.
Only the standard library: it runs inside the client venvs.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

READ_BYTES = 256 * 1024
CONNECT_SECONDS_MAX = 10.0


class CuttingProxy:
    def __init__(self, host: str, port: int, *, cut_after_bytes: int, cuts: int) -> None:
        self._upstream = (host, port)
        self._cut_after_bytes = cut_after_bytes
        self._lock = threading.Lock()
        self._cuts_left = cuts
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.cuts_made = 0
        self.sent_bytes = 0  # of responses, to all clients together

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
        self._listener.close()
        with self._lock:
            for each in self._open:
                _shut(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed by __exit__
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection(self._upstream, CONNECT_SECONDS_MAX)
            except OSError:
                return
            server.settimeout(None)
            with server:
                with self._lock:
                    self._open |= {client, server}
                up = threading.Thread(target=_pump, args=(client, server), daemon=True)
                up.start()
                self._answer(server, client)
                _shut(client)
                _shut(server)
                up.join()
                with self._lock:
                    self._open -= {client, server}

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        """Pass the response on until either side ends it or it is this connection's turn."""
        passed = 0
        with suppress(OSError):
            while data := server.recv(READ_BYTES):
                room = self._cut_after_bytes - passed
                cut = len(data) >= room and self._take_cut()
                data = data[:room] if cut else data
                client.sendall(data)
                passed += len(data)
                with self._lock:
                    self.sent_bytes += len(data)
                if cut:
                    return

    def _take_cut(self) -> bool:
        with self._lock:
            if not self._cuts_left:
                return False
            self._cuts_left -= 1
            self.cuts_made += 1
            return True


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(READ_BYTES):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
