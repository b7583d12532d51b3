"""The life of a repo: create, settings, move, delete; and the check of a card before it is sent."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.actors import Actor
from headwater.catalog.models import Repo
from headwater.errors import Conflict, InvalidName
from headwater.formats.front_matter import read_card
from headwater.hub import wire
from headwater.hub.bodies import json_body
from headwater.hub.context import Hub
from headwater.hub.replies import base_url, json_reply
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.hub.threads import run
from headwater.hub.where import type_of
from headwater.names import RepoId

BODY_BYTES_MAX = 64 * 2**10
CARD_BYTES_MAX = 16 * 2**20  # a README.md may be long; only its head is parsed


class RepoRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/api/repos/create", self.create, "create", body=wire.CreateRepo),
            Route("DELETE", "/api/repos/delete", self.delete, "manage", body=wire.DeleteRepo),
            Route("POST", "/api/repos/move", self.move, "manage", body=wire.MoveRepo),
            Route("PUT", "/api/{T}/{id}/settings", self.settings, "manage", body=wire.RepoSettings),
            Route("POST", "/api/validate-yaml", self.validate, "anyone", body=wire.ValidateYaml),
        ]

    async def create(self, request: Request, params: Params) -> Response:
        body = await json_body(request, wire.CreateRepo, BODY_BYTES_MAX)
        return await run(self._create, request, body)

    def _create(self, request: Request, body: wire.CreateRepo) -> Response:
        actor = self._signed_in(request)
        rid = RepoId.parse(body.type, _full(actor, body.name, body.organization))
        try:
            repo = self.hub.catalog.repos.create(actor, rid, private=body.is_private, sdk=body.sdk)
        except Conflict as error:
            raise located(error, request, rid) from None
        return json_reply({"url": url_of(request, repo), "name": repo.full, "id": repo.hub_id})

    async def delete(self, request: Request, params: Params) -> Response:
        body = await json_body(request, wire.DeleteRepo, BODY_BYTES_MAX)
        return await run(self._delete, request, body)

    def _delete(self, request: Request, body: wire.DeleteRepo) -> Response:
        actor = self._signed_in(request)
        full = _full(actor, body.name, body.organization)
        self.hub.catalog.repos.delete(actor, body.type, full)
        return json_reply({})

    async def move(self, request: Request, params: Params) -> Response:
        body = await json_body(request, wire.MoveRepo, BODY_BYTES_MAX)
        return await run(self._move, request, body)

    def _move(self, request: Request, body: wire.MoveRepo) -> Response:
        actor = self._signed_in(request)
        to = RepoId.parse(body.type, body.to_repo)
        repo = self.hub.catalog.repos.move(actor, body.type, body.from_repo, to)
        return json_reply({"url": url_of(request, repo), "name": repo.full})

    async def settings(self, request: Request, params: Params) -> Response:
        body = await json_body(request, wire.RepoSettings, BODY_BYTES_MAX)
        return await run(self._settings, request, params, body)

    def _settings(self, request: Request, params: Params, body: wire.RepoSettings) -> Response:
        repo = self.hub.catalog.repos.set(
            self._signed_in(request),
            type_of(params),
            params["id"],
            private=body.is_private,
            gated=None if body.gated is None else (body.gated or ""),
        )
        return json_reply(
            {
                "name": repo.full,
                "private": repo.private,
                "visibility": "private" if repo.private else "public",
                "gated": repo.gated or False,
            }
        )

    async def validate(self, request: Request, params: Params) -> Response:
        """What is wrong with a card's front matter: 400 when nothing of it could be read."""
        body = await json_body(request, wire.ValidateYaml, CARD_BYTES_MAX)
        card = await run(read_card, body.content.encode())
        found = [{"message": problem} for problem in card.problems]
        if found and not card.metadata:
            return json_reply({"errors": found, "warnings": []}, status=400)
        return json_reply({"errors": [], "warnings": found})

    def _signed_in(self, request: Request) -> Actor:
        return self.hub.signed_in(
            request, "Sign in with a write token to create or change a repository."
        )


def _full(actor: Actor, name: str, organization: str | None) -> str:
    """`namespace/name` from the two ways in which clients spell it."""
    if organization:
        return f"{organization}/{name.rsplit('/', 1)[-1]}"
    if "/" in name:
        return name
    if not actor.name:
        raise InvalidName(f"repo name {name} needs a namespace: write namespace/name")
    return f"{actor.name}/{name}"


def located(error: Conflict, request: Request, rid: RepoId) -> Conflict:
    """The 409 for a name that is taken, with the `url` that `exist_ok` reads from its body."""
    taken = error.extra.pop("taken", rid.full)
    error.extra["url"] = f"{base_url(request)}/{rid.prefix}{taken}"
    return error


def url_of(request: Request, repo: Repo) -> str:
    """The address of the repo's page, as this client calls the hub."""
    return f"{base_url(request)}/{repo.prefix}{repo.full}"
