"""The process in which hostile bytes are looked at: `python -m headwater.formats.inspect_worker`.

    in:   a job {"size": n}; then, for each range asked for, its bytes
    out:  {"read": [start, stop]} as often as it likes; {"verdict": {…}} or {"failed": text} at last

The process opens no file and no connection: all it has is the pipe. It limits its own memory,
processor time and files before the first job, and ends when its input does. Whoever started it
kills it when it takes too long.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headwater.formats.inspection import Verdict, inspect
from headwater.sandbox import child

MEMORY_BYTES_MAX = 512 * 2**20  # of address space; Python alone takes a tenth
CPU_S_MAX = 3  # of one job


def _read(start: int, stop: int) -> bytes:
    child.send(msgspec.json.encode({"read": [start, stop]}))
    return child.receive()


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
    child.limit(MEMORY_BYTES_MAX)
    while True:
        try:
            asked = msgspec.json.decode(child.receive(), type=dict[str, int])
            child.limit_job(CPU_S_MAX)
            child.send(msgspec.json.encode(job(asked["size"])))
        except (EOFError, BrokenPipeError):
            return


if __name__ == "__main__":
    main()
