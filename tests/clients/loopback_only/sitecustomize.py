"""A Python started with this folder on PYTHONPATH can reach 127.0.0.1 and nothing else.

An audit hook cannot be undone by the program it watches. It sees the sockets of Python, not
those of hf_xet's Rust, which goes only where the hub's own replies send it.
"""

import socket
import sys

ALLOWED = {"127.0.0.1", "localhost"}


def _guard(event: str, args: tuple[object, ...]) -> None:
    if event == "socket.connect":
        sock, address = args
        local = getattr(sock, "family", None) == socket.AF_UNIX
        host = address[0] if isinstance(address, tuple) else None
    elif event == "socket.getaddrinfo":
        local, host = False, args[0]
    else:
        return
    if not local and host not in ALLOWED:
        raise PermissionError(f"{event} {host!r}: this process may only reach 127.0.0.1")


sys.addaudithook(_guard)
