"""git-lfs pointers: the small text that stands in git for a large file.

    encode_pointer(oid, size_bytes) -> bytes
    parse_pointer(data) -> (oid, size_bytes) | None

Format: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md, version 1. Only the canonical
form is a pointer: a text that is merely like one is a file of its own, and is served as it came.
"""

from __future__ import annotations

import re

from headwater.names import Digest

POINTER_BYTES_MAX = 200  # the canonical form takes at most 150; git-lfs itself reads up to 1024
SIZE_BYTES_MAX = 2**63 - 1  # git-lfs keeps sizes in a signed 64-bit integer

_CANONICAL = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n"
    rb"oid sha256:([0-9a-f]{64})\n"
    rb"size (0|[1-9][0-9]{0,18})\n"
)


def encode_pointer(oid: Digest, size_bytes: int) -> bytes:
    """The canonical pointer: its git blob id is the same wherever it is made."""
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size_bytes}\n"
    ).encode("ascii")


def parse_pointer(data: bytes) -> tuple[Digest, int] | None:
    """Oid and size in bytes, or None when `data` is anything but a canonical pointer."""
    found = _CANONICAL.fullmatch(data) if len(data) <= POINTER_BYTES_MAX else None
    if not found or int(found[2]) > SIZE_BYTES_MAX:
        return None
    return Digest(found[1].decode("ascii")), int(found[2])
