"""Uploads to the CAS, second half: shards, which turn uploaded chunks into files.

    POST /v1/shards   {"result": 1} when all is kept; the client waits, however long it takes
    POST /v2/shards   events, one JSON a line, while the files are being checked

Every byte of a file is decoded once for its SHA-256, about 1 GB a second, so a large upload takes
minutes: v2 says how far it is, and says something at least every few seconds. Its status is 200
before the outcome is known; a failure is the last event, whose message the client shows.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any
from weakref import WeakValueDictionary

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from headwater.catalog.actors import Actor
from headwater.errors import HeadwaterError, Unavailable
from headwater.formats.xet_shard import SHARD_BYTES_MAX
from headwater.hub.bodies import NDJSON, read_body
from headwater.hub.context import Hub
from headwater.hub.replies import RETRY_STATUSES, json_reply
from headwater.hub.routing import Params, Route
from headwater.hub.threads import run
from headwater.hub.xet_access import XetAccess
from headwater.hub.xet_intake import Intake
from headwater.hub.xet_slots import Slots

log = logging.getLogger(__name__)

SHARDS_AT_ONCE = 4  # being checked: each keeps one core busy
SHARDS_OF_ONE = 2  # of these, of one person: a large upload must not stop everybody else's
SHARDS_HELD_MAX = 16  # in memory, 64 MiB at most each, checked or waiting to be
EVENT_EVERY_S = 5.0  # clients give up after 300 s of silence; proxies in between after 60


class _Stopped(Exception):
    """Ends the work on a shard whose sender is gone."""


class _Progress:
    """How far the work on one shard is; written by its thread, read by the event loop."""

    def __init__(self) -> None:
        self.done = 0
        self.total = 0
        self.stop = threading.Event()

    def note(self, done: int, total: int) -> None:
        if self.stop.is_set():
            raise _Stopped
        self.done, self.total = done, total


class ShardRoutes:
    def __init__(self, hub: Hub, access: XetAccess) -> None:
        self.hub = hub
        self.access = access
        self.intake = Intake(hub)
        self._held = Slots(SHARDS_HELD_MAX, "shards")
        self._checked = asyncio.Semaphore(SHARDS_AT_ONCE)
        # By user; an entry lasts as long as a shard of theirs is held.
        self._of_one: WeakValueDictionary[int, asyncio.Semaphore] = WeakValueDictionary()
        self._running: set[asyncio.Task[None]] = set()  # the loop itself keeps no task alive

    def routes(self) -> list[Route]:
        at = "/cas/{generation}"
        rows = [Route("POST", at + "/v2/shards", self.v2, "write or propose", body=bytes)]
        for method in ("POST", "PUT"):  # hf_xet 1.1 puts when it wants an answer after the sync
            for path in ("/v1/shards", "/shards", "/v1/shard/{domain}/{shard}",
                         "/shard/{domain}/{shard}"):  # fmt: skip
                rows.append(Route(method, at + path, self.v1, "write or propose", body=bytes))
        return rows

    async def v1(self, request: Request, params: Params) -> Response:
        """Goes on when the client hangs up: with its next try it finds the work done."""
        await asyncio.shield(await self._begin(request, params, _Progress()))
        return json_reply({"result": 1})

    async def v2(self, request: Request, params: Params) -> Response:
        progress = _Progress()
        task = await self._begin(request, params, progress)
        return StreamingResponse(
            _events(task, progress),
            media_type=NDJSON[0],
            headers={"X-Accel-Buffering": "no"},  # a proxy that waits for more would lose the point
        )

    async def _begin(
        self, request: Request, params: Params, progress: _Progress
    ) -> asyncio.Task[None]:
        """Read the shard and start the work on it, which nothing but `progress` stops."""
        self.access.current(params)
        access = await run(self.access.writer, request)
        await self._held.take()
        try:
            data = await read_body(request, SHARD_BYTES_MAX)
        except BaseException:
            self._held.give_back()
            raise
        task = asyncio.create_task(self._work(access.actor, data, progress))
        self._running.add(task)
        task.add_done_callback(self._finished)
        return task

    async def _work(self, actor: Actor, data: bytes, progress: _Progress) -> None:
        assert actor.user_id is not None, "nobody uploads without an account"
        mine = self._of_one.setdefault(actor.user_id, asyncio.Semaphore(SHARDS_OF_ONE))
        try:
            async with mine, self._checked:
                await run(self.intake.take, actor, data, progress.note)
        finally:
            self._held.give_back()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that it is not reported as forgotten


async def _events(task: asyncio.Task[None], progress: _Progress) -> AsyncIterator[bytes]:
    try:
        while not (await asyncio.wait({task}, timeout=EVENT_EVERY_S))[0]:
            yield _line(type="validating", verified=progress.done, total=progress.total)
        yield _outcome(task)
    finally:
        progress.stop.set()


def _outcome(task: asyncio.Task[None]) -> bytes:
    error: BaseException | None
    error = Unavailable("The hub is stopping. Try again.") if task.cancelled() else task.exception()
    if error is None:
        return _line(type="result", result=1)
    if isinstance(error, HeadwaterError):
        message, retryable = error.message, error.status in RETRY_STATUSES
        if error.status >= 500:
            log.error("shard refused: %s: %s", type(error).__name__, error.message)
    else:
        message, retryable = "Something went wrong on the hub.", False
        log.error("shard failed", exc_info=error)
    return _line(type="error", message=message, retryable=retryable)


def _line(**event: Any) -> bytes:
    return msgspec.json.encode(event) + b"\n"
