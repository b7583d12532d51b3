"""What people do in a discussion: comment, rename, close, merge, edit, hide.

Each answers with the event that it became, under the name that the client looks for.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.actors import Actor
from headwater.catalog.discussion_events import Event
from headwater.catalog.models import Repo
from headwater.catalog.rights import Verb
from headwater.hub import discussion_json as shape
from headwater.hub.bodies import decode_json, json_body, read_body
from headwater.hub.context import Hub
from headwater.hub.discussion_json import (
    EditedComment,
    MergeWish,
    NewComment,
    NewStatus,
    NewTitle,
)
from headwater.hub.discussions import AT, number
from headwater.hub.replies import json_reply
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.hub.threads import run
from headwater.hub.where import repo_of

THEIRS = "propose or write"  # propose for who opened it or wrote it, write for all others


class DiscussionChangeRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        one = AT + "/{num}"
        return [
            Route("POST", one + "/comment", self.comment, "propose", body=NewComment),
            Route("POST", one + "/title", self.title, THEIRS, body=NewTitle),
            Route("POST", one + "/status", self.status, THEIRS, body=NewStatus),
            Route("POST", one + "/merge", self.merge, "write", body=MergeWish),
            Route("POST", one + "/comment/{cid}/edit", self.edit, "author", body=EditedComment),
            Route("POST", one + "/comment/{cid}/hide", self.hide, THEIRS),
        ]

    async def comment(self, request: Request, params: Params) -> Response:
        body = await json_body(request, NewComment)

        def work() -> Response:
            actor, repo, num = self._asked(request, params)
            made = self.hub.catalog.discussions.comment(actor, repo, num, body.comment)
            return _answer(actor, repo, "newMessage", made)

        return await run(work)

    async def title(self, request: Request, params: Params) -> Response:
        body = await json_body(request, NewTitle)

        def work() -> Response:
            actor, repo, num = self._asked(request, params)
            made = self.hub.catalog.discussions.rename(actor, repo, num, body.title)
            return _answer(actor, repo, "newTitle", made)

        return await run(work)

    async def status(self, request: Request, params: Params) -> Response:
        body = await json_body(request, NewStatus)

        def work() -> Response:
            actor, repo, num = self._asked(request, params)
            made = self.hub.catalog.discussions.set_status(
                actor, repo, num, body.status, body.comment
            )
            return _answer(actor, repo, "newStatus", made)

        return await run(work)

    async def merge(self, request: Request, params: Params) -> Response:
        raw = await read_body(request)
        body = decode_json(raw, MergeWish) if raw.strip() else MergeWish()

        def work() -> Response:
            actor, repo, num = self._asked(request, params, "write")
            commit = self.hub.catalog.merging.merge(actor, repo, num, body.comment)
            return json_reply({"status": "merged", "mergeCommitId": commit})

        return await run(work)

    async def edit(self, request: Request, params: Params) -> Response:
        body = await json_body(request, EditedComment)

        def work() -> Response:
            actor, repo, num = self._asked(request, params)
            made = self.hub.catalog.discussions.edit(actor, repo, num, params["cid"], body.content)
            return _answer(actor, repo, "updatedComment", made)

        return await run(work)

    def hide(self, request: Request, params: Params) -> Response:
        actor, repo, num = self._asked(request, params)
        made = self.hub.catalog.discussions.hide(actor, repo, num, params["cid"])
        return _answer(actor, repo, "updatedComment", made)

    def _asked(
        self, request: Request, params: Params, verb: Verb = "propose"
    ) -> tuple[Actor, Repo, int]:
        """Who, where, which; the right is looked at again where the change is made."""
        actor = self.hub.actor(request)
        return actor, repo_of(self.hub, actor, params, verb), number(params["num"])


def _answer(actor: Actor, repo: Repo, name: str, made: Event) -> Response:
    return json_reply({name: shape.event(actor, repo, made)})
