"""People: likes, who follows whom, users and organisations at a glance.

Lists come in pages, `Link: rel="next"` when there is more. Of what is private nothing shows, in no
list and in no count.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.actors import Actor
from headwater.catalog.persons import PAGE_MAX, Kind, PersonPage
from headwater.errors import BadRequest
from headwater.hub import social_wire as shape
from headwater.hub.context import Hub
from headwater.hub.pages import decode_cursor, encode_cursor, limit_of
from headwater.hub.replies import base_url, json_reply, next_link
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.hub.where import type_of

ID_MAX = 2**31 - 1  # row ids that a cursor may name
TIME_MAX_MS = 2**53
PAGED = ("limit", "cursor")


class PeopleRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        user, org = "/api/users/{user}", "/api/organizations/{org}"
        return [
            Route("POST", "/api/{T}/{id}/like", self.like, "see, signed in"),
            Route("DELETE", "/api/{T}/{id}/like", self.unlike, "see, signed in"),
            Route("GET", "/api/{T}/{id}/likers", self.likers, "see", query=PAGED),
            Route("GET", f"{user}/likes", self.likes, "anyone", query=PAGED),
            Route("GET", f"{user}/overview", self.user, "anyone"),
            Route("GET", f"{user}/followers", self.followers, "anyone", query=PAGED),
            Route("GET", f"{user}/following", self.following, "anyone", query=PAGED),
            Route("POST", f"{user}/follow", self.follow, "own"),
            Route("DELETE", f"{user}/follow", self.unfollow, "own"),
            Route("GET", f"{org}/overview", self.org, "anyone"),
            Route("GET", f"{org}/members", self.members, "anyone", query=PAGED),
            Route("GET", f"{org}/followers", self.followers, "anyone", query=PAGED),
            Route("POST", f"{org}/follow", self.follow, "own"),
            Route("DELETE", f"{org}/follow", self.unfollow, "own"),
        ]

    # Likes

    def like(self, request: Request, params: Params) -> Response:
        self.hub.catalog.likes.like(self.hub.actor(request), type_of(params), params["id"])
        return json_reply({"liked": True})

    def unlike(self, request: Request, params: Params) -> Response:
        self.hub.catalog.likes.unlike(self.hub.actor(request), type_of(params), params["id"])
        return json_reply({"liked": False})

    def likers(self, request: Request, params: Params) -> Response:
        type, full = type_of(params), params["id"]

        def page(actor: Actor, after: int, limit: int) -> PersonPage:
            return self.hub.catalog.likes.likers(actor, type, full, after=after, limit=limit)

        return self._people(request, page)

    def likes(self, request: Request, params: Params) -> Response:
        cursor = None
        if text := request.query_params.get("cursor"):
            cursor = decode_cursor(text, tuple[int, int])
            if not (0 <= cursor[0] <= TIME_MAX_MS and 0 <= cursor[1] <= ID_MAX):
                raise BadRequest("not a cursor of this list; start from the first page")
        page = self.hub.catalog.likes.of_user(
            self.hub.actor(request), params["user"], cursor=cursor, limit=limit_of(request, 1000)
        )
        headers = {}
        if page.cursor is not None:
            headers["Link"] = next_link(request, encode_cursor(page.cursor))
        return json_reply([shape.like(each) for each in page.rows], headers=headers)

    # Follow

    def follow(self, request: Request, params: Params) -> Response:
        self.hub.catalog.follows.follow(self.hub.actor(request), *_whom(params))
        return json_reply({"isFollowing": True})

    def unfollow(self, request: Request, params: Params) -> Response:
        self.hub.catalog.follows.unfollow(self.hub.actor(request), *_whom(params))
        return json_reply({"isFollowing": False})

    def followers(self, request: Request, params: Params) -> Response:
        name, kind = _whom(params)

        def page(actor: Actor, after: int, limit: int) -> PersonPage:
            return self.hub.catalog.follows.followers(actor, name, kind, after=after, limit=limit)

        return self._people(request, page)

    def following(self, request: Request, params: Params) -> Response:
        def page(actor: Actor, after: int, limit: int) -> PersonPage:
            return self.hub.catalog.follows.following(
                actor, params["user"], after=after, limit=limit
            )

        return self._people(request, page)

    # At a glance

    def user(self, request: Request, params: Params) -> Response:
        profile = self.hub.catalog.profiles.user(self.hub.actor(request), params["user"])
        return json_reply(shape.user_overview(profile, base_url(request)))

    def org(self, request: Request, params: Params) -> Response:
        profile = self.hub.catalog.profiles.org(self.hub.actor(request), params["org"])
        return json_reply(shape.org_overview(profile, base_url(request)))

    def members(self, request: Request, params: Params) -> Response:
        def page(actor: Actor, after: int, limit: int) -> PersonPage:
            return self.hub.catalog.profiles.members(actor, params["org"], after=after, limit=limit)

        return self._people(request, page)

    def _people(self, request: Request, page: Callable[[Actor, int, int], PersonPage]) -> Response:
        actor, after = self.hub.actor(request), 0
        if text := request.query_params.get("cursor"):
            after = decode_cursor(text, int)
            if not 0 <= after <= ID_MAX:
                raise BadRequest("not a cursor of this list; start from the first page")
        found = page(actor, after, limit_of(request, PAGE_MAX))
        headers = {}
        if found.after is not None:
            headers["Link"] = next_link(request, encode_cursor(found.after))
        return json_reply(shape.people(found.rows, base_url(request)), headers=headers)


def _whom(params: Params) -> tuple[str, Kind]:
    """The account that the address names."""
    return (params["user"], "user") if "user" in params else (params["org"], "org")
