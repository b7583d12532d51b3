"""What a listing asks for, from its query string.

Every parameter of the clients is taken. Nothing runs on this hub, so `inference`,
`inference_provider` and `apps` are filters that nothing matches: the list is empty then, as it is
for any other filter that fits no repo. The default order is `createdAt`, because it never changes:
whoever walks all pages meets every repo once, which no order by activity can promise.
"""

from __future__ import annotations

import re

from starlette.requests import Request

from headwater.catalog.listing import CURSOR_MAX, LIMIT_DEFAULT, Query
from headwater.errors import BadRequest
from headwater.hub.pages import decode_cursor, flag, limit_of
from headwater.names import RepoType, shown

SORT_DEFAULT = "createdAt"
QUERY = ("search*", "author", "filter*", "tags*", "pipeline_tag", "gated", "apps*", "inference",
         "inference_provider*", "num_parameters", "models*", "datasets*", "linked", "sort",
         "direction", "limit", "cursor", "full", "cardData", "config", "expand*")  # fmt: skip
_NOTHING_HERE = ("apps", "inference", "inference_provider")
_BOUND = re.compile(r"(min|max):(\d{1,15}(?:\.\d{1,6})?)([KMBT]?)\Z", re.IGNORECASE)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


def query_of(request: Request, type: RepoType) -> Query | None:
    """The query; None when nothing on this hub can match it."""
    asked = request.query_params
    sort = asked.get("sort") or SORT_DEFAULT
    gated = asked.get("gated")
    links: list[str] = []
    if type == "space":
        links += [f"model:{name}" for name in words(asked.getlist("models"))]
        links += [f"dataset:{name}" for name in words(asked.getlist("datasets"))]
    query = Query(
        type,
        search=tuple(text for text in asked.getlist("search") if text),
        author=asked.get("author") or None,
        filters=tuple(words([*asked.getlist("filter"), *asked.getlist("tags")]) + links),
        pipeline_tag=asked.get("pipeline_tag") or None,
        gated=None if gated is None else gated.lower() == "true",
        parameters=parameters(asked.get("num_parameters") or ""),
        linked=type == "space" and flag(request, "linked"),
        sort=sort,
        limit=limit_of(request, LIMIT_DEFAULT),
        cursor=_cursor(asked.get("cursor"), sort),
    )
    return None if any(asked.get(name) for name in _NOTHING_HERE) else query


def words(values: list[str]) -> list[str]:
    """Words from repeated or comma-separated values: clients send both."""
    return [word for value in values for word in value.split(",") if word]


def parameters(text: str) -> tuple[int | None, int | None]:
    """(at least, at most) from `min:3B,max:500M`; either may be missing."""
    bounds: dict[str, int] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        found = _BOUND.match(part)
        if found is None or found[1].lower() in bounds:
            raise BadRequest(f"num_parameters {shown(text)}: write min:3B,max:7B, or one of them")
        value = round(float(found[2]) * _UNITS[found[3].upper()])
        bounds[found[1].lower()] = min(value, CURSOR_MAX)
    return bounds.get("min"), bounds.get("max")


def _cursor(text: str | None, sort: str) -> tuple[int, int] | None:
    if not text:
        return None
    found = decode_cursor(text, tuple[str, int, int])
    if found[0] != sort:
        raise BadRequest("this cursor belongs to another sort order; start from the first page")
    return found[1], found[2]
