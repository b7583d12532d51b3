"""What every endpoint is built from, and who is asking.

    Hub           settings, catalog, store, signer, labelling: made once by `app.py`
    hub.actor(r)  the caller, from the Authorization header alone

A token in a query string is never looked at: addresses end up in logs.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from starlette.requests import Request

from headwater.catalog.actors import ANONYMOUS, Actor
from headwater.catalog.catalog import Catalog
from headwater.catalog.tokens import BAD_TOKEN
from headwater.errors import Unauthorized
from headwater.hub.labelling import Labelling
from headwater.hub.replies import base_url
from headwater.hub.signing import Signer
from headwater.settings import Settings
from headwater.store.store import Store

AUTHORIZATION_CHARS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Hub:
    settings: Settings
    catalog: Catalog
    store: Store
    signer: Signer
    labelling: Labelling = field(init=False)  # what is known of files; `app.py` lets it work

    def __post_init__(self) -> None:
        object.__setattr__(self, "labelling", Labelling(self.catalog, self.store))

    def actor(self, request: Request) -> Actor:
        """The caller: ANONYMOUS without a header, Unauthorized with one that does not hold.

        Reads the database: call it in a thread.
        """
        token = bearer(request)
        if token is None:
            if not self.settings.anonymous_read:
                raise Unauthorized("This hub is for its users only. Sign in with a token.")
            return ANONYMOUS
        return self.catalog.tokens.actor(token)

    def signed_in(self, request: Request, otherwise: str) -> Actor:
        """The caller; Unauthorized, in the words of `otherwise`, when it is nobody."""
        actor = self.actor(request)
        if actor.is_anonymous:
            raise Unauthorized(otherwise)
        return actor

    def cas_url(self, request: Request) -> str:
        """Where the CAS is for this client. Clients keep what they know of one by its address, so
        a store that lost something gets a new generation, and with it a new address."""
        return f"{base_url(request)}/cas/g{self.store.generation}"


def bearer(request: Request) -> str | None:
    """The token of the Authorization header: Bearer, or the password of Basic (git, git-lfs)."""
    values = request.headers.getlist("authorization")
    if not values:
        return None
    if len(values) > 1 or len(values[0]) > AUTHORIZATION_CHARS_MAX:
        raise Unauthorized(BAD_TOKEN)
    scheme, _, rest = values[0].partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(rest.strip(), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            raise Unauthorized(BAD_TOKEN) from None
        user, _, password = pair.partition(":")
        return password or user
    raise Unauthorized(BAD_TOKEN)
