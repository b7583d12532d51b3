"""Discussions and pull requests: the listing, one with all that happened in it, and a new one."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.actors import Actor
from headwater.catalog.discussions import PAGE_ROWS
from headwater.catalog.models import Repo
from headwater.errors import BadRequest
from headwater.hub import discussion_json as shape
from headwater.hub.bodies import json_body
from headwater.hub.context import Hub
from headwater.hub.discussion_json import OpenDiscussion
from headwater.hub.pages import flag
from headwater.hub.replies import base_url, json_reply
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.hub.threads import run
from headwater.hub.where import repo_of

AT = "/api/{T}/{id}/discussions"
PAGE_MAX = 100_000  # past every listing


class DiscussionRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        return [
            Route("GET", AT, self.list, "see", query=("p", "type", "status", "author")),
            Route("POST", AT, self.open, "propose", body=OpenDiscussion),
            Route("GET", AT + "/{num}", self.one, "see", query=("diff",)),
        ]

    def list(self, request: Request, params: Params) -> Response:
        repo = repo_of(self.hub, self.hub.actor(request), params)
        query = request.query_params
        page = min(number(query.get("p") or "0"), PAGE_MAX)
        count, found = self.hub.catalog.discussions.page(
            repo,
            page,
            type=query.get("type") or "all",
            status=query.get("status") or "all",
            author=query.get("author") or None,
        )
        return json_reply(
            {
                "count": count,
                "start": page * PAGE_ROWS,
                "discussions": [shape.item(repo, one) for one in found],
            }
        )

    def one(self, request: Request, params: Params) -> Response:
        actor = self.hub.actor(request)
        repo = repo_of(self.hub, actor, params)
        found = self.hub.catalog.discussions.find(repo, number(params["num"]))
        log = self.hub.catalog.discussions.events(repo, found.num)
        body = shape.item(repo, found) | {"events": [shape.event(actor, repo, e) for e in log]}
        if found.is_pr:
            body["changes"] = {"base": found.target_ref}
            if found.merge_commit:
                body["changes"]["mergeCommitId"] = found.merge_commit
            body["filesWithConflicts"] = self.hub.catalog.merging.conflicts(repo, found)
            # Behind a gate the talk is public and the content of files is not.
            if flag(request, "diff") and self.hub.catalog.may_read_bytes(actor, repo):
                diff = self.hub.catalog.merging.diff(repo, found)
                body["diff"] = diff.text.decode("utf-8", "replace") if diff else None
        return json_reply(body)

    async def open(self, request: Request, params: Params) -> Response:
        body = await json_body(request, OpenDiscussion)
        return await run(self._open, request, params, body)

    def _open(self, request: Request, params: Params, body: OpenDiscussion) -> Response:
        actor, repo = self._asked(request, params)
        catalog = self.hub.catalog
        opens = catalog.pull_requests.draft if body.pull_request else catalog.discussions.open
        num = opens(actor, repo, body.title, body.description)
        answer: dict[str, Any] = {
            "num": num,
            "url": f"{base_url(request)}/{repo.prefix}{repo.full}/discussions/{num}",
            "pullRequest": body.pull_request,
        }
        return json_reply(answer)

    def _asked(self, request: Request, params: Params) -> tuple[Actor, Repo]:
        actor = self.hub.actor(request)
        return actor, repo_of(self.hub, actor, params, "propose")


def number(text: str) -> int:
    """A discussion's number, or a page's; BadRequest for what is none."""
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise BadRequest("a discussion is named by its number")
    return int(text)
