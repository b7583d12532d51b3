"""Access tokens of the CAS: who calls, for which repo, and whether that still holds.

    token(access)              for the routes that hand them out
    reader(request)            may read the bytes of the token's repo
    writer(request)            may still upload as the token says
    asker(request)             either: may ask which chunks are here already
    signed(purpose, token)     an address with a right of its own, made by `sign`

A token names a person, one of their hub tokens and a repo; it holds no right. Every call looks up
what these may do at that moment (safety rule T5), so a revoked token, a lost membership or a closed
repo ends the access at the next call and not an hour later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from starlette.requests import Request

from headwater.catalog.actors import Actor
from headwater.catalog.models import Repo
from headwater.errors import Forbidden, NotFound, Unauthorized
from headwater.hub.context import Hub, bearer
from headwater.hub.holders import holder, mark
from headwater.hub.routing import Params

TokenVerb = Literal["bytes", "propose", "write"]
TTL_S_MIN = 120  # clients renew a minute early: a shorter life would be renewed at every call
_GENERATION = re.compile(r"g[0-9]{1,9}\Z")
_READ, _WRITE = "xet-read", "xet-write"


@dataclass(frozen=True, slots=True)
class Access:
    """Who calls, with the rights of today, and the repo that their token is for."""

    actor: Actor
    repo: Repo
    verb: TokenVerb


class XetAccess:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    @property
    def ttl_s(self) -> int:
        return max(self.hub.settings.xet_token_ttl_s, TTL_S_MIN)

    def token(self, access: Access) -> str:
        """A token with which one reads ("bytes") or uploads ("propose", "write")."""
        return self.sign(_READ if access.verb == "bytes" else _WRITE, access, self.ttl_s)

    def sign(self, purpose: str, access: Access, ttl_s: int, **more: Any) -> str:
        """A token that stands for `access`, with `more` in it."""
        actor = access.actor
        payload = {**mark(actor), "repo": access.repo.id, "verb": access.verb, **more}
        return self.hub.signer.sign(purpose, payload, ttl_s)

    def signed(self, purpose: str, token: str) -> tuple[Access, dict[str, Any]]:
        """What `sign` was given. Forbidden, or what has become of the right since."""
        payload = self.hub.signer.open(purpose, token)
        return self._access(payload, payload["verb"]), payload

    def reader(self, request: Request) -> Access:
        """Unauthorized, or what `rights.demand` raises."""
        payload = self._opened(request, _READ, _WRITE)
        return self._access(payload, "bytes")

    def writer(self, request: Request) -> Access:
        """Unauthorized, Forbidden for a read token, or what `rights.demand` raises."""
        payload = self._opened(request, _WRITE, _READ)
        if payload["verb"] == "bytes":
            raise Forbidden("This access token only reads. Ask for one at xet-write-token.")
        return self._access(payload, payload["verb"])

    def asker(self, request: Request) -> Access:
        """As `reader` with a read token, as `writer` with a write token."""
        payload = self._opened(request, _WRITE, _READ)
        return self._access(payload, payload["verb"])

    def current(self, params: Params) -> None:
        """NotFound unless the address is of the store as it is now: what a client remembers of an
        older one is no longer here."""
        if params["generation"] != f"g{self.hub.store.generation}":
            raise NotFound("This address is of an earlier store. Ask for a new access token.")

    def any_generation(self, params: Params) -> None:
        """NotFound unless the address is of this store, maybe of an earlier day."""
        if not _GENERATION.match(params["generation"]):
            raise NotFound("No such address on this hub. Check the spelling.")

    def _opened(self, request: Request, *purposes: str) -> dict[str, Any]:
        token = bearer(request)
        for purpose in purposes if token else ():
            try:
                return self.hub.signer.open(purpose, token or "")
            except Forbidden:
                continue
        raise Unauthorized("No valid Xet access token. Ask for one at xet-read-token.")

    def _access(self, payload: dict[str, Any], verb: TokenVerb) -> Access:
        actor = holder(self.hub, payload)
        return Access(actor, self.hub.catalog.repos.by_id(actor, payload["repo"], verb), verb)
