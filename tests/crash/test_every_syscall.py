"""kill -9 at every call that changes something, one run for each: nothing acknowledged is lost.

strace delivers SIGKILL at the nth write, pwrite64, fsync, rename, mkdir, unlink, ftruncate of a
script that makes every kind of write, for n = 1, 2, … until the script gets to its end: each n with
HEADWATER_TEST_FULL, else every third, of the rare calls each.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from effort import FULL
from headwater.store import Store

SCRIPT = Path(__file__).with_name("store_writes.py")
# What must be there after so many acknowledgements: blobs, xorbs.
ACKED = {0: (0, 0), 1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (2, 1), 5: (3, 1), 6: (3, 1)}
WRITES = len(ACKED) - 1
POINTS_MAX = 60  # more of one kind of call than the script makes


def run(root: Path, *before: str) -> int:
    """Runs the script; returns how many writes it acknowledged."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [*before, sys.executable, str(SCRIPT), str(root)]
    done = subprocess.run(command, env=env, timeout=60, stdout=subprocess.PIPE)
    return done.stdout.count(b"ack")


@pytest.mark.crash
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize(
    ("call", "step"),
    [
        ("write", 3),
        ("pwrite64", 1),
        ("fsync", 3),
        ("rename", 2),
        ("mkdir", 3),
        ("unlink", 1),
        ("ftruncate", 1),
    ],
)
def test_killed_at_every(call: str, step: int, tmp_path: Path) -> None:
    for nth in range(1, POINTS_MAX, 1 if FULL else step):
        root = tmp_path / f"store-{nth}"
        inject = f"inject={call}:signal=SIGKILL:when={nth}"
        # Without --seccomp-bpf: strace 6.1 does not deliver an injected signal then.
        tracer = ["strace", "-f", "-o", str(tmp_path / "trace")]
        acked = run(root, *tracer, "-e", f"trace={call}", "-e", inject)
        store = Store.open(root)  # starts unaided
        assert list(store.check(data=True)) == []  # nothing is there in part
        blobs, xorbs = ACKED[acked]
        assert len(list(store.blobs())) >= blobs
        assert len(list(store.xorbs())) >= xorbs
        if acked == WRITES:
            assert nth > 1, "the script was never killed"
            return
        assert run(root) == WRITES  # whoever tries again succeeds
        assert list(store.check(data=True)) == []
        shutil.rmtree(root)
    raise AssertionError(f"the script makes more than {POINTS_MAX} calls of {call}")
