"""Signing in through a browser: `hf auth login` without a token to paste.

    POST /oauth/device   a terminal begins: codes, and the page to open
    GET  /oauth/verify   that page; POST is its form
    POST /oauth/token    the terminal polls; later, it renews its tokens

There are no passwords here: on the page a person names themselves with an access token they have.
It comes in the body of a form, is looked up, and goes nowhere else: into no log, no reply, no
address. The form is taken from our own page only (`Origin`), and the page from no frame.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.sessions import Granted
from headwater.errors import BadRequest, Forbidden, HeadwaterError, OAuthError
from headwater.hub.bodies import FORM, decode_form, one_each, read_body
from headwater.hub.callers import network_of
from headwater.hub.context import Hub
from headwater.hub.oauth_page import form_page, told_page
from headwater.hub.replies import base_url, client_host, error_headers, json_reply, request_id
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.hub.threads import run

FORM_BYTES_MAX = 16 * 2**10
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
REFRESH_GRANT = "refresh_token"
_PORTS = {"http": 80, "https": 443}


class OAuthRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST",
                "/oauth/device",
                self.device,
                "anyone",
                body=bytes,
                media=FORM,
                answers=(429,),
            ),
            Route(
                "POST", "/oauth/token", self.token, "anyone", body=bytes, media=FORM, answers=(429,)
            ),
            Route("GET", "/oauth/verify", self.page, "anyone", query=("user_code",)),
            Route(
                "POST",
                "/oauth/verify",
                self.verify,
                "anyone",
                body=bytes,
                media=FORM,
                answers=(401, 403, 429),
            ),
        ]

    async def device(self, request: Request, params: Params) -> Response:
        return await self._oauth(request, self._begin)

    async def token(self, request: Request, params: Params) -> Response:
        return await self._oauth(request, self._tokens)

    async def _oauth(self, request: Request, answer: Any) -> Response:
        """Failures in OAuth's own form (RFC 6749, 5.2), which is what clients of it read, and the
        hub's beside it."""
        headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
        try:
            form = one_each(decode_form(await read_body(request, FORM_BYTES_MAX)))
            return json_reply(await run(answer, request, form), 200, headers)
        except OAuthError as error:
            body = {
                "error": error.word,
                "error_description": error.message,
                "errorCode": error.code,
                "requestId": request_id(request),
            }
            return json_reply(body, error.status, headers | error_headers(error))

    def _begin(self, request: Request, form: dict[str, str]) -> dict[str, Any]:
        network = network_of(client_host(request))
        caller = self.hub.signer.fingerprint("device caller", {"network": network})
        begun = self.hub.catalog.devices.begin(form.get("client_id", ""), caller)
        page = f"{base_url(request)}/oauth/verify"
        return {
            "device_code": begun.device_code,
            "user_code": begun.user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={begun.user_code}",
            "expires_in": begun.expires_s,
            "interval": begun.interval_s,
        }

    def _tokens(self, request: Request, form: dict[str, str]) -> dict[str, Any]:
        client = form.get("client_id", "")
        kind = form.get("grant_type")
        if kind == DEVICE_GRANT:
            granted = self.hub.catalog.devices.poll(_named(form, "device_code"), client)
        elif kind == REFRESH_GRANT:
            granted = self.hub.catalog.sessions.renew(_named(form, "refresh_token"), client)
        elif kind:
            raise OAuthError("device_code and refresh_token are served", "unsupported_grant_type")
        else:
            raise OAuthError("grant_type is missing", "invalid_request")
        return _granted(granted)

    def page(self, request: Request, params: Params) -> Response:
        return form_page(request.query_params.get("user_code", ""))

    async def verify(self, request: Request, params: Params) -> Response:
        code = ""
        try:
            demand_own_page(request)
            form = one_each(decode_form(await read_body(request, FORM_BYTES_MAX)))
            code = form.get("user_code", "")
            decision = form.get("decision")
            if decision not in ("approve", "deny"):
                raise BadRequest("Choose one: approve or deny.")
            approve = decision == "approve"
            client = await run(self._decide, form.get("token", "").strip(), code, approve)
        except HeadwaterError as error:
            if error.status >= 500 and error.status != 503:
                raise
            page = form_page(code, problem=error.message, status=error.status)
            page.headers.update(error_headers(error))
            return page
        return told_page(approve, client)

    def _decide(self, token: str, code: str, approve: bool) -> str:
        return self.hub.catalog.devices.decide(token, code, approve=approve)


def _named(form: dict[str, str], name: str) -> str:
    if not form.get(name):
        raise OAuthError(f"{name} is missing", "invalid_request")
    return form[name]


def _granted(granted: Granted) -> dict[str, Any]:
    return {
        "access_token": granted.access_token,
        "token_type": "bearer",
        "expires_in": granted.expires_s,
        "refresh_token": granted.refresh_token,
    }


def demand_own_page(request: Request) -> None:
    """Forbidden unless a page of this hub sent the form: browsers say who did, in `Origin` (or,
    old ones, in `Referer`), and no page can make them lie."""
    told = request.headers.get("origin") or request.headers.get("referer") or ""
    site = request.headers.get("sec-fetch-site", "same-origin")
    if _origin(told) != _origin(base_url(request)) or site not in ("same-origin", "none"):
        raise Forbidden("This form is taken from the hub's own page only. Open it and try again.")


def _origin(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    return (parts.scheme, (parts.hostname or "").lower(), port) if parts.hostname else None
