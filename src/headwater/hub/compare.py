"""Two revisions compared: `a..b` as they are, `a...b` since they parted.

With `raw=1` the patch itself, as text; else JSON with the files that differ.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from headwater.errors import BadRequest
from headwater.hub.context import Hub
from headwater.hub.pages import flag
from headwater.hub.replies import json_reply
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.hub.where import repo_of
from headwater.names import shown

_AS_TEXT = {
    "Content-Type": "text/plain; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


class CompareRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        at = "/api/{T}/{id}/compare/{revs*}"
        return [Route("GET", at, self.compare, "bytes", query=("raw",))]

    def compare(self, request: Request, params: Params) -> Response:
        actor = self.hub.actor(request)
        repo = repo_of(self.hub, actor, params, "bytes")
        dots = "..." if "..." in params["revs"] else ".."  # no revision has two dots in its name
        old, found, new = params["revs"].partition(dots)
        if not (old and found and new):
            raise BadRequest(f"{shown(params['revs'])}: write two revisions, as main..dev")
        catalog = self.hub.catalog
        a, b = (catalog.refs.resolve(repo, revision).commit for revision in (old, new))
        diff = (catalog.diffs.between if dots == ".." else catalog.diffs.since_parted)(repo, a, b)
        if flag(request, "raw"):
            return Response(diff.text, headers=_AS_TEXT)
        return json_reply(
            {
                "base": a,
                "head": b,
                "files": [{"path": path, "status": status} for path, status in diff.files],
                "complete": diff.complete,
                "diff": diff.text.decode("utf-8", "replace"),
            }
        )
