"""The other side: what a process that looks at hostile bytes may do, and its end of the pipe.

limit(memory_bytes)      once, when everything is imported: memory, files
limit_job(cpu_s)         before each job
receive() / send(body)   frames: four bytes of length, then the body. EOFError at the end
"""

from __future__ import annotations

import codecs
import contextlib
import encodings
import os
import pkgutil
import resource
import sys

HARD_CPU_S = 24 * 3600  # of the process; it is replaced long before
FRAME_BYTES_MAX = 64 * 2**20


def limit(memory_bytes: int) -> None:
    """Of address space. No file is written, none is opened, nothing is dumped: what it
    needs is imported by then."""
    for codec in pkgutil.iter_modules(encodings.__path__):
        with contextlib.suppress(LookupError, ImportError):  # of another system
            codecs.lookup(codec.name)  # parsers ask for them by name, and Python opens a file then
    sys.set_int_max_str_digits(4_300)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def limit_job(cpu_s: int) -> None:
    """Of processor time, from now on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (min(soft, HARD_CPU_S), HARD_CPU_S))


def receive() -> bytes:
    """One frame."""
    length = int.from_bytes(_exactly(4), "big")
    return _exactly(length)


def send(body: bytes) -> None:
    """One frame."""
    data = memoryview(len(body).to_bytes(4, "big") + body)
    while data:
        data = data[os.write(1, data) :]


def _exactly(count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        got = os.read(0, min(count - len(parts), 2**20))
        if not got:
            raise EOFError
        parts += got
    return bytes(parts)
