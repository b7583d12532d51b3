"""DBOS, behind our own words: one workflow, one queue, one executor id a process.

An attempt at a job is a workflow of DBOS whose id is the job's; a later attempt is another one,
enqueued with a delay. Lanes are partitions of the queue, one job at a time each. DBOS knows only
how to recover the jobs of an executor that it is told is dead; `_look_after` tells it.

It is kept from the outside: no variable of the environment that it listens to reaches it, nothing
is exported, it logs nothing but errors and sends its values as JSON, never as pickles.
"""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.engine import make_url

for _name in [name for name in os.environ if name.startswith("DBOS")]:
    del os.environ[_name]  # read while it is imported: some make it call a service of its maker

from dbos import DBOS, Serializer, SetEnqueueOptions, SetWorkflowID  # noqa: E402
from dbos._recovery import recover_pending_workflows  # noqa: E402  (public only with a service)

from headwater.catalog.db import use_wal  # noqa: E402
from headwater.jobs.jobs import State  # noqa: E402
from headwater.jobs.liveness import lives_of  # noqa: E402

log = logging.getLogger(__name__)

NAME = "headwater"
SCHEMA = "headwater_jobs"  # on PostgreSQL
APP_VERSION = "1"  # one for all releases: what a release left, the next one finishes
POLL_S = 1.0  # a job begins so late at most; each poll is one indexed query
LOOK_S = 5.0  # an executor seen dead twice, this far apart, is dead
RUNNING_MAX = 10_000  # jobs looked at for their executors; some thousand processes have no more
CRASHES_MAX = 5  # a job that took the process down so often is not tried again
KEPT_DAYS = 7  # of jobs that ended: so long is their id remembered
FORGET_S = 3600.0
FORGET_ROWS = 1000

_STATES: dict[str, State] = {
    "ENQUEUED": "waiting",
    "DELAYED": "waiting",
    "PENDING": "running",
    "SUCCESS": "done",
}
_ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]

Attempt = Callable[[dict[str, Any], Callable[[str, Callable[[], Any]], Any]], dict[str, Any]]


class Json(Serializer):
    """Arguments and results as JSON: a database must not be able to run code here."""

    def serialize(self, data: Any) -> str:
        return msgspec.json.encode(data, enc_hook=_plain).decode()

    def deserialize(cls, serialized_data: str) -> Any:
        return msgspec.json.decode(serialized_data)

    def name(self) -> str:
        return "headwater_json"


def _plain(value: Any) -> Any:
    return f"{type(value).__name__}: {value}" if isinstance(value, Exception) else str(value)


@dataclass(frozen=True, slots=True)
class Found:
    state: State
    outcome: dict[str, Any]


class Engine:
    def __init__(self, url: str, folder: Path, threads: int, attempt: Attempt) -> None:
        self.executor = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(4)}"
        self._stopping = threading.Event()
        self._suspects: set[str] = set()
        self._lives = lives_of(url, folder)
        try:
            self._lives.hold(self.executor)  # before the first job, or another might take it
            self._dbos = _made(url, self.executor, threads)

            @DBOS.workflow(name="headwater.job", max_recovery_attempts=CRASHES_MAX)
            def job(arg: dict[str, Any]) -> dict[str, Any]:
                return attempt(arg, _keep)

            self._job = job
            DBOS.launch()
            DBOS.register_queue(
                NAME,
                worker_concurrency=threads,
                partition_concurrency=1,
                polling_interval_sec=POLL_S,
            )
        except BaseException:  # the next try must find nothing half made
            DBOS.destroy(destroy_registry=True)
            self._lives.close()
            raise
        self._keeper = threading.Thread(target=self._look_after, name="jobs", daemon=True)
        self._keeper.start()

    def enqueue(self, name: str, lane: str, delay_s: float, arg: dict[str, Any]) -> None:
        delay = delay_s if delay_s > 0 else None
        with (
            SetWorkflowID(name),
            SetEnqueueOptions(queue_partition_key=lane, delay_seconds=delay),
        ):
            DBOS.enqueue_workflow(NAME, self._job, arg)

    def find(self, name: str) -> Found | None:
        found = DBOS.list_workflows(workflow_ids=[name])
        if not found:
            return None
        outcome = found[0].output if isinstance(found[0].output, dict) else {}
        state = _STATES.get(found[0].status, "failed")
        if state == "failed":
            outcome = {"error": f"ended by the engine: {found[0].status}"}
        elif "again" in outcome:
            state = "waiting"
        elif "error" in outcome:
            state = "failed"
        return Found(state, outcome)

    def stop(self, wait_s: float) -> None:
        self._stopping.set()
        self._keeper.join(wait_s)
        running = self._dbos._active_workflows_set.activeList()
        DBOS.destroy(
            destroy_registry=True,
            workflow_completion_timeout_sec=int(wait_s) if running else 0,
        )
        self._lives.close()

    def _look_after(self) -> None:
        """Give the jobs of dead executors to the living; forget what ended long ago."""
        forget_at = time.monotonic() + LOOK_S
        while not self._stopping.wait(LOOK_S):
            try:
                self._lives.beat()
                self._take_over()
                if time.monotonic() >= forget_at:
                    forget_at = time.monotonic() + FORGET_S
                    _forget()
            except Exception as error:  # the database may be away; it comes back
                log.warning("jobs: %s: %s", type(error).__name__, error)

    def _take_over(self) -> None:
        running = DBOS.list_workflows(
            status="PENDING", limit=RUNNING_MAX, load_input=False, load_output=False
        )
        others = {one.executor_id for one in running if one.executor_id} - {self.executor}
        dead = set()
        for other in others:
            with self._lives.gone(other) as gone:
                if gone:
                    dead.add(other)
        for other in dead & self._suspects:
            log.info("jobs of %s, which ended, are taken over", other)
            recover_pending_workflows(self._dbos, [other])
        self._suspects = dead


def _made(url: str, executor: str, threads: int) -> DBOS:
    _quiet()
    made = DBOS(config={
        "name": NAME,
        "system_database_url": _prepared(url),
        "dbos_system_schema": SCHEMA,
        "executor_id": executor,
        "application_version": APP_VERSION,
        "serializer": Json(),
        "enable_otlp": False,
        "use_listen_notify": False,
        "log_level": "ERROR",
        "max_executor_threads": threads + 4,  # some for its own errands
        "notification_listener_polling_interval_sec": 0.5,  # stopping waits for it
        "scheduler_polling_interval_sec": 3600.0,  # no job runs by its clock
    })  # fmt: skip
    _quiet()
    return made


def _keep(name: str, function: Callable[[], Any]) -> Any:
    return DBOS.run_step({"name": name}, function)


def _forget() -> None:
    before = (datetime.now(UTC) - timedelta(days=KEPT_DAYS)).isoformat()
    old = DBOS.list_workflows(
        status=_ENDED, end_time=before, limit=FORGET_ROWS, load_input=False, load_output=False
    )
    if old:
        DBOS.delete_workflows([one.workflow_id for one in old])


def _prepared(url: str) -> str:
    """The URL as the engine takes it; a file of SQLite gets its journal mode, which stays."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(str(parsed.database), timeout=30)) as conn:
        use_wal(conn)
    return url


def _quiet() -> None:
    """Its errors go where ours go; the rest nowhere."""
    theirs = logging.getLogger("dbos")
    for handler in list(theirs.handlers):
        theirs.removeHandler(handler)
    theirs.setLevel(logging.ERROR)
    theirs.propagate = True
