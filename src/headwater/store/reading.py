"""Blobs, whatever layout they have at the moment.

Reading.find(oid)                the blob; None when there is none
Reading.read(oid, start, stop)   its bytes, verified, even if its layout changes meanwhile
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from headwater.errors import Corrupt, NotFound, RangeNotSatisfiable
from headwater.names import Digest, XetHash
from headwater.store.blob import Blob
from headwater.store.chunked import Recipes
from headwater.store.recipe import ChunkedFile
from headwater.store.solid import Solid, SolidBlob
from headwater.store.steady import steady

# Plain, packed, chunked are looked for in turn; a blob unpacked between the first two looks is met
# by the second round.
LOOKS = 2

Pieces = Iterator[bytes | memoryview]


class Reading:
    """All blobs of a store. `warm` is told of each whole read of a blob that had to be decoded."""

    def __init__(
        self, solid: Solid, recipes: Recipes, warm: Callable[[Digest, int], object]
    ) -> None:
        self._solid = solid
        self._recipes = recipes
        self._warm = warm

    def find(self, oid: Digest) -> Blob | None:
        """See `Store.find`."""
        for _ in range(LOOKS):
            if blob := self._find(oid):
                return blob
        return None

    def _find(self, oid: Digest) -> Blob | None:
        solid = self._solid.open(oid)
        footer = None
        if solid is None or solid.layout == "packed":
            with suppress(*([Corrupt] if solid is not None else [])):  # its bytes do not need it
                footer = self._recipes.footer(oid)
        xet_hash = None if footer is None else XetHash.of_raw(footer.other)
        if solid is not None:
            solid.close()
            return Blob(oid, solid.size_bytes, solid.layout, xet_hash)
        return None if footer is None else Blob(oid, footer.raw_bytes, "chunked", xet_hash)

    def read(self, oid: Digest, start: int, stop: int | None) -> Pieces:
        """See `Store.read`."""
        return steady(lambda at: self._read(oid, at, stop), start)

    def _read(self, oid: Digest, start: int, stop: int | None) -> Pieces:
        kept = self._open(oid)
        size_bytes = kept.size_bytes
        stop = size_bytes if stop is None else min(stop, size_bytes)
        if not 0 <= start <= size_bytes:
            raise RangeNotSatisfiable(
                f"byte {start} is not in blob {oid} of {size_bytes} bytes", size_bytes=size_bytes
            )
        if isinstance(kept, ChunkedFile):
            return self._recipes.read(kept, start, stop)
        if kept.cold and (start, stop) == (0, size_bytes):
            self._warm(oid, size_bytes)
        return kept.read(start, stop)

    def _open(self, oid: Digest) -> SolidBlob | ChunkedFile:
        for _ in range(LOOKS):
            kept = self._solid.open(oid) or self._recipes.find(oid)
            if kept is not None:
                return kept
        raise NotFound(f"no blob {oid}")
