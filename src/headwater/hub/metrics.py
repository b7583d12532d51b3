"""`GET /metrics`, for Prometheus.

Who may look: an admin's token; with `metrics_loopback`, also whoever asks from this machine.
"""

from __future__ import annotations

import ipaddress

from starlette.requests import Request
from starlette.responses import Response

from headwater.errors import Forbidden
from headwater.hub.context import Hub
from headwater.hub.meter import CONTENT_TYPE_LATEST, exposition
from headwater.hub.replies import client_host
from headwater.hub.routing import Params, Route


class MetricsRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        return [Route("GET", "/metrics", self.show, "admin")]

    def show(self, request: Request, params: Params) -> Response:
        if not (self.hub.settings.metrics_loopback and _is_loopback(client_host(request))):
            actor = self.hub.signed_in(request, "Sign in with an admin's token to see the metrics.")
            if not actor.is_admin or actor.token_role == "fineGrained":
                raise Forbidden("The metrics are for admins of this hub.")
        return Response(exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
