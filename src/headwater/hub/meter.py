"""The meter: what the hub does, counted in the words of Prometheus. hub/metrics.py shows it.

    with metered(scope) as seen: …    one request: counted, timed, its bytes summed
    exposition()                      all numbers as text
    share(folder)                     before worker processes are started

Labels hold the template of a route, a known method and the class of a status: never a name, an
address or anything else that a user wrote. With several workers each keeps its numbers in a file of
a folder that `headwater serve` names (`share`), and whichever worker is asked sums them all.
"""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from starlette.types import Scope

__all__ = ["CONTENT_TYPE_LATEST", "LENT_BYTES", "ROUTE", "Seen", "exposition", "metered", "share"]

ROUTE = "headwater.route"  # keys of the scope: the template that was found,
LENT_BYTES = "headwater.lent_bytes"  # and what a reply wrote to the socket itself

SHARE_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # the library reads it when it is imported
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_ROUTE = "none"  # an address that is not served
# From a cached answer to a large commit; downloads of gigabytes end in the last.
BUCKETS_S = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
USAGE_EVERY_S = 1.0
PAGE_BYTES = resource.getpagesize()

_registry = CollectorRegistry()
_LABELS = ("route", "method", "status")
_requests = Counter(
    "headwater_http_requests", "Requests answered.", _LABELS, registry=_registry
)  # fmt: skip
_sent = Counter(
    "headwater_http_sent_bytes", "Bytes of bodies sent.", _LABELS, registry=_registry
)  # fmt: skip
_latency = Histogram(
    "headwater_http_request_seconds", "From the head of a request to the end of its answer.",
    ("route", "method"), buckets=BUCKETS_S, registry=_registry,
)  # fmt: skip
_running = Gauge(
    "headwater_http_requests_running", "Requests that are being answered.",
    multiprocess_mode="livesum", registry=_registry,
)  # fmt: skip
_resident = Gauge(
    "headwater_resident_memory_bytes", "Memory of all workers; shared pages count in each.",
    multiprocess_mode="livesum", registry=_registry,
)  # fmt: skip
_cpu = Gauge(
    "headwater_cpu_seconds", "Processor time of all running workers.",
    multiprocess_mode="livesum", registry=_registry,
)  # fmt: skip
_workers = Gauge(
    "headwater_workers", "Server processes.", multiprocess_mode="livesum", registry=_registry
)  # fmt: skip


class Seen:
    """What is known of a request while it is answered."""

    __slots__ = ("sent_bytes", "status")

    def __init__(self) -> None:
        self.status = 0  # until an answer begins; the client left before
        self.sent_bytes = 0


@lru_cache(maxsize=4096)
def _children(route: str, method: str, status: str) -> tuple[Counter, Counter, Histogram]:
    labels = (route, method, status)
    return _requests.labels(*labels), _sent.labels(*labels), _latency.labels(route, method)


@contextmanager
def metered(scope: Scope) -> Iterator[Seen]:
    """Count one request, however it ends."""
    seen, began_s = Seen(), time.perf_counter()
    _running.inc()
    try:
        yield seen
    finally:
        _running.dec()
        method = scope["method"] if scope["method"] in METHODS else "other"
        status = f"{seen.status // 100}xx" if seen.status else "gone"
        requests, sent, latency = _children(scope.get(ROUTE, NO_ROUTE), method, status)
        requests.inc()
        sent.inc(seen.sent_bytes + scope.get(LENT_BYTES, 0))
        latency.observe(time.perf_counter() - began_s)
        _usage.note()


class _Usage:
    """Memory and processor time of this process, looked at once a second at most."""

    def __init__(self) -> None:
        self._looked_s = 0.0

    def note(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s < USAGE_EVERY_S:
            return
        self._looked_s = now_s
        used = resource.getrusage(resource.RUSAGE_SELF)
        _cpu.set(used.ru_utime + used.ru_stime)
        _workers.set(1)
        try:
            _resident.set(int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES)
        except OSError:
            _resident.set(used.ru_maxrss * 1024)  # no /proc: the most there ever was


_usage = _Usage()


def share(folder: Path) -> None:
    """Let worker processes that are started from now on keep their numbers in this folder. What
    an earlier run left there is dropped."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ[SHARE_VARIABLE] = str(folder)


def exposition() -> bytes:
    """All numbers as text: of this process, or of all workers when they share a folder."""
    _usage.note()
    folder = os.environ.get(SHARE_VARIABLE)
    if folder is None:
        return generate_latest(_registry)
    for pid in {path.stem.rpartition("_")[2] for path in Path(folder).glob("gauge_live*.db")}:
        if not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            multiprocess.mark_process_dead(int(pid), folder)  # type: ignore[no-untyped-call]
    summed = CollectorRegistry()
    multiprocess.MultiProcessCollector(summed, folder)  # type: ignore[no-untyped-call]
    return generate_latest(summed)
