"""`headwater worker`: background work in a process of its own, on this machine or another."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from headwater.app import build
from headwater.cli.common import Data
from headwater.settings import load
from headwater.work.work import Work


def worker(
    data: Data = None,
    threads: Annotated[int | None, typer.Option(help="Jobs at once.")] = None,
) -> None:
    """Run background jobs until SIGTERM. `headwater serve` does so too, with its setting
    job_threads above 0; on PostgreSQL workers may run on other machines."""
    settings = load({"data": data, "job_threads": threads})
    floors = build(settings)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    work = Work(settings, floors.catalog, floors.store)
    try:
        work.start()
        print(f"Headwater worker, {settings.job_threads} jobs at once", flush=True)
        stopping.wait()
    finally:
        work.stop()
        floors.close()
