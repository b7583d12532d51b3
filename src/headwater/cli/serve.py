"""`headwater serve`: the hub, from nothing to ready in one command."""

from __future__ import annotations

import os
from typing import Annotated

import typer
import uvicorn

from headwater.app import build
from headwater.cli.common import Data
from headwater.hub import meter
from headwater.hub.connection import Connection
from headwater.settings import ENV_PREFIX, Settings, load

STOP_S = 30  # running requests get this long to finish after SIGTERM
BACKLOG = 2048
ADMIN = "admin"


def serve(
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Server processes.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Serve the hub. The first start makes the data folder and an admin, its token shown once."""
    settings = load(
        {"data": data, "host": host, "port": port, "workers": workers, "log_level": log_level}
    )
    _first_start(settings)
    # Worker processes load their settings anew: hand them what the command line said.
    for name in ("data", "host", "port", "workers", "log_level"):
        os.environ[ENV_PREFIX + name.upper()] = str(getattr(settings, name))
    if settings.workers > 1:
        meter.share(settings.data / "metrics")
    print(
        f"Headwater at http://{settings.host}:{settings.port}  (data: {settings.data})", flush=True
    )
    uvicorn.run(
        "headwater.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http=Connection,
        lifespan="on",
        access_log=False,
        log_level=settings.log_level,
        server_header=False,
        proxy_headers=False,  # hub/replies.py believes them only from trusted_proxies
        timeout_graceful_shutdown=STOP_S,
        timeout_keep_alive=30,
        backlog=BACKLOG,
    )


def _first_start(settings: Settings) -> None:
    floors = build(settings)
    try:
        if floors.catalog.accounts.count() == 0:
            floors.catalog.accounts.create(ADMIN, "user", fullname="Admin", is_admin=True)
            token = floors.catalog.tokens.create(ADMIN, "first", "write")
            print(f"First start: user {ADMIN!r} made. Its token, shown this once:\n\n    {token}\n")
    finally:
        floors.close()
