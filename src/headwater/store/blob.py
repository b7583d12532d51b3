"""Blob: what the store says of one file's bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headwater.names import Digest, XetHash


@dataclass(frozen=True, slots=True)
class Blob:
    """Immutable bytes, named by their SHA-256, and how they lie at the moment."""

    oid: Digest
    size_bytes: int
    layout: Literal["plain", "chunked", "packed"]
    xet_hash: XetHash | None  # the Xet file hash, when it came as chunks and its recipe is kept
