"""The table: every route of the hub, with the right that it demands.

Each room below lists its own rows; docs/protocol.md shows them all (a test compares the two).
"""

from __future__ import annotations

from headwater.hub.commits import CommitRoutes
from headwater.hub.context import Hub
from headwater.hub.discussions import DiscussionRoutes
from headwater.hub.identity import Identity
from headwater.hub.lfs import LfsRoutes
from headwater.hub.owned import OwnedRoutes
from headwater.hub.refs import RefRoutes
from headwater.hub.repos import RepoRoutes
from headwater.hub.resolve import ResolveRoutes
from headwater.hub.routing import Route
from headwater.hub.tree import TreeRoutes
from headwater.hub.xet_routes import xet_routes


def table(hub: Hub) -> list[Route]:
    """All rows; the first that matches answers."""
    rooms = (
        Identity(hub),
        RepoRoutes(hub),
        TreeRoutes(hub),
        RefRoutes(hub),
        CommitRoutes(hub),
        DiscussionRoutes(hub),
        OwnedRoutes(hub),
        LfsRoutes(hub),
        ResolveRoutes(hub),
    )
    return [row for room in rooms for row in room.routes()] + xet_routes(hub)
