"""Attachments of comments: `POST /uploads` takes a picture, clip or sound and answers its address.

Only what is on the list of `formats.media_types`, and begins as it should, is taken; it is served
under that type and no other, in a sandbox, so that nothing a stranger sent is ever run here.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from headwater.catalog.actors import Actor
from headwater.errors import NotFound
from headwater.formats.media_types import ENDINGS, HEAD_BYTES, checked_media
from headwater.hub.bodies import declared_bytes
from headwater.hub.context import Hub
from headwater.hub.feed import feed
from headwater.hub.replies import base_url
from headwater.hub.resolve import stored_reply
from headwater.hub.routing import Route
from headwater.hub.stream import RANGES
from headwater.hub.templates import Params
from headwater.hub.threads import run
from headwater.store.blob import Blob
from headwater.store.plain import PlainWriter

# The public hub's limits.
PICTURE_BYTES_MAX = 10 * 10**6
VIDEO_BYTES_MAX = 50 * 10**6


class AttachmentRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/uploads", self.put, "any write", body=bytes),
            Route("GET", "/uploads/{name}", self.get, "anyone", head=True, answers=RANGES),
        ]

    async def put(self, request: Request, params: Params) -> Response:
        kind = request.headers.get("content-type", "")
        limit = VIDEO_BYTES_MAX if kind.lower().startswith("video/") else PICTURE_BYTES_MAX
        actor = await run(self._may, request)
        arriving = _Checked(kind, await run(self.hub.store.write_plain))
        await feed(request, arriving, limit)
        return await run(self._keep, request, actor, arriving)

    def _keep(self, request: Request, actor: Actor, arrived: _Checked) -> Response:
        content_type, ending, blob = arrived.finish()
        attachments = self.hub.catalog.attachments
        made = attachments.add(actor, blob.oid, blob.size_bytes, content_type)
        return PlainTextResponse(f"{base_url(request)}/uploads/{made.id}.{ending}")

    def _may(self, request: Request) -> Actor:
        """Refused before the body is read."""
        actor = self.hub.signed_in(request, "Sign in with a write token to attach files.")
        self.hub.catalog.attachments.check(actor, declared_bytes(request) or 0)
        return actor

    def get(self, request: Request, params: Params) -> Response:
        self.hub.actor(request)  # a hub that is for its users only says so
        id, dot, ending = params["name"].partition(".")
        found = self.hub.catalog.attachments.find(id)
        if not dot or ENDINGS.get(found.content_type) != ending:
            raise NotFound("no such attachment")

        headers = {
            "Content-Type": found.content_type,
            "ETag": f'"{found.oid}"',
            "Content-Disposition": f'inline; filename="{id}.{ending}"',
            "Cache-Control": "private, max-age=31536000, immutable",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
        return stored_reply(
            self.hub, request, found.oid, found.size_bytes, f"attachment {id}", headers
        )


class _Checked:
    """A writer that looks at the first bytes before it stores any."""

    def __init__(self, kind: str, writer: PlainWriter) -> None:
        self._kind = kind
        self._writer = writer
        self._what: tuple[str, str] | None = None

    def write(self, data: bytes) -> None:
        """BadRequest when the first block, which holds the head or is all, is of no media."""
        if self._what is None:
            self._what = checked_media(self._kind, data[:HEAD_BYTES])
        self._writer.write(data)

    def abort(self) -> None:
        self._writer.abort()

    def finish(self) -> tuple[str, str, Blob]:
        """(content type, ending of the name, the durable bytes); BadRequest when none came."""
        with self._writer:
            what = self._what or checked_media(self._kind, b"")
            return *what, self._writer.finish()
