"""Everything is built here, ground first. The page to read first.

    settings  what the operator chose
    store     immutable bytes, one folder
    catalog   mutable names, one database
    work      what happens when nobody waits: jobs, webhooks, packing
    hub       the Hugging Face protocol over both
    app       the ASGI application that uvicorn serves, with its housekeeping

The command line opens the same floors with `build`, and stops below HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread
from starlette.types import Receive, Scope, Send

from headwater import settings as settings_module
from headwater.catalog.catalog import Catalog
from headwater.catalog.counting import FLUSH_S
from headwater.errors import HeadwaterError, Refused
from headwater.hub.context import Hub
from headwater.hub.heap import keep_freed
from headwater.hub.routes import table
from headwater.hub.routing import Router
from headwater.hub.signing import Signer
from headwater.settings import Settings
from headwater.store.store import Store
from headwater.work.work import Work

log = logging.getLogger(__name__)

SECRET_BYTES = 32
HOUSEKEEPING_S = 3600.0
LABEL_S = 2.0  # how soon after a push its files are looked at
LABEL_SWEEP_S = 600.0  # how often what was missed is looked for
RECARD_S = 0.5  # of every LABEL_S, while an upgrade has cards read again
TMP_AGE_S = 24 * 3600.0  # what an interrupted upload left behind is dropped after a day


@dataclass(frozen=True, slots=True)
class Floors:
    """Everything below HTTP: what the command line works with, too."""

    settings: Settings
    store: Store
    catalog: Catalog
    secret: bytes

    def close(self) -> None:
        self.catalog.close()


def build(settings: Settings) -> Floors:
    """Open, or make, the data folder: store, then catalog."""
    settings.data.mkdir(parents=True, exist_ok=True)
    secret = _secret(settings.data / "secret")
    store = Store.open(
        settings.data / "store", settings.store_url, hot_bytes_max=settings.hot_bytes_max
    )
    catalog = Catalog.open(settings.catalog_url, upload_ttl_s=settings.upload_ttl_s, secret=secret)
    return Floors(settings, store, catalog, secret)


def _secret(path: Path) -> bytes:
    """What signs addresses and tokens: made once, readable by the owner only."""
    if not path.exists():
        _make_secret(path)
    secret = path.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise Refused(f"{path.name} in the data folder is damaged; restore it, or delete it to "
                      "make a new one (addresses already given out then stop working)")  # fmt: skip
    return secret


def _make_secret(path: Path) -> None:
    """Several processes may start at once: exactly one makes the file, whole."""
    aside = path.with_name(f".secret-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(SECRET_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    finally:
        os.unlink(aside)


class App:
    """The ASGI application of one worker process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._router: Router | None = None
        self._floors: Floors | None = None
        self._hub: Hub | None = None
        self._work: Work | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            assert self._router is not None, "requests come after start-up"
            await self._router(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        try:
            self._start()
        except HeadwaterError as error:
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        if self._hub is not None:  # first: a round in the background would be waited for
            await anyio.to_thread.run_sync(self._hub.labelling.close)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._work is not None:
            await anyio.to_thread.run_sync(self._work.stop)
        if self._floors is not None:
            await anyio.to_thread.run_sync(self._floors.close)
        await send({"type": "lifespan.shutdown.complete"})

    def _start(self) -> None:
        self._floors = floors = build(self.settings)
        hub = Hub(self.settings, floors.catalog, floors.store, Signer(floors.secret))
        self._hub = hub
        self._router = Router(table(hub), self.settings)
        if self.settings.job_threads:
            self._work = Work(self.settings, floors.catalog, floors.store)
            self._work.start()
        self._tasks = [
            asyncio.create_task(_every(FLUSH_S, floors.catalog.counting.flush)),
            asyncio.create_task(_every(HOUSEKEEPING_S, lambda: _housekeeping(floors))),
            asyncio.create_task(_every(LABEL_S, hub.labelling.work)),
            asyncio.create_task(_every(LABEL_SWEEP_S, hub.labelling.sweep)),
            asyncio.create_task(_every(LABEL_S, lambda: floors.catalog.recards.all(RECARD_S))),
        ]


async def _every(period_s: float, work: Callable[[], object]) -> None:
    """Do blocking `work` again and again; a failure is logged and tried again next time."""
    while True:
        try:
            await anyio.to_thread.run_sync(work)
        except Exception as error:  # housekeeping must outlive any one failure
            log.warning("housekeeping: %s: %s", type(error).__name__, error)
        await asyncio.sleep(period_s)


def _housekeeping(floors: Floors) -> None:
    floors.store.sweep_tmp(TMP_AGE_S)
    floors.catalog.blobs.forget_expired()
    floors.catalog.counting.roll()
    floors.catalog.trending.refresh()


def create_app() -> App:
    """What uvicorn's worker processes call: settings come through the environment."""
    keep_freed()
    return App(settings_module.load())
