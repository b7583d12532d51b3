"""Who counts as one caller in the download figures: a user, or a network."""

from __future__ import annotations

import ipaddress

from starlette.requests import Request

from headwater.catalog.actors import Actor


def caller_of(request: Request, actor: Actor) -> str:
    """The signed-in user; else the peer's network: one household or office is one caller. The
    catalog keeps neither, only a keyed hash for two days."""
    if actor.hub_id:
        return actor.hub_id
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 6:
        return str(ipaddress.ip_network(f"{address}/64", strict=False))
    return str(address)
