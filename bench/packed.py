"""How fast does a packed file come over HTTP, cold, and from where in it?

    python bench/packed.py BASE CHILD [--runs 5] [--pin 0]

BASE and CHILD: two safetensors files, the second a fine-tune of the first. A hub of one process,
pinned to one core, holds both, packed, the child against the base; nothing is kept decoded, and
each run is by a hub that was just started, so no frame is in its memory. Above each figure that of
the same file lying plain in the same hub, in the same run:

    whole    MB/s of curl to /dev/null, and of the hub's own CPU seconds
    first    milliseconds until the first byte
    range    milliseconds of 1 MiB out of the middle, many of them
"""

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests")]

from pace import pace, told

from headwater.app import build
from headwater.names import Digest
from headwater.settings import load
from live import LiveHub
from raw import Raw

MIB, MB = 2**20, 10**6
AIM_WHOLE_MB = 500
AIM_FIRST_MS = 100
RANGES = 40
IDLE_MAX_S = 0.1  # CPU a second of a hub that nobody asks: its lanes look for work
CURL = "%{speed_download} %{time_starttransfer}"


def upload(hub: LiveHub, token: str, path: Path) -> Digest:
    """By LFS, so that the file lies plain."""
    with Raw(hub.url, token) as raw:
        raw.create(f"bench/{path.parent.name}")
        oid, status = raw.lfs(f"bench/{path.parent.name}", path.read_bytes())
        assert status == 200, status
        reply = raw.commit(
            f"bench/{path.parent.name}",
            lfs={"w.safetensors": (oid, path.stat().st_size)},
            message="bench",
        )
        assert reply.status == 200, reply.body
        return Digest(oid)


def cpu_s(hub: LiveHub) -> float:
    """CPU seconds of the hub's processes so far."""
    total = 0.0
    for pid in hub._tree():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def settle(hub: LiveHub) -> None:
    """Wait until what a start does beside serving (imports, the lanes' first look) is over."""
    while True:
        before = cpu_s(hub)
        time.sleep(1)
        if cpu_s(hub) - before < IDLE_MAX_S:
            return


def whole(hub: LiveHub, url: str) -> tuple[float, float, float]:
    """(MB/s, ms to the first byte, MB a CPU second of the hub) of one download."""
    before = cpu_s(hub)
    said = subprocess.run(
        ["curl", "-sf", "-o", "/dev/null", "-w", CURL + " %{size_download}", url],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    spent = cpu_s(hub) - before
    return float(said[0]) / MB, float(said[1]) * 1000, float(said[2]) / MB / max(spent, 0.01)


def ranges(url: str, size_bytes: int) -> list[float]:
    """Milliseconds of 1 MiB at random places, over one connection."""
    took = []
    random_ = random.Random(1)
    with httpx.Client(trust_env=False) as client:
        for _ in range(RANGES):
            at = random_.randrange(size_bytes - MIB)
            began = time.perf_counter()
            reply = client.get(url, headers={"Range": f"bytes={at}-{at + MIB - 1}"})
            took.append((time.perf_counter() - began) * 1000)
            assert (reply.status_code, len(reply.content)) == (206, MIB)
    return took


def measured(
    hub: LiveHub, what: str, url: str, size_bytes: int, runs: int, pin: int, pace_here: float
) -> bool:
    """One row of the table; whether it meets the aims, at this machine's pace."""
    rows, took = [], []
    for _ in range(runs):
        hub.restart()
        for pid in hub._tree():
            os.sched_setaffinity(pid, {pin})
        httpx.get(f"{hub.url}/api/models", trust_env=False)  # imports are not what is measured
        settle(hub)
        rows.append(whole(hub, url))
        took += ranges(url, size_bytes)
    speed, first, core = (statistics.median(row[n] for row in rows) for n in range(3))
    p50, p95 = statistics.quantiles(took, n=20)[9], statistics.quantiles(took, n=20)[18]
    print(f"| {what} | {speed:.0f} | {core:.0f} | {first:.0f} | {p50:.1f} / {p95:.1f} |")
    return core >= AIM_WHOLE_MB * pace_here and first <= AIM_FIRST_MS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("child", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pin", type=int, default=0)
    args = parser.parse_args()
    here = pace(args.base)
    speed = here or 1.0
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{told(here)}\n")
    print("| | MB/s | MB a core-second | first byte, ms | 1 MiB range p50 / p95, ms |")
    print("|---|---|---|---|---|")
    good = True
    with tempfile.TemporaryDirectory() as folder:
        hub = LiveHub(Path(folder))
        hub.data.mkdir(parents=True)
        (hub.data / "headwater.toml").write_text("hot_bytes_max = 0\npack_after_s = -1\n")
        hub.start()
        token = hub.token("bench")
        oids = [upload(hub, token, path) for path in (args.base, args.child)]
        names = [("a base", args.base), ("a fine-tune of it", args.child)]

        def row(packed: str, number: int) -> bool:
            what, path = names[number]
            url = f"{hub.url}/bench/{path.parent.name}/resolve/main/w.safetensors"
            size, name = path.stat().st_size, f"{what}, {packed}"
            return measured(hub, name, url, size, args.runs, args.pin, speed)

        for number in range(2):
            row("plain", number)
        floors = build(load({"data": hub.data}))
        floors.store.pack(oids[0])
        floors.store.pack(oids[1], [oids[0]])
        floors.close()
        for number in range(2):
            good &= row("packed", number)
        hub.stop()
    aim = f"{AIM_WHOLE_MB} MB a core-second at the targets' pace ({AIM_WHOLE_MB * speed:.0f} here)"
    print(f"\naims: {aim}, first byte in {AIM_FIRST_MS} ms: {'met' if good else 'missed'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
