"""git over HTTP, the smart protocol: clone, fetch and push.

    GET  …/info/refs?service=git-upload-pack | git-receive-pack    what there is
    POST …/git-upload-pack                                          hub.git_upload_pack
    POST …/git-receive-pack                                         hub.git_receive_pack

Every address is there with and without `.git`. Failures before the protocol begins are plain text,
because git shows that to its user; a 401 names the Basic scheme, because git offers a token only
then. To push, and to read what is not public, the token is the password, under any user name.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import wraps
from typing import Any, Literal

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from headwater.catalog.git_quarantine import Limits
from headwater.errors import BadRequest, Forbidden, HeadwaterError, TooLarge
from headwater.hub.bodies import EncodedBody, read_body
from headwater.hub.challenge import CHALLENGE
from headwater.hub.context import Hub
from headwater.hub.feed import feed
from headwater.hub.git_receive_pack import Session, receive, receive_advertisement
from headwater.hub.git_upload_pack import View, advertisement, answer
from headwater.hub.replies import error_headers
from headwater.hub.routing import Endpoint, Route
from headwater.hub.spool import Spool
from headwater.hub.templates import Params
from headwater.hub.threads import run
from headwater.hub.where import repo_of
from headwater.names import shown

REQUEST_BYTES_MAX = 16 * 2**20  # a negotiation: 100,000 wants and as many haves
PUSHES_MAX = 4  # unpacked at one moment in one process: each holds some tens of megabytes
_NO_CACHE = {"Cache-Control": "no-cache, max-age=0, must-revalidate", "Pragma": "no-cache"}
_VERSION = re.compile(r"version=([0-9])\Z")
_SERVICES: dict[str, Literal["bytes", "write"]] = {
    "git-upload-pack": "bytes",
    "git-receive-pack": "write",
}


class UnsupportedType(BadRequest):
    """The body is not of the type that git sends here."""

    status = 415
    code = "UnsupportedMediaType"


FETCH = ("application/x-git-upload-pack-request",)
PUSH = ("application/x-git-receive-pack-request",)


def asking(endpoint: Callable[[Request, Params], Awaitable[Response]]) -> Endpoint:
    """An endpoint whose failures git shows: plain text, and a 401 that asks for a token."""

    @wraps(endpoint)
    async def asked(request: Request, params: Params) -> Response:
        try:
            return await endpoint(request, params)
        except HeadwaterError as error:
            if error.status >= 500:
                raise  # logged, and said as everywhere
            headers = error_headers(error)
            if error.status == 401:
                headers["WWW-Authenticate"] = CHALLENGE
            text = error.message.encode("utf-8", "backslashreplace") + b"\n"
            return Response(text, error.status, headers, media_type="text/plain")

    return asked


class GitRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.folder = hub.settings.data / "tmp"
        self.limits = Limits(hub.settings.regular_bytes_max, hub.settings.commit_bytes_max)

    def routes(self) -> list[Route]:
        rows = []
        for git in (".git", ""):
            at = "/{prefix}{id}" + git
            rows += [
                Route("GET", f"{at}/info/refs", asking(self.refs), "bytes or write",
                      query=("service",)),
                Route("POST", f"{at}/git-upload-pack", asking(self.upload_pack), "bytes",
                      body=bytes, media=FETCH),
                Route("POST", f"{at}/git-receive-pack", asking(self.receive_pack), "write",
                      body=bytes, media=PUSH),
            ]  # fmt: skip
        return rows

    async def refs(self, request: Request, params: Params) -> Response:
        service = request.query_params.get("service", "")
        if service not in _SERVICES:
            raise Forbidden("Only git's smart HTTP protocol is served here; use git 1.6.6 or later")
        body = await run(self._refs, request, params, service)
        return Response(body, media_type=f"application/x-{service}-advertisement",
                        headers=_NO_CACHE)  # fmt: skip

    def _refs(self, request: Request, params: Params, service: str) -> bytes:
        view = self._view(request, params, service)
        version = _version(request)
        if service == "git-upload-pack":
            return advertisement(view, version)
        return receive_advertisement(view, min(version, 1))

    def _view(self, request: Request, params: Params, service: str) -> View:
        actor = self.hub.actor(request)
        repo = repo_of(self.hub, actor, params, _SERVICES[service])
        return View(self.hub.catalog, repo, self.folder)

    async def upload_pack(self, request: Request, params: Params) -> Response:
        _demand_type(request, "git-upload-pack")
        view = await run(self._view, request, params, "git-upload-pack")
        body = await _inflated(request, REQUEST_BYTES_MAX)
        pieces = await run(answer, view, _version(request), body)
        return _streamed(pieces, "git-upload-pack")

    async def receive_pack(self, request: Request, params: Params) -> Response:
        _demand_type(request, "git-receive-pack")
        view = await run(self._view, request, params, "git-receive-pack")
        spool = await run(Spool, self.folder)
        try:
            await feed(request, spool, self.hub.settings.commit_bytes_max)
            # Looked up again when the refs move: the body may have taken minutes.
            session = Session(view, lambda: self.hub.actor(request), self.limits)
            body = await anyio.to_thread.run_sync(receive, session, spool, limiter=_pushes())
        finally:
            await run(spool.abort)
        return Response(body, media_type="application/x-git-receive-pack-result",
                        headers=_NO_CACHE)  # fmt: skip


_limiter: anyio.CapacityLimiter | None = None


def _pushes() -> anyio.CapacityLimiter:
    """The process's one limiter of pushes, made on first use inside the running loop."""
    global _limiter  # noqa: PLW0603
    if _limiter is None:
        _limiter = anyio.CapacityLimiter(PUSHES_MAX)
    return _limiter


