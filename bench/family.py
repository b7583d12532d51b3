"""How small does a family of models become, and how fast does it go in and out, against peers?

    python bench/family.py [--cache DIR] [--rows ROW,…] [--ways WAY,…] [--folder DIR] [--quick]

Needs the `bench` dependency group and the `dev` group. The families are
real (zoo.py says which); the first run trains them, 20 CPU minutes of one core, and keeps them in
--cache. Every row is stored each way that peers.py knows, and read back byte for byte:

    bf16     MiniLM in BF16 alone            minilm   base and four checkpoints of two fine-tunes
    fp32     MiniLM as published, alone      llama    15 members of a small Llama
    delta    a fine-tune, the base is there  quants   int8, int4 and three GGUF, the llama are there

Headwater is there twice: as it packs a file some time after its upload, and (-small) as it packs
files once more that nobody has asked for in a month.

Prints one table: size (for `delta` and `quants` what is added), MB of files a CPU second on the way
in and out, and the memory that each takes at its peak; then each target of the project, met or
missed. Exit 1 when one is missed or a peer fails; a peer that is not installed is named.
Works in /dev/shm when that has room, but for ranges out of a cold disk, which are taken below
--cache. `--quick` has a small made-up zoo, for a test: no target is judged.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import zoo
import zoo_quick
from pace import pace, told
from peers import Source
from transfer import load, machine, place

WAYS = ("raw", "zstd", "dedup", "zipnn", "lmzip", "bitx", "headwater", "headwater-small")
OURS = ("headwater", "headwater-small")
# What is run where the first fails; its failure is a line of the table.
FALLBACK = {"lmzip": "lmzip-nodedup"}
MEASURE = Path(__file__).with_name("measure.py")
FAMILY_OF = {
    "bf16": "minilm", "fp32": "minilm", "delta": "minilm", "minilm": "minilm",
    "llama": "llama", "quants": "llama",
}  # fmt: skip
ROOM_FACTOR = 4
RUNS = 3  # of rows of one file, the quickest counts; a family is long enough for one
# The promises: percent of the files' size, MB a CPU second, milliseconds.
PERCENT_MAX = {"bf16": 66.6, "delta": 11.1, "minilm": 19.0, "llama": 17.0}
DECODE_MIN = 1000.0
RANGE_MS_MAX = 5.0
QUICK = ("bf16", "delta")  # rows whose size and speed are promised together
PACKAGES = "numpy zstandard pcodec pyfastcdc zipnn lmzip xxhash blake3 torch transformers peft gguf"


@dataclass(frozen=True, slots=True)
class Row:
    """`files` are measured; `given` were put before them and count for nothing."""

    name: str
    given: tuple[Source, ...]
    files: tuple[Source, ...]

    @property
    def raw_bytes(self) -> int:
        return sum(source.path.stat().st_size for source in self.files)


@dataclass(frozen=True, slots=True)
class Figures:
    added_bytes: int
    encode_mb_s: float
    decode_mb_s: float
    encode_peak_mb: float
    decode_peak_mb: float


class Failed(Exception):
    """A peer that did not get through; its last line."""


def sources(members: tuple[zoo.Member, ...], root: str = "") -> tuple[Source, ...]:
    return tuple(Source(m.name, m.path, m.bases, root or members[0].name) for m in members)


def rows_of(found: zoo.Zoo) -> list[Row]:
    minilm, llama = sources(found.minilm), sources(found.llama)
    base, tuned = minilm[0], next(s for s in minilm if s.name == found.tuned)
    tuned = Source(tuned.name, tuned.path, (base.name,), base.name)
    return [  # named as in FAMILY_OF
        Row("bf16", (), (base,)),
        Row("fp32", (), sources((found.fp32,))),
        Row("delta", (base,), (tuned,)),
        Row("minilm", (), minilm),
        Row("llama", (), llama),
        Row("quants", llama, sources(found.quants, llama[0].name)),
    ]


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(way: str, folder: Path, do: str, held: tuple[Source, ...]) -> dict[str, object]:
    """One job of measure.py in a process of its own, with one thread where libraries have more."""
    job = {"peer": way, "folder": str(folder), "do": do, "sources": [asdict(s) for s in held]}
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, MEASURE],
        input=json.dumps(job, default=str),
        env={**os.environ, **one},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Failed((done.stderr.strip().splitlines() or ["no word"])[-1])
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def stored(row: Row, way: str, folder: Path) -> Figures:
    """`row` kept and read back by one peer, in a folder of its own, which it leaves behind."""
    before_bytes, before_s = 0, 0.0
    if row.given:
        given = measure(way, folder, "put", row.given)
        before_bytes = folder_bytes(folder)
        if way.startswith("lmzip"):  # it makes the archive anew: only what that takes longer counts
            before_s = given["cpu_s"]
    put = measure(way, folder, "put", row.files)
    added_bytes = folder_bytes(folder) - before_bytes
    read = measure(way, folder, "read", row.files)
    raw_mb = row.raw_bytes / 1e6
    return Figures(
        added_bytes,
        raw_mb / max(put["cpu_s"] - before_s, 0.001),
        raw_mb / max(read["cpu_s"], 0.001),
        put["peak_mb"],
        read["peak_mb"],
    )


def best(row: Row, way: str, work: Path, times: int) -> Figures:
    """The quickest of some runs; sizes are the same in all, memory is the most of all."""
    runs = []
    for number in range(times if len(row.files) == 1 else 1):
        with tempfile.TemporaryDirectory(dir=work) as name:
            runs.append(stored(row, way, Path(name) / f"run{number}"))
    return Figures(
        runs[0].added_bytes,
        max(run.encode_mb_s for run in runs),
        max(run.decode_mb_s for run in runs),
        max(run.encode_peak_mb for run in runs),
        max(run.decode_peak_mb for run in runs),
    )


def line(row: Row, way: str, figures: Figures) -> str:
    raw_mb, size_mb = row.raw_bytes / 1e6, figures.added_bytes / 1e6
    return (
        f"| {row.name} | {len(row.files)} | {raw_mb:.1f} | {way} | {size_mb:.2f} | "
        f"{100 * size_mb / raw_mb:.2f} | {figures.encode_mb_s:.0f} | {figures.decode_mb_s:.0f} | "
        f"{figures.encode_peak_mb:.0f} | {figures.decode_peak_mb:.0f} |"
    )


class Judge:
    """Prints each target, and remembers whether one was missed."""

    def __init__(self) -> None:
        self.missed = False

    def at_most(self, what: str, value: float, limit: float, unit: str) -> None:
        self.say(value <= limit, f"{what}: {value:.2f} {unit} (at most {limit:g})")

    def at_least(self, what: str, mb_s: float, limit: float, speed: float) -> None:
        """`limit` where the targets were set; here `speed` times that."""
        there = f"{mb_s / speed:.0f} at the targets' pace, at least {limit:.0f}"
        self.say(mb_s >= limit * speed, f"{what}: {mb_s:.0f} MB/s a core ({there})")

    def say(self, met: bool, text: str) -> None:
        self.missed |= not met
        print(f"{'PASS' if met else 'FAIL'}  {text}", flush=True)


def judge(
    rows: list[Row], table: dict[tuple[str, str], Figures], speed: float, verdict: Judge
) -> None:
    """Sizes of the two tiers; where speed has a target too, the quick one must meet both."""
    for row in rows:
        ours = {way: table[row.name, way] for way in OURS if (row.name, way) in table}
        others = {w: f for (n, w), f in table.items() if n == row.name and w not in OURS}
        if not ours:
            verdict.say(False, f"{row.name}: Headwater has no figure")
            continue
        smallest = min(ours, key=lambda way: ours[way].added_bytes)
        for way, figures in ours.items():
            if row.name in PERCENT_MAX and way == (OURS[0] if row.name in QUICK else smallest):
                percent, limit = 100 * figures.added_bytes / row.raw_bytes, PERCENT_MAX[row.name]
                verdict.at_most(f"{row.name}, {way}", percent, limit, "% of the files")
        if others:
            nearest = min(others, key=lambda way: others[way].added_bytes)
            mb, next_mb = (f.added_bytes / 1e6 for f in (ours[smallest], others[nearest]))
            text = f"{row.name}: {smallest} {mb:.2f} MB, {nearest} {next_mb:.2f} MB"
            verdict.say(mb < next_mb, text)
        if row.name == "bf16" and OURS[0] in ours:
            verdict.at_least("planes decode", ours[OURS[0]].decode_mb_s, DECODE_MIN, speed)


def delta_speed(
    row: Row, sibling: Source, work: Path, disk: Path, speed: float, verdict: Judge
) -> None:
    """The targets of reading through a delta. Whole: in a process that has just read the base and
    `sibling`, another delta against it. Ranges: out of a store just opened."""
    held = (*row.given, sibling, *row.files)
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name) / "warm"
        measure("headwater", folder, "put", held)
        spent_s = min(measure("headwater", folder, "warm", held)["cpu_s"] for _ in range(RUNS))
    mb_s = row.raw_bytes / 1e6 / spent_s
    verdict.at_least("delta decode, base warm", mb_s, DECODE_MIN, speed)
    with tempfile.TemporaryDirectory(dir=disk) as name:
        folder = Path(name) / "cold"
        measure("headwater", folder, "put", held)
        for kind, ms in measure("headwater", folder, "ranges", held).items():
            p50, p95 = statistics.median(ms), ms[int(len(ms) * 0.95)]
            what = f"1 MiB through a delta, page cache {kind}: p50 {p50:.2f} ms, p95 {p95:.2f}"
            verdict.at_most(f"{what}; p50 at the targets' pace", p50 * speed, RANGE_MS_MAX, "ms")


def versions() -> str:
    found = []
    for name in PACKAGES.split():
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} none")
    return f"Python {sys.version.split()[0]}, {', '.join(found)}"


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--cache", type=Path, default=zoo.DEFAULT)
    options.add_argument("--rows", default=",".join(FAMILY_OF), help="some of them, with commas")
    options.add_argument("--ways", default=",".join(WAYS))
    options.add_argument("--folder", type=Path, help="where to work")
    options.add_argument("--quick", action="store_true")
    args = options.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.cache) as disk:
        return compare(args, Path(disk))


def compare(args: argparse.Namespace, disk: Path) -> int:
    names = args.rows.split(",")
    if args.quick:
        found = zoo_quick.build(args.cache.absolute())
    else:
        found = zoo.build(args.cache.absolute(), {FAMILY_OF[name] for name in names})
    rows = [row for row in rows_of(found) if row.name in names]
    ways = args.ways.split(",")
    room_bytes = ROOM_FACTOR * max(
        sum(s.path.stat().st_size for s in (*row.given, *row.files)) for row in rows
    )
    work = place(args.folder, room_bytes)
    weights = found.minilm[0].path
    here = pace(weights) if weights.exists() and not args.quick else None
    speed = here or 1.0
    print(f"{machine()}\n{versions()}\n{told(here)}\nin {work}\n")
    print(
        "| row | files | MB | way | stored MB | % | encode MB/s | decode MB/s | peak MB in | out |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    table: dict[tuple[str, str], Figures] = {}
    failures: list[str] = []
    for row in rows:
        todo = list(ways)
        while todo:
            way = todo.pop(0)
            try:
                table[row.name, way] = figures = best(row, way, work, 1 if args.quick else RUNS)
                print(line(row, way, figures), flush=True)
            except Failed as failed:
                if way in FALLBACK:
                    print(f"| {row.name} | | | {way} | {failed} | | | | | |", flush=True)
                    todo.insert(0, FALLBACK[way])
                else:
                    failures.append(f"{row.name}, {way}: {failed}")
    print(f"\nload at the end {load()}")
    verdict = Judge()
    for failure in failures:
        verdict.say(False, f"no figure for {failure}")
    if "headwater" in ways and not args.quick:
        judge(rows, table, speed, verdict)
        for row in rows:
            if row.name == "delta" and (row.name, "headwater") in table:
                delta_speed(row, sources(found.minilm)[-1], work, disk, speed, verdict)
    return 1 if verdict.missed else 0


if __name__ == "__main__":
    sys.exit(main())
