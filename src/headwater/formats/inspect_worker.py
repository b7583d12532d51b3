"""The process in which hostile bytes are looked at: `python -m headwater.formats.inspect_worker`.

    in:   a job {"size": n}; then, for each range asked for, its bytes
    out:  {"read": [start, stop]} as often as it likes; {"verdict": {…}} or {"failed": text} at last

Frames are four bytes of length, then the body. The process opens no file and no connection: all it
has is the pipe. It limits its own memory, processor time and files before the first job, and ends
when its input does. Whoever started it kills it when it takes too long.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import Any

import msgspec

from headwater.formats.inspection import Verdict, inspect

MEMORY_BYTES_MAX = 512 * 2**20  # of address space; Python alone takes a tenth
CPU_S_MAX = 3  # of one job
HARD_CPU_S = 3_600  # of the process; it is replaced long before
FRAME_BYTES_MAX = 64 * 2**20


def read_exactly(descriptor: int, count: int) -> bytes:
    """`count` bytes of a pipe; EOFError when it ends before."""
    parts = bytearray()
    while len(parts) < count:
        got = os.read(descriptor, min(count - len(parts), 2**20))
        if not got:
            raise EOFError
        parts += got
    return bytes(parts)


def _receive() -> bytes:
    length = int.from_bytes(read_exactly(0, 4), "big")
    return read_exactly(0, length)


def _send(message: dict[str, Any]) -> None:
    body = msgspec.json.encode(message)
    data = memoryview(len(body).to_bytes(4, "big") + body)
    while data:
        data = data[os.write(1, data) :]


def _read(start: int, stop: int) -> bytes:
    _send({"read": [start, stop]})
    return _receive()


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))


def _limit_job() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + CPU_S_MAX
    resource.setrlimit(resource.RLIMIT_CPU, (min(soft, HARD_CPU_S), HARD_CPU_S))


def job(size_bytes: int) -> dict[str, Any]:
    """One verdict; what goes wrong is a verdict, too."""
    try:
        return {"verdict": inspect(_read, size_bytes)}
    except MemoryError:
        reason = "looking into it takes more memory than is given"
    except EOFError:
        raise
    except Exception as error:  # a parser's own bug must not look like a harmless file
        reason = f"could not be inspected: {type(error).__name__}"
    return {"verdict": Verdict("unknown", "unverified", "caution", reason)}


def main() -> None:
    """Serve jobs until the input ends."""
    sys.set_int_max_str_digits(4_300)
    _limit()
    while True:
        try:
            asked = msgspec.json.decode(_receive(), type=dict[str, int])
            _limit_job()
            _send(job(asked["size"]))
        except (EOFError, BrokenPipeError):
            return


if __name__ == "__main__":
    main()
