"""Branches and tags over HTTP, and the list of refs that llama.cpp and others begin with."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.refs import Ref
from headwater.hub import wire
from headwater.hub.bodies import json_body
from headwater.hub.context import Hub
from headwater.hub.pages import flag
from headwater.hub.replies import json_reply
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.hub.threads import run
from headwater.hub.where import repo_of

BODY_BYTES_MAX = 64 * 2**10


class RefRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/api/{T}/{id}/refs",
                self.list,
                "see",
                query=("include_prs", "include_pull_requests"),
            ),
            Route(
                "POST",
                "/api/{T}/{id}/branch/{name}",
                self.create_branch,
                "write",
                body=wire.CreateBranch,
            ),
            Route("DELETE", "/api/{T}/{id}/branch/{name}", self.delete_branch, "write"),
            Route("POST", "/api/{T}/{id}/tag/{rev}", self.create_tag, "write", body=wire.CreateTag),
            Route("DELETE", "/api/{T}/{id}/tag/{name}", self.delete_tag, "write"),
        ]

    def list(self, request: Request, params: Params) -> Response:
        repo = repo_of(self.hub, self.hub.actor(request), params)
        refs = self.hub.catalog.refs.list(repo)
        body: dict[str, Any] = {
            "branches": [_ref(r, "refs/heads/") for r in refs if r.name.startswith("refs/heads/")],
            "tags": [_ref(r, "refs/tags/") for r in refs if r.name.startswith("refs/tags/")],
            "converts": [],
        }
        if flag(request, "include_prs") or flag(request, "include_pull_requests"):
            body["pullRequests"] = [
                _ref(r, "refs/pr/") for r in refs if r.name.startswith("refs/pr/")
            ]
        return json_reply(body)

    async def create_branch(self, request: Request, params: Params) -> Response:
        body = await json_body(request, wire.CreateBranch, BODY_BYTES_MAX)
        return await run(self._create_branch, request, params, body)

    def _create_branch(self, request: Request, params: Params, body: wire.CreateBranch) -> Response:
        actor = self.hub.actor(request)
        repo = repo_of(self.hub, actor, params, "write")
        self.hub.catalog.refs.create_branch(
            actor,
            repo,
            params["name"],
            start=body.starting_point,
            empty=body.empty_branch,
            overwrite=body.overwrite,
        )
        return json_reply({})

    def delete_branch(self, request: Request, params: Params) -> Response:
        actor = self.hub.actor(request)
        repo = repo_of(self.hub, actor, params, "write")
        self.hub.catalog.refs.delete_branch(actor, repo, params["name"])
        return json_reply({})

    async def create_tag(self, request: Request, params: Params) -> Response:
        body = await json_body(request, wire.CreateTag, BODY_BYTES_MAX)
        return await run(self._create_tag, request, params, body)

    def _create_tag(self, request: Request, params: Params, body: wire.CreateTag) -> Response:
        actor = self.hub.actor(request)
        repo = repo_of(self.hub, actor, params, "write")
        self.hub.catalog.refs.create_tag(actor, repo, body.tag, params["rev"], body.message or "")
        return json_reply({})

    def delete_tag(self, request: Request, params: Params) -> Response:
        actor = self.hub.actor(request)
        repo = repo_of(self.hub, actor, params, "write")
        self.hub.catalog.refs.delete_tag(actor, repo, params["name"])
        return json_reply({})


def _ref(ref: Ref, prefix: str) -> dict[str, str]:
    return {"name": ref.name.removeprefix(prefix), "ref": ref.name, "targetCommit": ref.commit}
