"""Time, as the catalog keeps it: whole milliseconds since 1970, UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def iso(at_ms: int) -> str:
    """`2026-01-01T00:00:00.000Z`, the one form that every client version parses."""
    return f"{_second(at_ms // 1000)}.{at_ms % 1000:03d}Z"


@lru_cache(8192)  # a page of a listing shows some thousand times, most of them again and again
def _second(at_s: int) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%S}"


def day_of(at_ms: int) -> int:
    """Days since 1970: the grain of the download counts."""
    return at_ms // 86_400_000
