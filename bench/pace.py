"""How fast this machine is beside the one on which the project's targets were set.

    pace(path)   1.0 as fast, 0.5 half as fast; never above 1. None without zipnn

Speeds in MB/s say more of a machine, and of who else is on it, than of a codec. There, ZipNN's own
C code decoded the BF16 weights of MiniLM in memory, on one thread, at 1,187 MB/s; what it does here
in the same run is the measure. Much of it is how long the first touch of a page takes, here and
there: under other settings of malloc it is another figure.
"""

import time
from pathlib import Path

from peers import zipnn_of

ZIPNN_MB_S = 1187.0
RUNS = 7
BYTES = 32 * 2**20
HEADER_BYTES_MAX = 2**16


def pace(path: Path) -> float | None:
    """`path`: a BF16 safetensors file of at least some megabytes."""
    try:
        coder = zipnn_of("BF16")
    except ImportError:
        return None
    with path.open("rb") as file:
        file.seek(HEADER_BYTES_MAX)
        data = file.read(BYTES)
    packed = coder.compress(data)
    best_s = float("inf")
    for _ in range(RUNS):
        began_s = time.process_time()
        coder.decompress(packed)
        best_s = min(best_s, time.process_time() - began_s)
    return min(len(data) / 1e6 / best_s / ZIPNN_MB_S, 1.0)


def told(found: float | None) -> str:
    """A line for the head of a table."""
    if found is None:
        return "zipnn is not installed: speeds are held against the targets as they are"
    return f"this machine now runs at {found:.2f} of the one the targets were set on (zipnn)"
