"""Finding things: quick search, the search of spaces, the words there are to filter by."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.clock import iso
from headwater.catalog.quick_search import LIMIT_MAX, Hits
from headwater.catalog.space_search import SpaceHit
from headwater.catalog.tasks import PIPELINE_TAGS, label
from headwater.errors import BadRequest
from headwater.hub import social_wire as shape
from headwater.hub.context import Hub
from headwater.hub.pages import limit_of
from headwater.hub.replies import base_url, json_reply
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.names import RepoType, shown

_QUICK: dict[str, RepoType | None] = {  # kinds of hits, by their word in the address
    "model": "model", "dataset": "dataset", "space": "space", "org": None, "user": None,
    "collection": None,
}  # fmt: skip
KINDS_MAX = 20


class SearchRoutes:
    """Listed before the routes of repos: `/api/spaces/semantic-search` is no repo."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        spaces = ("q", "filter*", "sdk*", "includeNonRunning")
        return [
            Route("GET", "/api/quicksearch", self.quick, "anyone", query=("q", "type*", "limit")),
            Route("GET", "/api/spaces/semantic-search", self.spaces, "anyone", query=spaces),
            Route("GET", "/api/models-tags-by-type", self.model_tags, "anyone", query=("type*",)),
            Route("GET", "/api/datasets-tags-by-type", self.dataset_tags, "anyone",
                  query=("type*",)),
            Route("GET", "/api/tasks", self.tasks, "anyone"),
        ]  # fmt: skip

    def quick(self, request: Request, params: Params) -> Response:
        asked = request.query_params
        wanted = _words(asked.getlist("type")) or list(_QUICK)
        for word in wanted:
            if word not in _QUICK:
                raise BadRequest(f"type {shown(word)} is not one of {', '.join(_QUICK)}")
        types = [type for word in dict.fromkeys(wanted) if (type := _QUICK[word])]
        text = asked.get("q", "")
        hits = self.hub.catalog.quick_search.search(
            self.hub.actor(request),
            text,
            types=types,
            people=[word for word in wanted if word in ("user", "org")],
            collections="collection" in wanted,
            limit=min(limit_of(request, 5), LIMIT_MAX),
        )
        return json_reply({**_quick(hits, wanted, base_url(request)), "q": text})

    def spaces(self, request: Request, params: Params) -> Response:
        asked = request.query_params
        found = self.hub.catalog.space_search.search(
            self.hub.actor(request),
            asked.get("q", ""),
            tags=_words(asked.getlist("filter")),
            sdks=_words(asked.getlist("sdk")),
        )
        return json_reply([_space(hit) for hit in found])

    def model_tags(self, request: Request, params: Params) -> Response:
        return self._tags(request, "model")

    def dataset_tags(self, request: Request, params: Params) -> Response:
        return self._tags(request, "dataset")

    def _tags(self, request: Request, type: RepoType) -> Response:
        self.hub.actor(request)  # on a hub for its users only, not even its words are public
        kinds = self.hub.catalog.vocabulary.tags_by_type(type)
        only = _words(request.query_params.getlist("type"))
        return json_reply(
            {
                kind: [_tag(kind, tag) for tag in tags]
                for kind, tags in sorted(kinds.items())
                if not only or kind in only
            }
        )

    def tasks(self, request: Request, params: Params) -> Response:
        self.hub.actor(request)
        return json_reply({tag: _task(tag) for tag in PIPELINE_TAGS})


def _words(values: list[str]) -> list[str]:
    """Words from repeated or comma-separated values: clients send both."""
    words = [word for value in values for word in value.split(",") if word]
    if len(words) > KINDS_MAX:
        raise BadRequest(f"at most {KINDS_MAX} values at once")
    return words


def _quick(hits: Hits, wanted: list[str], base: str) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for type, (count, repos) in hits.repos.items():
        body[f"{type}s"] = [{"_id": repo.hub_id, **shape.repo_card(repo)} for repo in repos]
        body[f"{type}sCount"] = count
    if "org" in wanted:
        body |= {"orgs": [shape.org(who, base) for who in hits.orgs[1]],
                 "orgsCount": hits.orgs[0]}  # fmt: skip
    if "user" in wanted:
        body |= {"users": shape.people(hits.users[1], base), "usersCount": hits.users[0]}
    if "collection" in wanted:
        found = [
            {"_id": row.hub_id, "slug": row.full_slug, "title": row.title, "owner": row.owner}
            for row in hits.collections[1]
        ]
        body |= {"collections": found, "collectionsCount": hits.collections[0]}
    return body


def _space(hit: SpaceHit) -> dict[str, Any]:
    repo = hit.repo
    return {
        "_id": repo.hub_id,
        **shape.repo_card(repo),
        "title": hit.title,
        "emoji": hit.emoji,
        "sdk": repo.sdk,
        "tags": hit.tags,
        "createdAt": iso(repo.created_ms),
        "trendingScore": repo.trending,
        "semanticRelevancyScore": hit.score,
        "runtime": None,
    }


def _tag(kind: str, tag: str) -> dict[str, str]:
    return {"id": tag, "label": tag.removeprefix(f"{kind}:"), "type": kind}


def _task(tag: str) -> dict[str, Any]:
    """`widgetModels` is read by the client's inference helper; this hub recommends none."""
    return {
        "id": tag,
        "label": label(tag),
        "summary": "",
        "isPlaceholder": True,
        "models": [],
        "widgetModels": [],
        "datasets": [],
        "spaces": [],
        "libraries": [],
        "metrics": [],
    }
