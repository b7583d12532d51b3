"""Jobs keep their promises: once for an id, again after a failure, on after a crash, one in a lane.

Each test starts real processes (`job_script.py`) over one database and one folder, as the
workers of a hub are.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from headwater.errors import BadRequest, Refused
from headwater.jobs.jobs import Jobs, Kind
from live import clean_environ

SCRIPT = Path(__file__).with_name("job_script.py")
TAKEOVER_S = 60.0  # promised; in practice ten to fifteen


class Worker:
    def __init__(self, url: str, folder: Path, threads: int = 3) -> None:
        self.log = (folder / "log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), url, str(folder), str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
            env=clean_environ() | {"DBOS__CLOUD": "true"}, text=True,
        )  # fmt: skip

    def ready(self) -> Worker:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", Path(self.log.name).read_text()
        return self

    def ask(self, *words: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def enqueue(self, kind: str, id: str, lane: str | None = None, **arg: Any) -> None:
        self.ask("enqueue", kind, id, lane, arg)

    def until(self, id: str, *states: str, seconds: float = 30.0) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            found = self.ask("status", id)
            if found and found["state"] in states:
                return found
            assert time.monotonic() < deadline, f"{id} is {found}"
            time.sleep(0.1)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        with suppress(BrokenPipeError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        try:
            assert self.process.wait(30) == 0
        finally:
            self.process.kill()


@pytest.fixture
def start(jobs_url: str, tmp_path: Path) -> Iterator[Callable[..., list[Worker]]]:
    """start(2): two workers, ready."""
    made: list[Worker] = []

    def starter(count: int = 1, threads: int = 3) -> list[Worker]:
        new = [Worker(jobs_url, tmp_path, threads) for _ in range(count)]
        made.extend(new)
        return [worker.ready() for worker in new]

    yield starter
    for worker in made:
        if worker.process.poll() is None:
            worker.kill()
        for stream in (worker.process.stdin, worker.process.stdout, worker.log):
            with suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]


def ran(folder: Path, *words: str) -> list[list[str]]:
    """The lines of the journal that begin so."""
    path = folder / "ran"
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in lines if tuple(line[: len(words)]) == words]


def wait(ready: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_one_id_is_one_job(start: Callable[..., list[Worker]], tmp_path: Path) -> None:
    """Enqueued by two processes, again while it runs and again when it is done: it runs once."""
    one, two = start(2)
    for worker in (one, two, one):
        worker.enqueue("slow", "j", seconds=0.5)
    assert one.until("j", "done")["result"].endswith(" two")
    two.enqueue("slow", "j", seconds=0.5)
    two.enqueue("slow", "after", seconds=0)
    two.until("after", "done")
    assert len(ran(tmp_path, "begin", "j")) == 1
    assert two.ask("status", "no such job") is None
    one.end()
    two.end()
    assert not list((tmp_path / "lives").glob("*")), "an executor that ended left its lock"
    said = (tmp_path / "log").read_text()
    assert said == "", f"the engine talks: {said}"


def test_failures_are_tried_again_and_steps_are_not(
    start: Callable[..., list[Worker]], tmp_path: Path
) -> None:
    """As often as the kind allows; what a step gave stays."""
    (one,) = start()
    one.enqueue("flaky", "f", failures=3)
    one.enqueue("flaky", "g", failures=9)
    one.enqueue("broken", "b")
    assert one.until("f", "done") == {"state": "done", "attempts": 4, "result": 4, "error": None}
    assert "not yet" in one.until("g", "failed")["error"]
    failed = one.until("b", "failed")
    assert (failed["attempts"], failed["error"]) == (3, "ValueError: it cannot be done")
    assert len(ran(tmp_path, "once", "f")) == 1
    assert len(ran(tmp_path, "try", "g")) == 4


def test_a_lane_is_one_at_a_time_and_others_do_not_wait(
    start: Callable[..., list[Worker]], tmp_path: Path
) -> None:
    one, two = start(2)
    for number in range(3):
        one.enqueue("slow", f"l{number}", "lane", seconds=0.7)
        two.enqueue("slow", f"o{number}", f"other{number}", seconds=0.7)
    for number in range(3):
        one.until(f"l{number}", "done")
        one.until(f"o{number}", "done")

    def spans(prefix: str) -> list[tuple[float, float]]:
        return sorted(
            (float(ran(tmp_path, "begin", f"{prefix}{n}")[0][-1]),
             float(ran(tmp_path, "end", f"{prefix}{n}")[0][-1]))
            for n in range(3)
        )  # fmt: skip

    lane, others = spans("l"), spans("o")
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(lane)), "two of one lane at once"
    assert others[1][0] < others[0][1], "jobs of different lanes waited for each other"


@pytest.mark.crash
def test_another_process_goes_on_where_a_killed_one_was(
    start: Callable[..., list[Worker]], tmp_path: Path
) -> None:
    """SIGKILL in the middle of the second step: the first is not done again, a live job of the
    other process is left alone, and everything ends once."""
    one, two = start(2, threads=1)
    one.enqueue("slow", "x", seconds=4)
    one.enqueue("slow", "y", seconds=4)
    wait(lambda: ran(tmp_path, "begin", "x") and ran(tmp_path, "begin", "y"))
    victim_pid = str(one.process.pid)
    began = {line[1]: line[2] for line in ran(tmp_path, "begin")}
    lost, kept = sorted("xy", key=lambda id: began[id] != victim_pid)
    assert began[kept] != began[lost], "one process took both"
    one.kill()
    killed_at = time.time()
    two.until(kept, "done")
    two.until(lost, "done", seconds=TAKEOVER_S)
    again = ran(tmp_path, "begin", lost)[1]
    assert float(again[-1]) - killed_at < TAKEOVER_S
    assert len(ran(tmp_path, "first", lost)) == 1, "a finished step was done again"
    assert len(ran(tmp_path, "begin", lost)) == 2
    assert len(ran(tmp_path, "end", lost)) == 1
    assert len(ran(tmp_path, "begin", kept)) == 1, "a job of a living process was taken away"


@pytest.mark.crash
def test_all_killed_and_started_again(start: Callable[..., list[Worker]], tmp_path: Path) -> None:
    """Nothing that was enqueued is lost, and what was done is not done again."""
    one, two = start(2)
    for number in range(12):
        one.enqueue("slow", f"j{number}", seconds=0.4)
    wait(lambda: len(ran(tmp_path, "end")) >= 3)
    one.kill()
    two.kill()
    done = {line[1] for line in ran(tmp_path, "end")}
    (three,) = start()
    for number in range(12):
        three.until(f"j{number}", "done", seconds=TAKEOVER_S)
    ends = [line[1] for line in ran(tmp_path, "end")]
    assert set(ends) == {f"j{number}" for number in range(12)}
    # A job may end in the instant before its result is kept: at least once, and no more than that.
    assert all(ends.count(id) == 1 for id in set(ends) - done)


def test_a_start_that_failed_can_be_tried_again(tmp_path: Path) -> None:
    """The database may come later than the hub: nothing half made is in the way."""
    ended: list[str] = []
    jobs = Jobs(f"sqlite:///{tmp_path}/jobs.sqlite", tmp_path / "lives", threads=1)
    jobs.register(Kind("note", lambda run, arg: ended.append(run.id)))
    with pytest.raises(Refused):
        jobs.enqueue("note", "early", {})
    (tmp_path / "jobs.sqlite").mkdir()
    with pytest.raises(Exception, match="unable to open"):
        jobs.start()
    assert not list((tmp_path / "lives").glob("*"))
    (tmp_path / "jobs.sqlite").rmdir()
    jobs.start()
    try:
        for kind, id in (("none", "a"), ("note", ""), ("note", "a#2"), ("note", "x" * 300)):
            with pytest.raises(BadRequest):
                jobs.enqueue(kind, id, {})
        jobs.enqueue("note", "late", {}, delay_s=1.5)
        began = time.monotonic()
        wait(lambda: ended == ["late"])
        assert time.monotonic() - began >= 1
        with pytest.raises(Refused):
            jobs.register(Kind("other", lambda run, arg: None))
    finally:
        jobs.stop()
    for threads, attempts in ((0, 1), (1, 0), (1, 10**6)):
        with pytest.raises(Refused):
            Jobs("sqlite://", tmp_path, threads=threads).register(
                Kind("k", lambda run, arg: None, attempts_max=attempts)
            )


def test_delays_grow_and_scatter() -> None:
    kind = Kind("k", lambda run, arg: None, retry_s=10, retry_max_s=1000)
    for attempt, delay_s in ((1, 10), (2, 40), (3, 160), (4, 640), (5, 1000), (99, 1000)):
        drawn = [kind.delay_s(attempt) for _ in range(50)]
        assert 0.79 * delay_s < min(drawn) < max(drawn) < 1.21 * delay_s
        assert len(set(drawn)) > 1
