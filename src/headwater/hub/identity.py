"""Who am I, may I: whoami, auth-check, and the two calls that clients make at start."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.actors import READ_GATED, Actor
from headwater.catalog.clock import iso
from headwater.hub.context import Hub
from headwater.hub.replies import base_url, json_reply
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.hub.where import repo_of


class Identity:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/api/whoami-v2", self.whoami, "signed in"),
            Route("GET", "/api/{T}/{id}/auth-check", self.may_read, "bytes"),
            Route("GET", "/api/{T}/{id}/auth-check/write", self.may_write, "write"),
            Route("GET", "/api/agent-harnesses", self.harnesses, "anyone"),
            Route("HEAD", "/api/telemetry/{path*}", self.telemetry, "anyone", answers=(204,)),
            Route("POST", "/v1/telemetry", self.telemetry, "anyone", answers=(204,)),
            Route("GET", "/healthz", self.health, "anyone"),
        ]

    def whoami(self, request: Request, params: Params) -> Response:
        actor = self.hub.signed_in(
            request, "Invalid username or password. Send a token to be recognised."
        )
        return json_reply(_whoami(actor, base_url(request)))

    def may_read(self, request: Request, params: Params) -> Response:
        repo_of(self.hub, self.hub.actor(request), params, "bytes")
        return json_reply({})

    def may_write(self, request: Request, params: Params) -> Response:
        repo_of(self.hub, self.hub.actor(request), params, "write")
        return json_reply({})

    def harnesses(self, request: Request, params: Params) -> Response:
        return json_reply({"standardEnvVars": [], "harnesses": {}})

    def telemetry(self, request: Request, params: Params) -> Response:
        """Taken and dropped: the hub keeps no record of its users' machines."""
        return Response(status_code=204)

    def health(self, request: Request, params: Params) -> Response:
        """200 when the catalog answers."""
        self.hub.catalog.accounts.count()
        return json_reply({"status": "ok"})


def _whoami(actor: Actor, base: str) -> dict[str, Any]:
    access: dict[str, Any] = {
        "displayName": actor.token_name,
        "role": actor.token_role,
        "createdAt": iso(actor.token_created_ms),
    }
    if actor.token_role == "fineGrained":
        access["fineGrained"] = {
            "canReadGatedRepos": actor.reads_gated,
            "global": [],
            "scoped": [
                {
                    "entity": {"type": scope.type, "name": scope.name},
                    "permissions": [p for p in scope.permissions if p != READ_GATED],
                }
                for scope in actor.scopes
                if set(scope.permissions) != {READ_GATED}
            ],
        }
    return {
        "type": "user",
        "id": actor.hub_id,
        "name": actor.name,
        "fullname": actor.fullname,
        "email": actor.email,
        "emailVerified": actor.email is not None,
        "canPay": False,
        "isPro": False,
        "periodEnd": None,
        "avatarUrl": f"{base}/avatars/{actor.name}.svg",
        "orgs": [
            {
                "type": "org",
                "id": org.org_hub_id,
                "name": org.name,
                "fullname": org.fullname,
                "email": None,
                "avatarUrl": f"{base}/avatars/{org.name}.svg",
                "roleInOrg": org.role,
                "isEnterprise": False,
            }
            for org in actor.orgs
        ],
        "auth": {"type": "access_token", "accessToken": access},
    }
