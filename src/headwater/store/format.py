"""FORMAT: which format a store is of, and its generation; the one file that is not a container.

generation_of(layout)   read, or written in a store that is still empty
upgrade(layout, …)      before the first packed file: from then on an older release refuses it
"""

from __future__ import annotations

import json

from headwater.errors import Refused
from headwater.store.files import Temp
from headwater.store.layout import Layout

FORMAT = 2
FORMATS = (1, 2)  # a store is of the first until something is packed in it
TOPS = ("blobs", "xorbs", "tensors")  # below these lies what is published


def generation_of(layout: Layout) -> int:
    """The store's generation. Refused when FORMAT is of a newer release, cannot be read, or is
    missing where blobs are."""
    shelf, where = layout.shelf, f"{layout.shelf.where}/FORMAT"
    # Looked at first: whatever another process stores now, it has written FORMAT before.
    empty = shelf.empty(TOPS)
    try:
        text = _read(layout)
        if text is None:
            if not empty:
                raise Refused(f"{shelf.where} holds blobs but no FORMAT; restore that file")
            text = _text(FORMATS[0], 1)
            if not shelf.create("FORMAT", text):
                text = _read(layout) or b""  # another process was faster
        fields = json.loads(text)
        version, generation = int(fields["format"]), int(fields["generation"])
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{where} cannot be read ({error}); restore that file") from error
    if version not in FORMATS:
        raise Refused(f"{where} says format {version}; this Headwater reads up to {FORMAT}")
    return generation


def upgrade(layout: Layout, generation: int) -> None:
    """Make the store one of this release's format, durably; nothing when it is."""
    if json.loads(_read(layout) or b"{}").get("format") != FORMAT:
        with Temp(layout.tmp, ".format", "FORMAT") as temp:
            temp.write(_text(FORMAT, generation))
            temp.publish(layout.shelf, "FORMAT")


def _text(version: int, generation: int) -> bytes:
    return json.dumps({"format": version, "generation": generation}).encode("ascii") + b"\n"


def _read(layout: Layout) -> bytes | None:
    source = layout.shelf.open("FORMAT")
    if source is None:
        return None
    try:
        return source.pread(source.size_bytes, 0)
    finally:
        source.close()
