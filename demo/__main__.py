"""`python -m demo`: run the demo, or stop the hub that it left running.

    python -m demo [--folder DIR] [--port N] [--fresh]
    python -m demo --stop [--folder DIR]

Exit 0, or 1 with one message that says what to do.
"""

from __future__ import annotations

import argparse
import fcntl
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo import ROOT, DemoFailed, hub, say, story

PORT = 8765  # the hub's own default


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description="Real weights, there and back.")
    parser.add_argument("--folder", type=Path, default=ROOT / "demo-data", help="where all lies")
    parser.add_argument("--port", type=int, default=PORT, help="another is taken if it is in use")
    parser.add_argument("--fresh", action="store_true", help="begin with an empty hub")
    parser.add_argument("--stop", action="store_true", help="stop the demo's hub, nothing else")
    chosen = parser.parse_args()
    folder: Path = chosen.folder.expanduser().resolve()
    try:
        if chosen.stop:
            say.line("stopped" if hub.stop(folder) else "no demo hub is running")
            return 0
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if chosen.fresh:
                hub.stop(folder)
                for name in ("hub", "people"):  # the client's notes are about the hub of before
                    shutil.rmtree(folder / name, ignore_errors=True)
            story.tell(folder, chosen.port)
    except (DemoFailed, KeyboardInterrupt) as failure:
        print(f"\ndemo: {str(failure) or 'interrupted'}", file=sys.stderr)
        if hub.running(folder) is not None:
            print("demo: its hub still runs; `make stop-demo` ends it", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two demos in one folder would pull each other's files away."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoFailed("another demo runs in this folder; wait for its end") from None
        yield


if __name__ == "__main__":
    sys.exit(main())
