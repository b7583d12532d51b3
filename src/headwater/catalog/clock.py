"""Time, as the catalog keeps it: whole milliseconds since 1970, UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def iso(at_ms: int) -> str:
    """`2026-01-01T00:00:00.000Z`, the one form that every client version parses."""
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def day_of(at_ms: int) -> int:
    """Days since 1970: the grain of the download counts."""
    return at_ms // 86_400_000
