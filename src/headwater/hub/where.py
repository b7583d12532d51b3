"""Which repo, which revision: what almost every route begins with."""

from __future__ import annotations

from headwater.catalog.actors import Actor
from headwater.catalog.models import Repo
from headwater.catalog.rights import Verb
from headwater.hub.context import Hub
from headwater.hub.templates import Params
from headwater.names import RepoType


def type_of(params: Params) -> RepoType:
    """The type that the address names, `/api/datasets/…` or `/datasets/…`."""
    found: RepoType = params["T"] if "T" in params else params["prefix"]
    return found


def repo_of(hub: Hub, actor: Actor, params: Params, verb: Verb = "see") -> Repo:
    """The repo that the address names, if the actor has this right."""
    return hub.catalog.repos.find(actor, type_of(params), params["id"], verb)
