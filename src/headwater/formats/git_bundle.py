"""Git bundles: refs and a pack in one file, which `git clone` takes as it is.

    bundle_head(refs)             what stands before the pack
    read_bundle_head(file)        refs by name; the file then stands at the pack

Format: gitformat-bundle(5), version 2, without prerequisites: the whole history is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import BinaryIO

from headwater.errors import Malformed
from headwater.names import shown

MAGIC = b"# v2 git bundle\n"
REFS_MAX = 25_000  # some more than a repo may have
_LINE_BYTES_MAX = 400
_LINE = re.compile(r"([0-9a-f]{40}) ([^\x00-\x20\x7f]+)\n")


def bundle_head(refs: Iterable[tuple[str, str]]) -> bytes:
    """`refs` are (name, object id)."""
    return MAGIC + "".join(f"{oid} {name}\n" for name, oid in refs).encode() + b"\n"


def read_bundle_head(file: BinaryIO) -> dict[str, str]:
    """Object ids by ref name. Malformed for anything that `bundle_head` does not write."""
    if file.readline(len(MAGIC)) != MAGIC:
        raise Malformed("a git history does not begin as a git bundle")
    refs: dict[str, str] = {}
    while (raw := file.readline(_LINE_BYTES_MAX)) != b"\n":
        found = _LINE.fullmatch(raw.decode("utf-8", "replace"))
        if found is None:
            raise Malformed(f"a line of a git bundle is no ref: {shown(raw)}")
        if found[2] in refs or len(refs) == REFS_MAX:
            raise Malformed(f"a git bundle has {shown(found[2])} twice, or over {REFS_MAX} refs")
        refs[found[2]] = found[1]
    return refs
