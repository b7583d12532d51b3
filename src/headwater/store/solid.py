"""Solid blobs: those whose bytes lie here without any xorb, plain or packed (or packed and hot).

    Solid.open(oid)     the blob, open; None when it is not solid
    SolidBlob.read      bytes of it, verified, in pieces

A xorb whose chunks are read out of a blob needs that blob to be solid: never a recipe of chunks,
which could lead back to the xorb.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from headwater.errors import Corrupt
from headwater.names import Digest
from headwater.store.containers import Container
from headwater.store.hot import Hot
from headwater.store.layout import Layout
from headwater.store.packed import Packed, PackedFile
from headwater.store.plain import open_plain, read_plain
from headwater.store.tensors import Tensors

Pieces = Iterator[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class SolidBlob:
    """One blob, open: what was opened stays readable when its layout changes."""

    size_bytes: int
    layout: Literal["plain", "packed"]
    cold: bool  # every read of it decodes
    read: Callable[[int, int], Pieces] = field(repr=False)
    close: Callable[[], None] = field(repr=False)


class Solid:
    """All solid blobs of a store. Without `hot`, nothing decoded earlier is believed."""

    def __init__(self, layout: Layout, hot: Hot | None = None) -> None:
        self._layout = layout
        self._hot = hot
        self.tensors = Tensors(layout)
        self.packed = Packed(layout, self.tensors)

    def fresh(self) -> Solid:
        """The same without anything cached."""
        return Solid(self._layout)

    def open(self, oid: Digest) -> SolidBlob | None:
        """The blob; None when it is not here, or only as chunks. Corrupt for a damaged footer."""
        box = open_plain(self._layout, oid)
        if box is not None:
            plain = box
            size = plain.footer.raw_bytes
            return SolidBlob(
                size, "plain", False, lambda a, b: read_plain(plain, a, b), plain.close
            )
        found = self.packed.find(oid)
        if found is None:
            return None
        file = found  # for the functions below
        hot = self._hot.open(oid) if self._hot is not None else None
        if hot is None:
            return SolidBlob(
                file.size_bytes,
                "packed",
                True,
                lambda a, b: self.packed.read(file, a, b),
                file.box.close,
            )

        def close() -> None:
            hot.close()
            file.box.close()

        def read(start: int, stop: int) -> Pieces:
            return self._read_hot(hot, file, start, stop)

        return SolidBlob(file.size_bytes, "packed", False, read, close)

    def read(self, oid: Digest, start: int, stop: int) -> Pieces | None:
        """Bytes `start` to `stop`; None when the blob is not solid."""
        blob = self.open(oid)
        return None if blob is None else blob.read(start, stop)

    def _read_hot(self, hot: Container, file: PackedFile, start: int, stop: int) -> Pieces:
        """The decoded copy; from where it turns out to be damaged, the packed file."""
        try:
            for piece in read_plain(hot, start, stop):
                yield piece
                start += len(piece)
        except Corrupt:
            assert self._hot is not None, "it was opened by it"
            self._hot.drop(file.oid)
            yield from self.packed.read(file, start, stop)
