"""All background work of one process, put together.

work = Work(settings, catalog, store)
work.start()    returns at once: the engine of jobs loads in a thread of its own
work.stop()
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from headwater.catalog.catalog import Catalog
from headwater.jobs.jobs import Jobs
from headwater.outbound.target import Outbound
from headwater.settings import Settings
from headwater.store.store import Store
from headwater.work.lineage import LineageWork
from headwater.work.packing import PackWork
from headwater.work.webhooks import WebhookWork

log = logging.getLogger(__name__)

TICK_S = 1.0  # an event is told so late at most, and a second more until its job begins
FORGET_S = 3600.0
START_AFTER_S = (
    1.0  # importing the engine takes a second of CPU, which the first requests need more
)
START_AGAIN_S = 10.0  # when the database was away at the start


class Work:
    def __init__(self, settings: Settings, catalog: Catalog, store: Store) -> None:
        self.catalog = catalog
        self.jobs = Jobs(settings.jobs_url, settings.data / "jobs", threads=settings.job_threads)
        outbound = Outbound.parse(settings.outbound_allow)
        self.webhooks = WebhookWork(settings, catalog, self.jobs, outbound)
        self.packing = PackWork(settings, catalog, store, self.jobs)
        self.lineage = LineageWork(settings, catalog, store, self.jobs)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="work", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take up nothing more; blocks until what runs has ended, or some seconds."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self.jobs.stop()

    def _run(self) -> None:
        if self._stopping.wait(START_AFTER_S):
            return
        while not self._tried(self.jobs.start):
            if self._stopping.wait(START_AGAIN_S):
                return
        forget_at = 0.0
        while not self._stopping.wait(TICK_S):
            self._tried(self.webhooks.tick)
            self._tried(self.lineage.tick)
            self._tried(self.packing.tick)
            if time.monotonic() >= forget_at:
                forget_at = time.monotonic() + FORGET_S
                self._tried(self.catalog.outbox.forget)

    def _tried(self, part: Callable[[], object]) -> bool:
        try:
            part()
        except Exception as error:  # background work must outlive any one failure
            log.warning("background work: %s: %s", type(error).__name__, error)
            return False
        return True
