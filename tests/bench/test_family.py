"""The bench of families walks every path of it on a made-up zoo: figures there are no figures, but
each file comes back byte for byte, and what is stored is what was counted."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench" / "family.py"
ROWS = {"delta": 1, "llama": 6, "quants": 1}  # and how many files each has


def test_every_row_is_kept_and_read_back(tmp_path: Path) -> None:
    command = [sys.executable, BENCH, "--quick", "--cache", tmp_path / "zoo", "--folder", tmp_path]
    chosen = ["--rows", ",".join(ROWS), "--ways", "raw,zstd,headwater"]
    done = subprocess.run([*command, *chosen], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if "| " in line]
    table = {(cells[0], cells[3]): cells for cells in lines if cells[0] in ROWS}
    assert set(table) == {(row, way) for row in ROWS for way in ("raw", "zstd", "headwater")}
    for row, files in ROWS.items():
        percent = {way: float(table[row, way][5]) for way in ("raw", "zstd", "headwater")}
        assert int(table[row, "raw"][1]) == files
        assert percent["raw"] == 100
        assert percent["headwater"] < 100
    assert float(table["llama", "headwater"][5]) < float(table["llama", "zstd"][5])


def test_what_differs_is_found_and_fails(tmp_path: Path) -> None:
    """The comparison of what is read: a peer that gives other bytes must not get a figure."""
    sys.path.insert(0, str(BENCH.parent))
    try:
        from measure import compared
        from peers import Source
    finally:
        sys.path.remove(str(BENCH.parent))
    path = tmp_path / "file"
    path.write_bytes(b"weights")
    source = Source("file", path, (), "file")
    compared(iter([b"wei", b"ghts"]), source)
    for wrong in ([b"weighty"], [b"weight"], [b"weights", b"!"], []):
        with pytest.raises(AssertionError):
            compared(iter(wrong), source)
