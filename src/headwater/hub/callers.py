"""Who counts as one caller in the download figures: a user, or a network."""

from __future__ import annotations

import ipaddress

from starlette.requests import Request

from headwater.catalog.actors import Actor
from headwater.hub.replies import client_host


def caller_of(request: Request, actor: Actor) -> str:
    """The signed-in user; else the peer's network: one household or office is one caller. The
    catalog keeps neither, only a keyed hash for two days."""
    if actor.hub_id:
        return actor.hub_id
    return network_of(client_host(request))


def network_of(host: str) -> str:
    """The network that counts as one household: of IPv6 the first half of the address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.version == 6:
        return str(ipaddress.ip_network(f"{address}/64", strict=False))
    return str(address)
