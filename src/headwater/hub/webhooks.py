"""Webhooks of the caller: list, make, change, switch, delete, and what became of deliveries.

A URL that could never be called is refused when it is given, with the reason. Everything here is
the caller's own; another user's webhook answers as one that does not exist.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.actors import Actor
from headwater.catalog.clock import iso
from headwater.catalog.deliveries import Delivery
from headwater.catalog.webhooks import Domain, Wanted, Watched, Webhook
from headwater.errors import BadRequest, Unavailable
from headwater.hub.bodies import json_body
from headwater.hub.context import Hub
from headwater.hub.pages import limit_of
from headwater.hub.replies import base_url, json_reply
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.hub.threads import run
from headwater.hub.wire import Wire
from headwater.outbound.target import Outbound

DELIVERIES_DEFAULT = 50
DELIVERIES_MAX = 200
LOOKUPS_MAX = 4  # names looked up at once: a resolver may take half a minute, and holds a thread


class WebhookBody(Wire, frozen=True, kw_only=True):
    """For making one and for changing one; absent means unchanged, and so does `watched: []`,
    which clients send when they change something else."""

    url: str | None = None
    watched: list[Watched] | None = None
    domains: list[Domain] | None = None
    secret: str | None = None
    job_source_id: str | None = None


class WebhookRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.outbound = Outbound.parse(hub.settings.outbound_allow)
        self._lookups = threading.BoundedSemaphore(LOOKUPS_MAX)

    def routes(self) -> list[Route]:
        root = "/api/settings/webhooks"
        one = root + "/{wid}"
        return [
            Route("GET", root, self.list, "own, read"),
            Route("POST", root, self.create, "own", body=WebhookBody),
            Route("GET", one, self.get, "own, read"),
            Route("POST", one, self.change, "own", body=WebhookBody),
            Route("DELETE", one, self.delete, "own"),
            Route("POST", one + "/enable", self.enable, "own"),
            Route("POST", one + "/disable", self.disable, "own"),
            Route("GET", one + "/deliveries", self.deliveries, "own, read", query=("limit",)),
            Route("POST", one + "/replay/{delivery}", self.replay, "own"),
        ]

    def list(self, request: Request, params: Params) -> Response:
        return json_reply(
            [_shown(one) for one in self.hub.catalog.webhooks.list(self._me(request))]
        )

    async def create(self, request: Request, params: Params) -> Response:
        body = await json_body(request, WebhookBody)
        return await run(self._create, request, body)

    def _create(self, request: Request, body: WebhookBody) -> Response:
        actor = self._me(request)
        wanted = self._wanted(body)
        return _one(self.hub.catalog.webhooks.create(actor, wanted, base_url(request)))

    def get(self, request: Request, params: Params) -> Response:
        return _one(self.hub.catalog.webhooks.get(self._me(request), params["wid"]))

    async def change(self, request: Request, params: Params) -> Response:
        body = await json_body(request, WebhookBody)
        return await run(self._change, request, params["wid"], body)

    def _change(self, request: Request, hub_id: str, body: WebhookBody) -> Response:
        actor = self._me(request)
        webhooks = self.hub.catalog.webhooks
        webhooks.get(actor, hub_id)  # before its URL is looked up: only owners may ask for that
        return _one(webhooks.change(actor, hub_id, self._wanted(body), base_url(request)))

    def delete(self, request: Request, params: Params) -> Response:
        self.hub.catalog.webhooks.delete(self._me(request), params["wid"])
        return json_reply({})

    def enable(self, request: Request, params: Params) -> Response:
        return _one(self.hub.catalog.webhooks.set_disabled(self._me(request), params["wid"], False))

    def disable(self, request: Request, params: Params) -> Response:
        return _one(self.hub.catalog.webhooks.set_disabled(self._me(request), params["wid"], True))

    def deliveries(self, request: Request, params: Params) -> Response:
        limit = min(limit_of(request, DELIVERIES_DEFAULT), DELIVERIES_MAX)
        found = self.hub.catalog.deliveries.page(self._me(request), params["wid"], limit)
        return json_reply([_told(one) for one in found])

    def replay(self, request: Request, params: Params) -> Response:
        return json_reply(
            _told(
                self.hub.catalog.deliveries.replay(
                    self._me(request), params["wid"], params["delivery"]
                )
            )
        )

    def _me(self, request: Request) -> Actor:
        return self.hub.signed_in(request, "Sign in with a token to see your webhooks.")

    def _wanted(self, body: WebhookBody) -> Wanted:
        if body.job_source_id is not None:
            raise BadRequest("This hub runs no jobs for webhooks: give a url.")
        if body.url is not None:
            self._demand_callable(body.url)
        return Wanted(body.url, body.watched, body.domains, body.secret)

    def _demand_callable(self, url: str) -> None:
        """BadRequest, with the reason, for a URL that could never be called as things are."""
        self.outbound.check(url)
        if not self._lookups.acquire(blocking=False):
            raise Unavailable("Too many names are being looked up. Try again in a moment.")
        try:
            with contextlib.suppress(Unavailable):  # a name that is not there yet may come
                self.outbound.resolve(url)
        finally:
            self._lookups.release()


def _one(webhook: Webhook) -> Response:
    return json_reply({"webhook": _shown(webhook)})


def _shown(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.hub_id,
        "url": webhook.url,
        "watched": webhook.watched,
        "domains": webhook.domains,
        "secret": webhook.secret or None,
        "disabled": webhook.disabled,
        "disabledReason": webhook.disabled_reason,
    }


def _told(one: Delivery) -> dict[str, Any]:
    return {
        "id": one.hub_id,
        "status": one.status,
        "event": {"action": one.action, "scope": one.scope},
        "repo": {"name": one.repo},
        "attempts": one.attempts,
        "replyStatus": one.reply_status,
        "error": one.error,
        "nextAttemptAt": iso(one.due_ms) if one.status == "pending" else None,
        "createdAt": iso(one.created_ms),
        "updatedAt": iso(one.updated_ms),
    }
