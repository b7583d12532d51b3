"""What a repo takes: every large file that its refs show, for those who manage it.

How long files are is for all of them to know. What they take on disk depends on what else the hub
holds, private repos of others included: a file that takes next to nothing has its like somewhere.
So that figure, and the means behind it, is for admins of the hub, from whom nothing is hidden.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.actors import Actor
from headwater.catalog.models import Repo
from headwater.catalog.storage import Tally
from headwater.hub.context import Hub
from headwater.hub.replies import json_reply
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.hub.where import bucket_name, repo_of

FILES_MAX = 1000  # of one reply
TENSORS_MAX = 20_000  # looked at for one reply: each is a file that is opened, a second or two


class StorageRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/api/{T}/{id}/storage", self.of_repo, "manage"),
            Route("GET", "/api/buckets/{namespace}/{name}/storage", self.of_bucket, "manage"),
        ]

    def of_repo(self, request: Request, params: Params) -> Response:
        actor = self.hub.actor(request)
        return self._reply(repo_of(self.hub, actor, params, "manage"), actor)

    def of_bucket(self, request: Request, params: Params) -> Response:
        actor = self.hub.actor(request)
        name = bucket_name(actor, params)
        repo = self.hub.catalog.repos.find(actor, "bucket", name, "manage")
        return self._reply(repo, actor)

    def _reply(self, repo: Repo, actor: Actor) -> Response:
        found = self.hub.catalog.holdings.files(repo, FILES_MAX)
        sizes = {file.oid: file.size_bytes for file in found.files}
        files: list[dict[str, Any]] = [
            {"path": file.path, "oid": file.oid, "size": file.size_bytes} for file in found.files
        ]
        body: dict[str, Any] = {"logicalBytes": sum(sizes.values()), "files": files}
        truncated = found.truncated
        if actor.is_admin and actor.token_role != "fineGrained":
            truncated |= self._stored(body, files)
        return json_reply(body | {"truncated": truncated})

    def _stored(self, body: dict[str, Any], files: list[dict[str, Any]]) -> bool:
        """Add what the files take; whether some were left out, for there are too many tensors."""
        tally, looked = Tally(), 0
        seen: dict[str, dict[str, Any]] = {}
        xorbs = self.hub.catalog.holdings.xorbs({file["oid"] for file in files})
        cut = False
        for file in files:
            oid = file["oid"]
            if oid in seen:
                file |= seen[oid]
                continue
            cut = looked > TENSORS_MAX
            usage = None if cut else self.hub.store.usage(oid)
            if usage is None:
                continue
            looked += len(usage.tensors) + 1
            used = {}
            for name in xorbs.get(oid, ()) if "chunked" in usage.means else ():
                index = self.hub.store.xorb(name)
                used[name] = 0 if index is None else index.stored_bytes
            tally.add([0], oid, usage, used)
            own = usage.own_bytes + sum(usage.tensors.values()) + sum(used.values())
            seen[oid] = {"storedBytes": own, "means": usage.means}
            file |= seen[oid]
        total = tally.total()
        body |= {"storedBytes": total.stored_bytes, "means": total.means}
        return cut
