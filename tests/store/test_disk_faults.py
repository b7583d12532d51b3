"""A full or failing disk: said as such, nothing saved in part, and all well once it works again.

Two ways: every write, fsync and rename made to fail in turn (strace injects the error), and a
real file system of two megabytes that fills up.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from store_kit import digest, get, put

from headwater.errors import Unavailable
from headwater.store import Store

HERE = Path(__file__).resolve().parent
STRACE = shutil.which("strace")

pytestmark = pytest.mark.local_disk


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    paths = [str(HERE), *(path for path in sys.path if path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)


@pytest.mark.skipif(STRACE is None, reason="needs strace")
@pytest.mark.parametrize(
    ("fault", "error", "raised"),
    [
        ("write", "ENOSPC", "NoSpace"),
        ("write", "EDQUOT", "NoSpace"),
        ("write", "EIO", "Unavailable"),
        ("pwrite64", "ENOSPC", "NoSpace"),
        ("fsync", "EIO", "Unavailable"),
        ("fsync", "ENOSPC", "NoSpace"),
        ("rename", "ENOSPC", "NoSpace"),
        ("mkdir", "EROFS", "Unavailable"),
    ],
)
def test_every_call_fails_once(tmp_path: Path, fault: str, error: str, raised: str) -> None:
    """A store made on a sound disk; then the nth call of that kind fails, for some n."""
    Store.open(tmp_path / "store")
    failed = set()
    for nth in (1, 4, 7):
        root = tmp_path / f"store-{nth}"
        shutil.copytree(tmp_path / "store", root)
        result = run(
            [
                *(str(STRACE), "-f", "-o", str(tmp_path / "trace"), "-e", f"trace={fault}"),
                *("-e", f"inject={fault}:error={error}:when={nth}"),
                *(sys.executable, str(HERE / "fault_script.py"), str(root)),
            ]
        )
        if not result.stdout:  # the call that failed was the interpreter's own
            continue
        said = json.loads(result.stdout)
        assert said["problems"] == []
        assert said["left"] == []
        assert set(said["raised"].values()) <= {raised}
        failed |= set(said["raised"].values())
    assert failed == {raised}, "no write met the fault"


FULL = """
import json, os, sys
from pathlib import Path
from store_kit import digest, put, get
from headwater.errors import NoSpace
from headwater.store import Store

store = Store.open(Path(sys.argv[1]))
kept, raised = {}, 0
for number in range(12):
    data = bytes([number]) * 300_000
    try:
        kept[put(store, data).oid] = data
    except NoSpace:
        raised += 1
early = 0
try:
    store.write_plain(10_000_000)
except NoSpace:
    early += 1
try:
    store.start_parts("up", 10_000_000, 1_000_000)
except NoSpace:
    early += 1
right = all(get(store, oid) == data for oid, data in kept.items())
problems = [finding.problem for finding in store.check(True)]
left = len(list((store.root / "tmp").iterdir()))
store.delete_blob(next(iter(kept)))
put(store, b"there is room again" * 1000)
print(json.dumps([len(kept), raised, early, right, problems, left]))
"""


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """Some blobs fit, the others get NoSpace; those are right, nothing is left over, and one
    delete later there is room again."""
    mounted = f'mount -t tmpfs -o size=2m none {tmp_path} && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, "sh"]
    if not shutil.which("unshare") or run([*command, "true"]).returncode:
        pytest.skip("needs a user namespace that may mount")
    result = run([*command, sys.executable, "-c", FULL, str(tmp_path / "store")])
    assert result.returncode == 0, result.stderr
    kept, raised, early, right, problems, left = json.loads(result.stdout)
    assert kept >= 4
    assert raised == 12 - kept
    assert early == 2
    assert right
    assert problems == []
    assert left == 0


def test_out_of_file_descriptors(store: Store) -> None:
    """Not a missing blob, not a damaged one: try again."""
    put(store, b"kept")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        for call in (
            lambda: store.find(digest(b"kept")),
            lambda: put(store, b"new"),
            lambda: store.start_parts("up", 1, 1),
        ):
            with pytest.raises(Unavailable):
                call()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert get(store, digest(b"kept")) == b"kept"
