"""Blocking work off the event loop: one door, one limit.

The catalog and the store are synchronous. Everything that calls them runs in these threads; the
limit bounds memory and database connections together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

THREADS_MAX = 32  # below the catalog's connection pool, so that no thread waits for a connection

P = ParamSpec("P")
T = TypeVar("T")
_limiter: anyio.CapacityLimiter | None = None


def limiter() -> anyio.CapacityLimiter:
    """The process's one limiter, made on first use inside the running loop."""
    global _limiter  # noqa: PLW0603
    if _limiter is None:
        _limiter = anyio.CapacityLimiter(THREADS_MAX)
    return _limiter


async def run(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a blocking function in a thread and wait for it."""
    return await anyio.to_thread.run_sync(partial(function, *args, **kwargs), limiter=limiter())
