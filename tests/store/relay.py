"""A TCP relay to a gateway, that has the gateway killed in the middle of a transfer."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rgw import Gateway


class Relay:
    """Passes bytes on, both ways. After `up_max` to, or `down_max` from, the gateway, that dies."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.up_max = self.down_max = 2**60
        self._up = self._down = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listener]
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        host, port = self.gateway.url.removeprefix("http://").split(":")
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection((host, int(port)))
                except OSError:
                    near.close()
                    continue
                self._open += [near, far]
                for pair in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                with self._lock:
                    if up:
                        self._up += len(data)
                    else:
                        self._down += len(data)
                    if self._up > self.up_max or self._down > self.down_max:
                        self.gateway.kill()
                        break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def limit(self, *, up: int = 2**60, down: int = 2**60) -> None:
        """From now on so many bytes more."""
        with self._lock:
            self.up_max, self.down_max = self._up + up, self._down + down

    def close(self) -> None:
        for end in self._open:
            with suppress(OSError):
                end.close()


@contextmanager
def relay(gateway: Gateway) -> Iterator[Relay]:
    made = Relay(gateway)
    try:
        yield made
    finally:
        made.close()
