"""Collections over HTTP: lists of repos that a user or an organisation keeps."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.collection_list import PAGE_MAX, Ask, Collection
from headwater.errors import BadRequest, Unauthorized, Unprocessable
from headwater.hub import social_wire as shape
from headwater.hub.bodies import json_body
from headwater.hub.context import Hub
from headwater.hub.pages import decode_cursor, encode_cursor, limit_of
from headwater.hub.replies import base_url, json_reply, next_link
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.hub.threads import run

BODY_BYTES_MAX = 16 * 2**10
NO_GROUPS = "This hub has no resource groups: rights follow from the owner alone."


class CollectionRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.rooms = hub.catalog.collections

    def routes(self) -> list[Route]:
        one = "/api/collections/{ns}/{slug}"
        ask = ("owner*", "item*", "sort", "limit", "cursor")
        return [
            Route("GET", "/api/collections", self.page, "anyone", query=ask),
            Route("POST", "/api/collections", self.create, "keep", body=shape.CreateCollection),
            Route("GET", one, self.find, "anyone"),
            Route("PATCH", one, self.change, "keep", body=shape.ChangeCollection),
            Route("DELETE", one, self.delete, "keep"),
            Route("POST", f"{one}/items", self.add_item, "keep", body=shape.AddItem),
            Route("PATCH", f"{one}/items/{{item}}", self.change_item, "keep",
                  body=shape.ChangeItem),
            Route("DELETE", f"{one}/items/{{item}}", self.remove_item, "keep"),
            Route("POST", f"{one}/resource-group", self.resource_group, "keep",
                  body=shape.ResourceGroup),
        ]  # fmt: skip

    def page(self, request: Request, params: Params) -> Response:
        asked = request.query_params
        sort = asked.get("sort") or "lastModified"
        text = asked.get("cursor")
        ask = Ask(
            owners=tuple(filter(None, asked.getlist("owner"))),
            items=tuple(filter(None, asked.getlist("item"))),
            sort=sort,
            limit=min(limit_of(request, PAGE_MAX), PAGE_MAX),
            cursor=_cursor(text, sort) if text else None,
        )
        found = self.rooms.page(self.hub.actor(request), ask)
        headers = {}
        if found.cursor is not None:
            headers["Link"] = next_link(request, encode_cursor([sort, *found.cursor]))
        base = base_url(request)
        return json_reply([shape.collection(row, base) for row in found.rows], headers=headers)

    def find(self, request: Request, params: Params) -> Response:
        return self._one(request, self.rooms.find(self.hub.actor(request), *_at(params)))

    async def create(self, request: Request, params: Params) -> Response:
        body = await json_body(request, shape.CreateCollection, BODY_BYTES_MAX)
        return await run(self._create, request, body)

    def _create(self, request: Request, body: shape.CreateCollection) -> Response:
        actor = self.hub.actor(request)
        if actor.is_anonymous:
            raise Unauthorized("Sign in with a write token to make a collection.")
        if body.resource_group_id is not None:
            raise Unprocessable(NO_GROUPS)
        made = self.rooms.create(
            actor,
            body.namespace or actor.name,
            body.title,
            description=body.description,
            private=body.private,
        )
        return self._one(request, made)

    async def change(self, request: Request, params: Params) -> Response:
        body = await json_body(request, shape.ChangeCollection, BODY_BYTES_MAX)
        return await run(self._change, request, params, body)

    def _change(self, request: Request, params: Params, body: shape.ChangeCollection) -> Response:
        changed = self.rooms.update(
            self.hub.actor(request),
            *_at(params),
            title=body.title,
            description=body.description,
            private=body.private,
            theme=body.theme,
            position=body.position,
        )
        return json_reply({"data": shape.collection(changed, base_url(request))})

    def delete(self, request: Request, params: Params) -> Response:
        self.rooms.delete(self.hub.actor(request), *_at(params))
        return json_reply({})

    async def add_item(self, request: Request, params: Params) -> Response:
        body = await json_body(request, shape.AddItem, BODY_BYTES_MAX)
        return await run(self._add_item, request, params, body)

    def _add_item(self, request: Request, params: Params, body: shape.AddItem) -> Response:
        actor, item = self.hub.actor(request), body.item
        return self._one(
            request, self.rooms.add_item(actor, *_at(params), item.type, item.id, body.note)
        )

    async def change_item(self, request: Request, params: Params) -> Response:
        body = await json_body(request, shape.ChangeItem, BODY_BYTES_MAX)
        return await run(self._change_item, request, params, body)

    def _change_item(self, request: Request, params: Params, body: shape.ChangeItem) -> Response:
        actor = self.hub.actor(request)
        changed = self.rooms.change_item(
            actor, *_at(params), params["item"], note=body.note, position=body.position
        )
        return json_reply({"data": shape.collection(changed, base_url(request))})

    def remove_item(self, request: Request, params: Params) -> Response:
        self.rooms.remove_item(self.hub.actor(request), *_at(params), params["item"])
        return json_reply({})

    async def resource_group(self, request: Request, params: Params) -> Response:
        body = await json_body(request, shape.ResourceGroup, BODY_BYTES_MAX)
        return await run(self._resource_group, request, params, body)

    def _resource_group(
        self, request: Request, params: Params, body: shape.ResourceGroup
    ) -> Response:
        """Taking a collection out of its group is done already; there is none to put it in."""
        self.rooms.demand(self.hub.actor(request), *_at(params))
        if body.resource_group_id is not None:
            raise Unprocessable(NO_GROUPS)
        return json_reply({})

    def _one(self, request: Request, found: Collection) -> Response:
        return json_reply(shape.collection(found, base_url(request)))


def _at(params: Params) -> tuple[str, str]:
    return params["ns"], params["slug"]


def _cursor(text: str, sort: str) -> tuple[int, ...]:
    word, *values = decode_cursor(text, list[int | str]) or [""]
    if word != sort:
        raise BadRequest("this cursor belongs to another sort order; start from the first page")
    return tuple(value for value in values if isinstance(value, int))
