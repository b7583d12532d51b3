"""Routing: one table of rows, looked up by the raw bytes of the address.

    Route("GET", "/api/{T}/{id}/refs", endpoint, "see")

`body`, `query`, `answers` and `media` say what a row takes and gives beside its address; the
OpenAPI document is made of them.
A row's endpoint is `async def` or `def` (then it runs in a thread) and takes the request and the
`Params` of its template. Of several rows that fit, the one listed first wins. The right named in
a row documents it and is compared by tests; it is decided below, in `catalog.rights`.

The router is also the last stop of every failure: a HeadwaterError becomes its reply, anything
else a 500 that says nothing but the request id. Every reply carries `X-Request-Id`.
"""

from __future__ import annotations

import inspect
import logging
import re
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from headwater.errors import BadRequest, GatedRepo, HeadwaterError, InvalidPath, NotFound
from headwater.hub.meter import ROUTE, Seen, metered
from headwater.hub.replies import (
    ADDRESSING,
    HOST,
    REQUEST_ID,
    Addressing,
    error_reply,
    show_address,
)
from headwater.hub.templates import Params, Template
from headwater.hub.threads import run
from headwater.names import shown
from headwater.settings import Settings

__all__ = ["Endpoint", "MethodNotAllowed", "Params", "Route", "Router", "Table"]

log = logging.getLogger(__name__)

PATH_BYTES_MAX = 8192  # a repo path of 1024 bytes, all escaped, with room for id and revision
LITERALS_WITHIN = 12  # segments looked at for the words of templates; none has more

Endpoint = Callable[[Request, Params], Response | Awaitable[Response]]
_SANE_ID = re.compile(rb"[A-Za-z0-9-]{1,64}\Z")


class MethodNotAllowed(BadRequest):
    """The address is served, but not with this method."""

    status = 405
    code = "MethodNotAllowed"


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    template: str
    endpoint: Endpoint
    right: str
    head: bool = False  # a GET row that answers HEAD as well
    body: type | None = None  # the struct that a JSON body is checked against; `bytes`: as it is
    query: tuple[str, ...] = ()  # what may stand behind the `?`; `name*` may be repeated
    answers: tuple[int, ...] = ()  # statuses beside those that follow from the row (hub/openapi.py)
    media: tuple[str, ...] = ()  # of the body, where it is not JSON


class _Address:
    """All rows of one template."""

    def __init__(self, order: int, text: str) -> None:
        self.order = order
        self.template = Template(text)
        self.routes: dict[str, Route] = {}

    def add(self, route: Route) -> None:
        for method in (route.method, *(["HEAD"] if route.head else [])):
            if method in self.routes:
                raise ValueError(f"two rows for {method} {route.template}")
            self.routes[method] = route


class Table:
    """The rows, indexed by the rarest word of their template: a lookup tries a handful."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.rows = tuple(routes)
        addresses: dict[str, _Address] = {}
        for route in self.rows:
            address = addresses.setdefault(route.template, _Address(len(addresses), route.template))
            address.add(route)
        uses = Counter(word for a in addresses.values() for word in set(a.template.literals))
        self._by_word: dict[bytes, list[_Address]] = {}
        self._wordless: list[_Address] = []
        for address in addresses.values():
            words = address.template.literals
            if address.template.text.count("/") + 2 > LITERALS_WITHIN:
                raise ValueError(f"template {address.template.text!r} has too many segments")
            if words:
                rarest = min(words, key=lambda word: uses[word])
                self._by_word.setdefault(rarest, []).append(address)
            else:
                self._wordless.append(address)

    def find(self, method: str, raw_path: bytes) -> tuple[Route, Params]:
        """The row for this address; NotFound, or MethodNotAllowed naming those allowed."""
        candidates = self._wordless.copy()
        for segment in set(raw_path.split(b"/", LITERALS_WITHIN)):
            candidates += self._by_word.get(segment, ())
        candidates.sort(key=lambda address: address.order)
        allowed: set[str] = set()
        for id_segments in (2, 1):
            for address in candidates:
                params = address.template.match(raw_path, id_segments)
                if params is None:
                    continue
                route = address.routes.get(method)
                if route is not None:
                    return route, params
                allowed |= address.routes.keys()
        if allowed:
            names = ", ".join(sorted(allowed))
            error = MethodNotAllowed(f"This address answers {names} only.")
            error.headers["Allow"] = names
            raise error
        raise NotFound("No such address on this hub. Check the spelling.")


class Router:
    """The ASGI application for HTTP.

    Run the server without its own handling of proxy headers: it would hide who the peer is.
    """

    def __init__(self, routes: Iterable[Route], settings: Settings) -> None:
        self.table = Table(routes)
        self._addressing = Addressing.of(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"{scope['type']} is not served")
        with metered(scope) as seen:
            await self._serve(scope, receive, send, seen)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, seen: Seen) -> None:
        request_id = _request_id(scope)
        scope[REQUEST_ID] = request_id
        scope[ADDRESSING] = self._addressing
        started = False

        async def send_tagged(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                seen.status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
                message = {**message, "headers": headers}
            else:
                seen.sent_bytes += len(message.get("body", b""))
            await send(message)

        request = Request(scope, receive)
        reply: Response
        try:
            reply = await self._answer(request)
            return await reply(scope, receive, send_tagged)
        except ClientDisconnect:
            log.debug("request %s: the client went away", request_id)
            return
        except HeadwaterError as error:
            if isinstance(error, GatedRepo):
                show_address(request, error)
            if error.status >= 500:
                log.error("request %s: %s: %s", request_id, type(error).__name__, error.message)
            reply = error_reply(error, request_id)
        except Exception:
            log.exception("request %s failed", request_id)
            reply = error_reply(_nothing_said(), request_id)
        if not started:  # else the server closes the connection: the client sees it cut short
            await reply(scope, receive, send_tagged)

    async def _answer(self, request: Request) -> Response:
        _check_host(request)
        route, params = self.table.find(request.method, _raw_path(request.scope))
        request.scope[ROUTE] = route.template
        endpoint: Any = route.endpoint
        if inspect.iscoroutinefunction(endpoint):
            reply = await endpoint(request, params)
        else:
            reply = await run(endpoint, request, params)
        assert isinstance(reply, Response), f"{route.template} answered no Response"
        return reply


def _check_host(request: Request) -> None:
    """BadRequest unless there is one Host and it is a host's name: a proxy and the hub that pick
    different ones of two can be played against each other. HTTP/1.0 may do without."""
    hosts = request.headers.getlist("host")
    if not hosts and request.scope.get("http_version", "1.1") == "1.0":
        return
    if len(hosts) != 1 or not HOST.match(hosts[0]):
        raise BadRequest(f"Host {shown(', '.join(hosts))} is not one host name")


def _raw_path(scope: Scope) -> bytes:
    """The path as sent, without query and without the prefix under which the app is mounted."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    raw = raw.partition(b"?")[0]
    if len(raw) > PATH_BYTES_MAX:
        raise InvalidPath(f"the address has over {PATH_BYTES_MAX} bytes")
    root = scope.get("root_path", "").rstrip("/").encode()
    if root and raw.startswith(root + b"/"):
        raw = raw[len(root) :]
    return raw


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.match(value):
            return str(value, "ascii")
    return uuid.uuid4().hex


def _nothing_said() -> HeadwaterError:
    return HeadwaterError(
        "Something went wrong on the hub. Try again; if it stays, give the request id to its "
        "operator."
    )
