"""Packing keeps the order of syscalls: nothing old goes before the new is durable."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fsync_order import strace, violations

SCRIPT = Path(__file__).resolve().parent.parent / "store" / "pack_ops.py"
pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


def rules(tmp_path: Path, bug: str = "") -> set[str]:
    trace, root = tmp_path / "trace", tmp_path / "store"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [*strace(str(trace)), sys.executable, str(SCRIPT), "order", str(root), bug]
    subprocess.run(command, check=True, env=env, timeout=120, stdout=subprocess.DEVNULL)
    found = violations(trace.read_text().splitlines(), root, reply='"ack')
    return {violation.rule for violation in found}


def test_nothing_old_goes_before_the_new_is_durable(tmp_path: Path) -> None:
    assert rules(tmp_path) == set()


@pytest.mark.parametrize(
    ("bug", "rule"),
    [("no file fsync", "unsynced"), ("no folder fsync", "early"), ("old bytes first", "early")],
)
def test_seeded_bugs_are_caught(tmp_path: Path, bug: str, rule: str) -> None:
    assert rule in rules(tmp_path, bug)
