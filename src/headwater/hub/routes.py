"""The table: every route of the hub, with the right that it demands.

Each room below lists its own rows; docs/protocol.md shows them all (a test compares the two).
"""

from __future__ import annotations

from headwater.hub.access import AccessRoutes
from headwater.hub.attachments import AttachmentRoutes
from headwater.hub.bucket_events import BucketEventRoutes
from headwater.hub.buckets import BucketRoutes
from headwater.hub.collections import CollectionRoutes
from headwater.hub.commits import CommitRoutes
from headwater.hub.compare import CompareRoutes
from headwater.hub.context import Hub
from headwater.hub.discussion_changes import DiscussionChangeRoutes
from headwater.hub.discussions import DiscussionRoutes
from headwater.hub.git_http import GitRoutes
from headwater.hub.headers import HeaderRoutes
from headwater.hub.identity import Identity
from headwater.hub.lfs import LfsRoutes
from headwater.hub.lineage import LineageRoutes
from headwater.hub.metrics import MetricsRoutes
from headwater.hub.oauth import OAuthRoutes
from headwater.hub.openapi import contract
from headwater.hub.owned import OwnedRoutes
from headwater.hub.people import PeopleRoutes
from headwater.hub.refs import RefRoutes
from headwater.hub.repo_ops import RepoOpsRoutes
from headwater.hub.repos import RepoRoutes
from headwater.hub.resolve import ResolveRoutes
from headwater.hub.routing import Route
from headwater.hub.search import SearchRoutes
from headwater.hub.storage import StorageRoutes
from headwater.hub.tree import TreeRoutes
from headwater.hub.webhooks import WebhookRoutes
from headwater.hub.xet_routes import xet_routes


def table(hub: Hub) -> list[Route]:
    """All rows; the first that matches answers."""
    rooms = (
        Identity(hub),
        RepoRoutes(hub),
        SearchRoutes(hub),
        RepoOpsRoutes(hub),
        StorageRoutes(hub),
        LineageRoutes(hub),
        TreeRoutes(hub),
        PeopleRoutes(hub),
        CollectionRoutes(hub),
        RefRoutes(hub),
        CommitRoutes(hub),
        DiscussionRoutes(hub),
        DiscussionChangeRoutes(hub),
        CompareRoutes(hub),
        AttachmentRoutes(hub),
        OwnedRoutes(hub),
        BucketRoutes(hub),
        BucketEventRoutes(hub),
        AccessRoutes(hub),
        OAuthRoutes(hub),
        WebhookRoutes(hub),
        LfsRoutes(hub),
        GitRoutes(hub),
        ResolveRoutes(hub),
        HeaderRoutes(hub),
        MetricsRoutes(hub),
    )
    rows = [row for room in rooms for row in room.routes()] + xet_routes(hub)
    return [*rows, contract(rows)]
