"""Where Xet begins: `GET /api/{type}/{id}/xet-{read|write}-token/{revision}`.

The answer says where the CAS is and gives a token for it, twice: headers for Python clients, JSON
for Rust. The revision must exist; `None` stands for one that the client does not know yet. To
upload for a pull request (`?create_pr=1`, or a revision under `refs/pr/`) the right to propose is
enough; what is uploaded is linked only by a commit, which asks for its own right.
"""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.actors import Actor
from headwater.catalog.models import Repo
from headwater.hub.context import Hub
from headwater.hub.replies import json_reply
from headwater.hub.routing import Params, Route
from headwater.hub.where import bucket_name, publish_verb, repo_of
from headwater.hub.xet_access import Access, TokenVerb, XetAccess

NO_REVISION = "None"  # what Python prints for a revision that was not given


class TokenRoutes:
    def __init__(self, hub: Hub, access: XetAccess) -> None:
        self.hub = hub
        self.access = access

    def routes(self) -> list[Route]:
        at, bucket = "/api/{T}/{id}", "/api/buckets/{namespace}/{name}"
        return [
            Route("GET", at + "/xet-read-token/{rev}", self.read, "bytes"),
            Route(
                "GET",
                at + "/xet-write-token/{rev}",
                self.write,
                "write or propose",
                query=("create_pr",),
            ),
            Route("GET", bucket + "/xet-read-token", self.read_bucket, "bytes"),
            Route("GET", bucket + "/xet-write-token", self.write_bucket, "write"),
        ]

    def read(self, request: Request, params: Params) -> Response:
        return self._token(request, params, "bytes")

    def write(self, request: Request, params: Params) -> Response:
        return self._token(request, params, publish_verb(request, params))

    def _token(self, request: Request, params: Params, verb: TokenVerb) -> Response:
        actor = self.hub.actor(request)
        repo = repo_of(self.hub, actor, params, verb)
        if params["rev"] != NO_REVISION:
            self.hub.catalog.refs.resolve(repo, params["rev"])
        return self._reply(request, actor, repo, verb)

    def read_bucket(self, request: Request, params: Params) -> Response:
        return self._bucket(request, params, "bytes")

    def write_bucket(self, request: Request, params: Params) -> Response:
        return self._bucket(request, params, "write")

    def _bucket(self, request: Request, params: Params, verb: TokenVerb) -> Response:
        """A bucket has no revisions."""
        actor = self.hub.actor(request)
        bucket = self.hub.catalog.repos.find(actor, "bucket", bucket_name(actor, params), verb)
        return self._reply(request, actor, bucket, verb)

    def _reply(self, request: Request, actor: Actor, repo: Repo, verb: TokenVerb) -> Response:
        url = self.hub.cas_url(request)
        token = self.access.token(Access(actor, repo, verb))
        expires_s = int(time.time()) + self.access.ttl_s
        body = {"casUrl": url, "exp": expires_s, "accessToken": token}
        headers = {
            "X-Xet-Cas-Url": url,
            "X-Xet-Access-Token": token,
            "X-Xet-Token-Expiration": str(expires_s),
            "Cache-Control": "no-store",
        }
        return json_reply(body, headers=headers)
