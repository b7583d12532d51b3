"""Jobs: durable, run at least once, one at a time in each lane.

    jobs = Jobs(url, folder, threads=4)
    jobs.register(Kind("mirror.pull", pull, attempts_max=5))
    jobs.start()
    jobs.enqueue("mirror.pull", "pull-17", {"repo": 17}, lane="repo-17")
    jobs.status("pull-17")

A handler takes a `Run` and the argument (JSON values) and gives back a JSON value. What it does in
`run.step(name, function, …)` is done once: after a crash, or in a later attempt, the step gives
the result that was kept. A handler that raises is tried again, after a delay that grows or the
one named by `Again`; jobs of one lane never run at the same time, in any process.

The engine below is DBOS (docs/design/003-jobs.md); nothing of it shows. Jobs of a process that
died are taken over by another within some ten seconds (`liveness`).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from headwater.errors import BadRequest, HeadwaterError, Refused

if TYPE_CHECKING:
    from headwater.jobs.engine import Engine

log = logging.getLogger(__name__)

ATTEMPTS_MAX = 100  # of any kind; an attempt is a row
ID_CHARS_MAX = 200
ERROR_CHARS_MAX = 500
RETRY_FACTOR = 4.0  # each delay is so much longer than the one before
JITTER = 0.2  # of a delay, either way: many that failed together do not return together

P = ParamSpec("P")
T = TypeVar("T")
State = Literal["waiting", "running", "done", "failed"]


class Again(Exception):
    """Raised by a handler: not now, but in `after_s` seconds (None: as the kind says)."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class Status:
    state: State
    attempts: int  # begun or waiting, the first included
    result: Any = None
    error: str | None = None


@dataclass(slots=True)
class Run:
    """One attempt at a job, as its handler sees it."""

    id: str
    attempt: int  # from 1
    _keep: Callable[[str, Callable[[], Any]], Any]
    _kept: dict[str, Any] = field(default_factory=dict)

    def step(self, name: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it, and keep what it gives (a JSON value) before going on; or give what was kept.

        A name is used once in a job.
        """
        if name not in self._kept:
            self._kept[name] = self._keep(name, lambda: function(*args, **kwargs))
        kept: T = self._kept[name]
        return kept

    @property
    def kept(self) -> dict[str, Any]:
        return dict(self._kept)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job: its name is kept in the database, so it is for good."""

    name: str
    handler: Callable[[Run, dict[str, Any]], Any]
    attempts_max: int = 5
    retry_s: float = 10.0  # before the second attempt
    retry_max_s: float = 3600.0

    def delay_s(self, attempt: int) -> float:
        """How long to wait after failed attempt number `attempt`."""
        delay = min(self.retry_s * RETRY_FACTOR ** min(attempt - 1, 20), self.retry_max_s)
        return delay * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  (no secret)


class Jobs:
    """The jobs of one process. There is one of these in a process at a time."""

    def __init__(self, url: str, folder: Path, *, threads: int) -> None:
        if threads < 1:
            raise Refused("a process that takes jobs needs a thread for them")
        self.url = url
        self.folder = folder
        self.threads = threads
        self._kinds: dict[str, Kind] = {}
        self._engine: Engine | None = None

    def register(self, kind: Kind) -> None:
        """Make a kind known. All of them, in every process, before `start`."""
        if self._engine is not None or kind.name in self._kinds:
            raise Refused(f"job kind {kind.name} comes twice, or too late")
        if not 1 <= kind.attempts_max <= ATTEMPTS_MAX:
            raise Refused(f"job kind {kind.name}: 1 to {ATTEMPTS_MAX} attempts")
        self._kinds[kind.name] = kind

    def start(self) -> None:
        """Begin to take jobs. Blocks for a second or so: importing the engine is most of it."""
        from headwater.jobs.engine import Engine  # late: a second that a command need not pay

        self._engine = Engine(self.url, self.folder, self.threads, self._attempt)

    def stop(self, wait_s: float = 5.0) -> None:
        """Take no more, give those that run `wait_s` to end; the rest is done by another."""
        if self._engine is not None:
            self._engine.stop(wait_s)
            self._engine = None

    def enqueue(
        self,
        kind: str,
        id: str,
        arg: dict[str, Any],
        *,
        lane: str | None = None,
        delay_s: float = 0.0,
    ) -> None:
        """Durable when it returns. The same `id` again, however it ended, is no second job."""
        if kind not in self._kinds:
            raise BadRequest(f"no job kind {kind}")
        if not 0 < len(id) <= ID_CHARS_MAX or "#" in id:
            raise BadRequest(f"a job id has 1 to {ID_CHARS_MAX} characters and no #")
        first = {"kind": kind, "id": id, "lane": lane or id, "attempt": 1, "arg": arg, "kept": {}}
        self._running().enqueue(_name(id, 1), lane or id, delay_s, first)

    def status(self, id: str) -> Status | None:
        """How the job stands; None when there is none, or it ended long ago."""
        engine, last = self._running(), None
        for attempt in range(1, ATTEMPTS_MAX + 1):
            found = engine.find(_name(id, attempt))
            if found is None:
                break
            last = Status(found.state, attempt, found.outcome.get("ok"), found.outcome.get("error"))
            if "again" not in found.outcome:
                break
        return last

    def _running(self) -> Engine:
        if self._engine is None:
            raise Refused("the jobs of this process have not been started")
        return self._engine

    def _attempt(self, job: dict[str, Any], keep: Callable[..., Any]) -> dict[str, Any]:
        """Run one attempt: {"ok": result}, {"error": why}, or {"again": why} when it will be
        tried once more."""
        kind = self._kinds.get(job["kind"])
        if kind is None:
            return {"error": f"no job kind {job['kind']} in this release"}
        run = Run(job["id"], job["attempt"], keep, dict(job["kept"]))
        try:
            return {"ok": kind.handler(run, job["arg"])}
        except Exception as error:
            why = f"{type(error).__name__}: {error}"[:ERROR_CHARS_MAX]
            if not isinstance(error, (Again, HeadwaterError)):
                log.exception("job %s, attempt %s", job["id"], job["attempt"])
            if job["attempt"] >= kind.attempts_max:
                return {"error": why}
            named = error.after_s if isinstance(error, Again) else None
            delay_s = kind.delay_s(job["attempt"]) if named is None else named
            after = {**job, "attempt": job["attempt"] + 1, "kept": run.kept}
            self._running().enqueue(
                _name(job["id"], job["attempt"] + 1), job["lane"], delay_s, after
            )
            return {"again": why}


def _name(id: str, attempt: int) -> str:
    return id if attempt == 1 else f"{id}#{attempt}"
