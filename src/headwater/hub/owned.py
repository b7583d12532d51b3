"""What an account owns: its repos with the space they take, for `hf repos ls`."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.actors import Actor
from headwater.catalog.clock import iso
from headwater.catalog.listing import Query
from headwater.catalog.models import Repo
from headwater.errors import Forbidden
from headwater.hub.context import Hub
from headwater.hub.replies import json_reply
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.names import REPO_TYPES

ROWS_MAX = 1000  # of each type; more than one person keeps track of


class OwnedRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/api/settings/repositories", self.mine, "signed in"),
            Route("GET", "/api/organizations/{org}/settings/repositories", self.org, "member"),
        ]

    def mine(self, request: Request, params: Params) -> Response:
        actor = self.hub.signed_in(request, "Sign in with a token to list your repositories.")
        return self._list(actor, actor.name)

    def org(self, request: Request, params: Params) -> Response:
        """Storage figures are for the owners only (safety rule T2)."""
        actor = self.hub.signed_in(request, f"Sign in as a member of {params['org']}.")
        mine = {org.name.lower() for org in actor.orgs} | {actor.name.lower()}
        if params["org"].lower() not in mine and not actor.is_admin:
            raise Forbidden(f"You are not a member of {params['org']}.")
        return self._list(actor, params["org"])

    def _list(self, actor: Actor, owner: str) -> Response:
        repos = [
            listed.repo
            for type in REPO_TYPES
            for listed in self.hub.catalog.listing.page(
                actor, Query(type, author=owner, limit=ROWS_MAX)
            ).rows
        ]
        sizes = self.hub.catalog.repos.used_bytes(repos)
        total = sum(sizes.values()) or 1
        return json_reply([_row(repo, sizes[repo.id], total) for repo in repos])


def _row(repo: Repo, size_bytes: int, total_bytes: int) -> dict[str, Any]:
    return {
        "id": repo.full,
        "type": repo.type,
        "updatedAt": iso(repo.updated_ms),
        "visibility": "private" if repo.private else "public",
        "storage": size_bytes,
        "storagePercent": round(100 * size_bytes / total_bytes, 2),
    }
