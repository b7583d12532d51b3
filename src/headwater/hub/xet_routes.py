"""Xet: the rows of the CAS and of the token routes, put together.

    xet_access      who calls, and what they may do now
    xet_tokens      the way in
    xet_upload      dedup query, xorbs, grants
    xet_shards      shards and their events; xet_intake checks them
    xet_read        reconstructions and data; reconstruct computes them

The CAS lies under `/cas/g{N}`, N being the store's generation: clients keep what they know of a CAS
by its address, and a new N makes all of them forget. Older clients use other paths for the same
calls; every one of them has its row.
"""

from __future__ import annotations

from headwater.hub.context import Hub
from headwater.hub.routing import Route
from headwater.hub.xet_access import XetAccess
from headwater.hub.xet_read import ReadRoutes
from headwater.hub.xet_shards import ShardRoutes
from headwater.hub.xet_tokens import TokenRoutes
from headwater.hub.xet_upload import UploadRoutes


def xet_routes(hub: Hub) -> list[Route]:
    """All routes of the Xet protocol, each with the right it asks for."""
    access = XetAccess(hub)
    return [
        *TokenRoutes(hub, access).routes(),
        *UploadRoutes(hub, access).routes(),
        *ShardRoutes(hub, access).routes(),
        *ReadRoutes(hub, access).routes(),
    ]
