"""Memory does not grow with the bundle: a file of 256 MiB passes through both commands."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from bundle_kit import hub, make_repo, put_large

pytestmark = pytest.mark.slow

GROWTH_BYTES_MAX = 64 * 2**20  # over what the same command takes for next to nothing
LARGE_BYTES = 256 * 2**20
CODE = (
    "import sys, atexit\n"
    "def told():\n"
    "    status = open('/proc/self/status').read()\n"
    "    print('peak', status.partition('VmHWM:')[2].split()[0])\n"
    "atexit.register(told)\n"
    "from headwater.cli.main import run\n"
    "run()\n"
)


def peak_bytes(*args: str) -> int:
    """Resident memory that `headwater ARGS` took at most."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *args], env=env, capture_output=True, text=True, check=True
    )
    return 1024 * int(done.stdout.rpartition("peak ")[2])


def test_large_and_small_take_the_same(tmp_path: Path) -> None:
    floors = hub(tmp_path / "a", "ann")
    small, large = make_repo(floors, "ann/small"), make_repo(floors, "ann/large")
    data = random.Random(1).randbytes(2**20)
    put_large(floors, small, "w.bin", data, pack=False)
    put_large(floors, large, "w.bin", data * (LARGE_BYTES // 2**20), pack=False)
    floors.close()
    hub(tmp_path / "b", "ann").close()
    took = {}
    for name in ("small", "large"):
        file = str(tmp_path / f"{name}.tar")
        export = peak_bytes("export", f"ann/{name}", "-o", file, "--data", str(tmp_path / "a"))
        took[name] = (export, peak_bytes("import", file, "--data", str(tmp_path / "b")))
    for small_bytes, large_bytes in zip(took["small"], took["large"], strict=True):
        assert large_bytes < small_bytes + GROWTH_BYTES_MAX
