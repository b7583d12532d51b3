"""Who stands behind an address or token that the hub itself signed.

    mark(actor)            what is signed: the person and the token that they came with
    holder(hub, payload)   that person with the rights of now; Unauthorized when the token ended

A signed address names its holder and holds no right (safety rule T5): a token that is revoked, or
runs out, ends every address that was made for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater.catalog.actors import ANONYMOUS, Actor
from headwater.errors import Unauthorized
from headwater.hub.context import Hub


def mark(actor: Actor) -> dict[str, Any]:
    if actor.user_id is None:
        return {"user": None}
    return {"user": actor.user_id, "token": actor.token_name, "made": actor.token_created_ms}


def holder(hub: Hub, payload: Mapping[str, Any]) -> Actor:
    """Reads the database: call it in a thread."""
    if payload["user"] is None:
        if not hub.settings.anonymous_read:
            raise Unauthorized("This hub is for its users only. Sign in with a token.")
        return ANONYMOUS
    return hub.catalog.tokens.actor_named(payload["user"], payload["token"], payload["made"])
