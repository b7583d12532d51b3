"""One measurement in a process of its own: a job as JSON on stdin, its result as JSON on stdout.

    put      keep the sources                      CPU seconds, peak memory
    read     read them, compared with the originals byte for byte (out of the clock)
    warm     read all sources, and time the last: the base and a sibling come before it
    ranges   1 MiB out of the last source, from a store just opened: milliseconds each, with the
             page cache dropped and then filled

Peak memory is what the work adds to the process once everything is imported. CPU seconds are those
of all threads.
"""

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from peer_bitx import Bitx
from peers import (
    PIECE_BYTES,
    Dedup,
    Headwater,
    HeadwaterSmall,
    Lmzip,
    LmzipNoDedup,
    Peer,
    Raw,
    Source,
    Zipnn,
    Zstd,
    pieces,
)

PEERS: dict[str, type[Peer]] = {
    "raw": Raw, "zstd": Zstd, "dedup": Dedup, "zipnn": Zipnn, "lmzip": Lmzip,
    "lmzip-nodedup": LmzipNoDedup, "bitx": Bitx, "headwater": Headwater,
    "headwater-small": HeadwaterSmall,
}  # fmt: skip
RANGES = 60
RANGE_BYTES = 2**20


class Memory:
    """How far resident memory rises above where it was."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
        self.start_kb = self._kb("VmRSS")

    def _kb(self, key: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))

    def peak_mb(self) -> float:
        return (self._kb("VmHWM") - self.start_kb) * 1024 / 1e6


class Same:
    """Compares pieces with a file, in small steps: it must not show in the peak."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def take(self, piece: bytes | bytearray | memoryview) -> None:
        view = memoryview(piece)
        for at in range(0, len(view), PIECE_BYTES):
            part = view[at : at + PIECE_BYTES]
            assert self.file.read(len(part)) == part, f"differs near byte {self.file.tell()}"

    def end(self) -> None:
        assert not self.file.read(1), "is too short"


def put(peer: Peer, sources: list[Source]) -> dict[str, float]:
    if isinstance(peer, Lmzip):
        for source in sources:
            peer.stage(source)
    memory = Memory()
    began_s = time.process_time()
    for source in sources:
        peer.put(source)
    peer.close()
    return {"cpu_s": time.process_time() - began_s, "peak_mb": memory.peak_mb()}


def read(peer: Peer, sources: list[Source]) -> dict[str, float]:
    memory = Memory()
    if not isinstance(peer, Lmzip):
        spent_s = sum(compared(peer.read(source), source) for source in sources)
        return {"cpu_s": spent_s, "peak_mb": memory.peak_mb()}
    began_s = time.process_time()
    written = peer.unpack(sources)
    spent_s = time.process_time() - began_s
    peak_mb = memory.peak_mb()
    for path, source in zip(written, sources, strict=True):
        compared(pieces(path), source)
    return {"cpu_s": spent_s, "peak_mb": peak_mb}


def compared(stream: Iterator[bytes | bytearray | memoryview], source: Source) -> float:
    """CPU seconds that the stream took."""
    spent_s = 0.0
    with source.path.open("rb") as file:
        same = Same(file)
        while True:
            began_s = time.process_time()
            piece = next(stream, None)
            spent_s += time.process_time() - began_s
            if piece is None:
                break
            same.take(piece)
            del piece
        same.end()
    return spent_s


def warm(peer: Peer, sources: list[Source]) -> dict[str, float]:
    """The last source, once: a second read might be out of a cache of what the first one made."""
    for source in sources[:-1]:
        compared(peer.read(source), source)
    return {"cpu_s": compared(peer.read(sources[-1]), sources[-1])}


def ranges(folder: Path, source: Source) -> dict[str, list[float]]:
    """Of the packed store: for each range it is opened anew, so nothing is decoded yet."""
    rng = random.Random(1)
    size = source.path.stat().st_size
    length = min(RANGE_BYTES, size)
    starts = [rng.randrange(size - length + 1) for _ in range(RANGES)]
    times: dict[str, list[float]] = {"dropped": [], "cached": []}
    with source.path.open("rb") as original:
        for kind in times:
            for start in starts:
                if kind == "dropped":
                    drop(folder)
                peer = Headwater(folder)
                began_s = time.perf_counter()
                data = b"".join(peer.store.read(peer.oids[source.name], start, start + length))
                times[kind].append((time.perf_counter() - began_s) * 1000)
                original.seek(start)
                assert data == original.read(length), f"{source.name} differs in {start}"
    return {kind: sorted(ms) for kind, ms in times.items()}


def drop(folder: Path) -> None:
    """All files below go out of the page cache (not those of a disk in memory)."""
    for path in folder.rglob("*"):
        if path.is_file():
            number = os.open(path, os.O_RDONLY)
            os.fsync(number)
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(number)


def main() -> int:
    job = json.load(sys.stdin)
    sources = [
        Source(s["name"], Path(s["path"]), tuple(s["bases"]), s["root"]) for s in job["sources"]
    ]
    folder = Path(job["folder"])
    folder.mkdir(exist_ok=True)
    if job["do"] == "ranges":
        print(json.dumps(ranges(folder, sources[-1])))
        return 0
    peer = PEERS[job["peer"]](folder)
    work = {"put": put, "read": read, "warm": warm}[job["do"]]
    print(json.dumps(work(peer, sources)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
