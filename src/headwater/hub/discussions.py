"""Discussions as a listing and a page: pull requests that commits opened.

transformers asks for the listing when a repo has no safetensors; `hf` shows a pull request.
Opening, commenting and merging come with the next release of the protocol (docs/protocol.md).
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.clock import iso
from headwater.catalog.discussions import PAGE_ROWS, Discussion
from headwater.catalog.models import Repo
from headwater.errors import BadRequest
from headwater.hub.context import Hub
from headwater.hub.replies import json_reply
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.hub.where import repo_of

PAGE_MAX = 100_000


class DiscussionRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/api/{T}/{id}/discussions", self.list, "see"),
            Route("GET", "/api/{T}/{id}/discussions/{num}", self.one, "see"),
        ]

    def list(self, request: Request, params: Params) -> Response:
        repo = repo_of(self.hub, self.hub.actor(request), params)
        page = _number(request.query_params.get("p") or "0")
        count, found = self.hub.catalog.discussions.page(repo, page)
        return json_reply(
            {
                "count": count,
                "start": page * PAGE_ROWS,
                "discussions": [_item(repo, one) for one in found],
            }
        )

    def one(self, request: Request, params: Params) -> Response:
        repo = repo_of(self.hub, self.hub.actor(request), params)
        found = self.hub.catalog.discussions.find(repo, _number(params["num"]))
        body = _item(repo, found) | {"events": []}
        if found.is_pr:
            body["changes"] = {"base": found.target_ref}
            body["filesWithConflicts"] = []
        return json_reply(body)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise BadRequest("a discussion is named by its number")
    return min(int(text), PAGE_MAX)


def _item(repo: Repo, one: Discussion) -> dict[str, Any]:
    return {
        "num": one.num,
        "title": one.title,
        "status": one.status,
        "isPullRequest": one.is_pr,
        "createdAt": iso(one.created_ms),
        "author": {"name": one.author, "type": "user"},
        "repo": {"name": repo.full, "type": repo.type},
    }