def _version(request: Request) -> int:
    """The protocol version that the client prefers: 0 unless it says 1 or 2."""
    words = request.headers.get("git-protocol", "").split(":")
    stated = [int(found[1]) for word in words if (found := _VERSION.match(word))]
    return max([version for version in stated if version <= 2], default=0)


def _demand_type(request: Request, service: str) -> None:
    given = request.headers.get("content-type", "")
    if given != f"application/x-{service}-request":
        raise UnsupportedType(f"Content-Type {shown(given)} is not application/x-{service}-request")


async def _inflated(request: Request, limit_bytes: int) -> bytes:
    """The body, of which git compresses the longer ones; never more than the limit."""
    encodings = request.headers.getlist("content-encoding")
    if not encodings:
        return await read_body(request, limit_bytes)
    if encodings not in (["gzip"], ["x-gzip"]):
        raise EncodedBody(f"Content-Encoding {shown(', '.join(encodings))} is not supported.")
    engine = zlib.decompressobj(31)
    out = bytearray()
    async for piece in request.stream():
        try:
            out += engine.decompress(piece, limit_bytes + 1 - len(out))
        except zlib.error:
            raise BadRequest("the body does not inflate") from None
        if len(out) > limit_bytes:
            raise TooLarge(f"The body is over the limit of {limit_bytes} bytes for this address.")
        if engine.unused_data:
            raise BadRequest("the body has bytes behind its compressed part")
    if not engine.eof:
        raise BadRequest("the compressed body is cut short")
    return bytes(out)


def _streamed(pieces: Iterator[bytes], service: str) -> Response:
    return StreamingResponse(
        _each(pieces), media_type=f"application/x-{service}-result", headers=_NO_CACHE
    )


async def _each(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Each piece made in a thread, when the one before was taken."""
    close: Any = getattr(pieces, "close", None)
    try:
        while (piece := await run(next, pieces, None)) is not None:
            if piece:
                yield piece
    finally:
        if close is not None:
            with anyio.CancelScope(shield=True):
                await run(close)
