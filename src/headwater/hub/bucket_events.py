"""Following a bucket: `GET /api/buckets/{id}/events`, server-sent events of what changes in it.

    ready      {"cursor"}           what was missed has been told; from here on it is live
    changes    {"cursor", "changes": [{"path", "op", "size", "xetHash", "uploadedAt", "mtime"}]}
    reset      {"reason"}           the cursor is too old: list the bucket anew
    reconnect  {"cursor"}           the stream ends here on purpose; come again

`?cursor=` goes on behind a batch, `?since=` behind a moment. The journal is a table, looked at once
a second, so it does not matter which worker process took the change. The right to read is looked
up again before anything is told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from headwater.catalog.buckets import BucketChange
from headwater.catalog.clock import iso
from headwater.catalog.models import Repo
from headwater.errors import BadRequest, HeadwaterError, Unavailable
from headwater.hub.connection import STOPPING
from headwater.hub.context import Hub
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.hub.threads import run
from headwater.hub.where import bucket_name
from headwater.names import shown

STREAMS_MAX = 200  # of one worker process: each costs a query a second
LOOK_EVERY_S = 1.0
PING_EVERY_S = 25.0  # clients give up after 90 s of silence, proxies after 60
STREAM_S_MAX = 600.0  # then the client comes again, maybe to another worker
CURSOR_DIGITS_MAX = 18


class BucketEventRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._streams = 0

    def routes(self) -> list[Route]:
        at = "/api/buckets/{namespace}/{name}/events"
        return [Route("GET", at, self.follow, "bytes", query=("cursor", "since"))]

    async def follow(self, request: Request, params: Params) -> Response:
        bucket, after = await run(self._begin, request, params)
        if self._streams >= STREAMS_MAX:
            raise Unavailable("Too many clients follow buckets of this hub. Try again later.")
        return StreamingResponse(
            self._stream(request, params, bucket, after),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    def _begin(self, request: Request, params: Params) -> tuple[Repo, int | None]:
        """The bucket, and the change behind which to begin; None when that is forgotten."""
        bucket = self._bucket(request, params)
        buckets = self.hub.catalog.buckets
        cursor, since = (request.query_params.get(name) for name in ("cursor", "since"))
        if cursor:
            if not cursor.isascii() or not cursor.isdigit() or len(cursor) > CURSOR_DIGITS_MAX:
                raise BadRequest("this cursor is not one of ours; follow without one")
            known = buckets.changes(bucket, int(cursor)) is not None
            return bucket, int(cursor) if known else None
        if since:
            return bucket, buckets.change_before(bucket, _moment_ms(since))
        return bucket, buckets.last_change(bucket)

    def _bucket(self, request: Request, params: Params) -> Repo:
        actor = self.hub.actor(request)
        return self.hub.catalog.repos.find(actor, "bucket", bucket_name(actor, params), "bytes")

    async def _stream(
        self, request: Request, params: Params, bucket: Repo, after: int | None
    ) -> AsyncIterator[bytes]:
        self._streams += 1
        try:
            if after is None:
                yield _event("reset", reason="the changes since then are no longer known")
                return
            async for piece in self._follow(request, params, bucket, after):
                yield piece
        finally:
            self._streams -= 1

    async def _follow(
        self, request: Request, params: Params, bucket: Repo, after: int
    ) -> AsyncIterator[bytes]:
        ends, pings, ready = time.monotonic() + STREAM_S_MAX, time.monotonic(), False
        while not request.scope.get(STOPPING) and time.monotonic() < ends:
            found = await run(self.hub.catalog.buckets.changes, bucket, after)
            if found is None:
                yield _event("reset", reason="the changes since then are no longer known")
                return
            if found:
                try:
                    await run(self._bucket, request, params)
                except HeadwaterError:
                    return  # no longer theirs to read: not a word more
                after = found[-1].id
                yield _event("changes", cursor=str(after), changes=[_change(one) for one in found])
                continue
            if not ready:
                ready = True
                yield _event("ready", cursor=str(after))
            if time.monotonic() - pings > PING_EVERY_S:
                pings = time.monotonic()
                yield b": ping\n\n"
            await asyncio.sleep(LOOK_EVERY_S)
        yield _event("reconnect", cursor=str(after))


def _moment_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise BadRequest(f"since {shown(text)} is not a time like 2026-01-31T12:00:00Z") from None


def _change(change: BucketChange) -> dict[str, Any]:
    body: dict[str, Any] = {"path": change.path, "op": change.op}
    if change.op != "delete":
        body |= {
            "size": change.size_bytes,
            "xetHash": change.xet_hash,
            "uploadedAt": iso(change.at_ms),
            "mtime": iso(change.mtime_ms or 0),
        }
    return body


def _event(name: str, **data: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))
