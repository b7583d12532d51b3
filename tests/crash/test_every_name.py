"""kill -9 at every call of what changes names: all of a change is there, or none of it.

A push, a bucket's batch, a merge, large files deleted with and without their history, a duplicate,
a squash, gc; killed at the nth pwrite64, fdatasync, fsync, ftruncate, unlink of all that, for
n = 1, 2, … After each the hub opens, `check --bytes` is clean, what was acknowledged is there, and
what was not is there as a whole or not at all.
"""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from name_world import damage, make, opened, seen
from name_writes import changes

from effort import FULL
from headwater.app import Floors
from headwater.cli.gc import collect
from headwater.settings import Settings

SCRIPT = Path(__file__).with_name("name_writes.py")
pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

STEPS = 8
KILLED_AT = 1000  # more than there are calls of one kind


def run(
    template: Path, folder: Path, call: str, *numbers: int, tracer: tuple[str, ...] = ()
) -> None:
    tests = str(SCRIPT.parents[1])
    paths = os.pathsep.join([tests, *(path for path in sys.path if path)])
    command = [*tracer, sys.executable, str(SCRIPT), str(template), str(folder), call]
    done = subprocess.run(
        [*command, *map(str, numbers)],
        env={**os.environ, "PYTHONPATH": paths}, timeout=120, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("names") / "template"
    make(root)
    assert damage(root) == []
    return root


@pytest.fixture(scope="module")
def states(template: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What is seen before the first change and after each."""
    root = tmp_path_factory.mktemp("states") / "walked"
    shutil.copytree(template, root)
    found = [seen(root)]
    for step in changes(root):
        step()
        found.append(seen(root))
    return found


def after(root: Path) -> int:
    """How many changes were acknowledged."""
    acks = root / "acks"
    return len(acks.read_bytes()) if acks.exists() else 0


def test_nobody_killed(template: Path, states: list[dict[str, Any]], tmp_path: Path) -> None:
    """The script does what it says, each change is seen, and each but gc has its audit row."""
    run(template, tmp_path, "fsync", KILLED_AT, KILLED_AT, 1, KILLED_AT + 1)
    root = tmp_path / str(KILLED_AT)
    assert after(root) == STEPS
    assert seen(root) == states[STEPS]
    for before, then in itertools.pairwise(states[:STEPS]):
        assert before != then
        assert then["audit"] == before["audit"] + 1
    assert states[STEPS] == states[STEPS - 1]


# Every one of the rarer calls. Of the writes, of which one transaction makes dozens, every ninth
# (every third with HEADWATER_TEST_FULL): what is between two of them is the database's own affair,
# and it is tested elsewhere.
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize(
    ("call", "step", "places"),
    [
        ("pwrite64", 3 if FULL else 9, 8),
        ("fdatasync", 1, 8),
        ("fsync", 1, 1),
        ("ftruncate", 1, 1),
        ("unlink", 1, 2),
    ],
)
def test_killed_at(
    template: Path, states: list[dict[str, Any]], tmp_path: Path, call: str, step: int, places: int
) -> None:
    inject = f"inject={call}:signal=SIGKILL:when={KILLED_AT}"
    tracer = ("strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject)
    run(template, tmp_path, call, KILLED_AT, 1, step, KILLED_AT, tracer=tracer)
    roots = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    ends = []
    for root in roots:
        acked = after(root)
        ends.append(acked)
        assert damage(root) == [], f"{call} {root.name}"
        found = seen(root)
        assert found in states[acked : acked + 2], f"{call} {root.name}, {acked} acknowledged"
        sweep(root)
        assert damage(root) == [], f"{call} {root.name}, after gc"
        assert seen(root) == found
    assert ends[-1] == STEPS, "it never came to its end"
    assert ends[:-1] == sorted(ends[:-1])
    assert len(set(ends[:-1])) >= places, "it was killed during few of the changes"
    print(f"{call}: {len(roots) - 1} kill points")


def sweep(root: Path) -> None:
    """gc takes what the killed one left."""
    catalog, store = opened(root)
    try:
        collect(Floors(Settings(data=root), store, catalog, b""), 0, dry_run=False)
        again = collect(Floors(Settings(data=root), store, catalog, b""), 0, dry_run=False)
        assert again
        assert not any(again.values()), again
    finally:
        catalog.close()
