"""A process that takes jobs: `python job_script.py URL FOLDER THREADS`, until stdin closes.

The kinds append a line to FOLDER/ran for each thing they do: what a SIGKILL cannot take back.
`enqueue KIND ID LANE ARG` and `status ID` are read from stdin and answered on stdout.
"""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headwater.jobs.jobs import Again, Jobs, Kind, Run

FOLDER = Path(sys.argv[2])


def note(*words: object) -> None:
    with (FOLDER / "ran").open("a") as file:
        file.write(" ".join(map(str, words)) + f" {os.getpid()} {time.time()}\n")


def slow(run: Run, arg: dict[str, Any]) -> str:
    """Two steps; the second takes as long as `arg` says."""

    def first() -> float:
        note("first", run.id)
        return time.time()

    def second() -> str:
        note("begin", run.id)
        time.sleep(arg["seconds"])
        note("end", run.id)
        return "two"

    at = run.step("first", first)
    return f"{at} {run.step('second', second)}"


def flaky(run: Run, arg: dict[str, Any]) -> int:
    """Fails as often as `arg` says."""
    run.step("once", lambda: note("once", run.id))
    note("try", run.id, run.attempt)
    if run.attempt <= arg["failures"]:
        raise Again("not yet", 0.1)
    return run.attempt


def broken(run: Run, arg: dict[str, Any]) -> None:
    note("try", run.id, run.attempt)
    raise ValueError("it cannot be done")


def main() -> None:
    jobs = Jobs(sys.argv[1], FOLDER / "lives", threads=int(sys.argv[3]))
    jobs.register(Kind("slow", slow))
    jobs.register(Kind("flaky", flaky, attempts_max=4))
    jobs.register(Kind("broken", broken, attempts_max=3, retry_s=0.1))
    jobs.start()
    print("ready", flush=True)
    for line in sys.stdin:
        word, *rest = json.loads(line)
        if word == "enqueue":
            kind, id, lane, arg = rest
            jobs.enqueue(kind, id, arg, lane=lane)
            print("null", flush=True)
        else:
            found = jobs.status(rest[0])
            print(json.dumps(found and asdict(found)), flush=True)
    jobs.stop()


if __name__ == "__main__":
    main()
