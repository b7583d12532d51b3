"""Which repo, which revision: what almost every route begins with."""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request

from headwater.catalog.actors import Actor
from headwater.catalog.models import Repo
from headwater.catalog.rights import Verb
from headwater.errors import NotFound
from headwater.hub.context import Hub
from headwater.hub.pages import flag
from headwater.hub.templates import Params
from headwater.names import RepoType

ME = "me"  # in an address: the namespace of the caller


def type_of(params: Params) -> RepoType:
    """The type that the address names, `/api/datasets/…` or `/datasets/…`."""
    found: RepoType = params["T"] if "T" in params else params["prefix"]
    return found


def repo_of(hub: Hub, actor: Actor, params: Params, verb: Verb = "see") -> Repo:
    """The repo that the address names, if the actor has this right."""
    return hub.catalog.repos.find(actor, type_of(params), params["id"], verb)


def publish_verb(request: Request, params: Params) -> Literal["propose", "write"]:
    """The right to begin publishing to `{rev}`: for a pull request, new (`?create_pr=1`) or one's
    own, less is needed; `commits.apply` looks closer."""
    is_pr = flag(request, "create_pr") or params["rev"].startswith("refs/pr/")
    return "propose" if is_pr else "write"


def bucket_name(actor: Actor, params: Params) -> str:
    """`namespace/name` of the bucket that the address names."""
    namespace = params["namespace"]
    if namespace == ME:
        if actor.is_anonymous:
            raise NotFound("'me' is the namespace of whoever signed in; write namespace/name")
        namespace = actor.name
    return f"{namespace}/{params['name']}"
