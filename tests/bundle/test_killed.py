"""kill -9 in the middle of an export or an import: nothing in part, and the next try works.

strace delivers SIGKILL at the nth fsync, link, rename or unlink of the command.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bundle_kit import contents, find, hub, into, problems, repo_names

from effort import FULL
from headwater.app import Floors

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]

STEP = {"fsync": 5, "link": 3, "rename": 1, "unlink": 4}  # every so many calls is one run
if not FULL:
    STEP = {call: 6 * step for call, step in STEP.items()}
EXPORT_STEP = 1 if FULL else 6
TRIES_MAX = 40


def killed_at(call: str, nth: int, *args: str) -> bool:
    """Run `headwater ARGS` and kill it at its nth call; whether it was killed."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    inject = f"inject={call}:signal=SIGKILL:when={nth}"
    tracer = ["strace", "-f", "-o", os.devnull, "-e", f"trace={call}", "-e", inject]
    command = [*tracer, sys.executable, "-m", "headwater", *args]
    done = subprocess.run(command, env=env, timeout=120, capture_output=True, text=True)
    assert done.returncode in (0, -9, 137), done.stderr
    return done.returncode != 0


@pytest.mark.parametrize("call", list(STEP))
def test_an_import_that_is_killed_is_run_again(
    call: str, source: Floors, bundle: Path, tmp_path: Path
) -> None:
    """Each repo is whole or not there, at whatever point; the same folder goes on each time."""
    hub(tmp_path / "data", "ann").close()
    wanted = {
        full: contents(source, find(source, full, type))  # type: ignore[arg-type]
        for full, type in (("ann/base", "model"), ("ann/child", "model"), ("ann/notes", "dataset"))
    }
    nth = 1
    for _ in range(TRIES_MAX):
        ended = not killed_at(call, nth, "import", str(bundle), "--data", str(tmp_path / "data"))
        floors = hub(tmp_path / "data")
        names = repo_names(floors)
        for full in names:
            type = "dataset" if full == "ann/notes" else "model"
            assert contents(floors, find(floors, full, type)) == wanted[full]  # type: ignore[arg-type]
        assert problems(floors) == []
        if ended:
            assert names == wanted.keys()
            assert nth > 1, "it was never killed"
            floors.close()
            return
        floors.close()
        nth += STEP[call]
    raise AssertionError(f"it makes more calls of {call} than were tried")


@pytest.mark.parametrize("call", ["fsync", "link", "unlink"])
def test_an_export_that_is_killed_leaves_no_file_of_that_name(call: str, tmp_path: Path) -> None:
    from bundle_kit import family

    floors = hub(tmp_path / "data", "ann")
    family(floors)
    floors.close()
    out = tmp_path / "out.tar"
    for nth in range(1, EXPORT_STEP * TRIES_MAX, EXPORT_STEP):
        args = ("export", "ann/child", "--family", "-o", str(out), "--data", str(tmp_path / "data"))
        if not killed_at(call, nth, *args):
            break
        if out.exists():  # whole, if it is there
            fresh = hub(tmp_path / f"fresh-{nth}", "ann")
            into(fresh, out)
            fresh.close()
            out.unlink()
    fresh = hub(tmp_path / "fresh", "ann")
    into(fresh, out)
    assert repo_names(fresh) == {"ann/base", "ann/child"}
    fresh.close()
