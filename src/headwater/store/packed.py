"""The packed layout: a file kept as its spans, each a tensor kept once, or a few bytes inline.

    Packed.find(oid)                 the spans of a packed file; None when it is not packed
    Packed.read(file, start, stop)   verified and decoded, a frame at a time
    Packed.sound(oid)                the blob, if every byte of it still comes out right

Rows of 56 bytes: 32 BLAKE3 of the tensor (zeros: inline), u64 raw bytes, u64 XXH3-64 of the raw
bytes (inline), u32 bytes in the body, u16 codec, u16 zero. What is inline lies in the body, end to
end. Weights files are packed as they lie: their header is bytes like any other, so the same file
comes back whatever wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt
import xxhash

from headwater.codec import frames
from headwater.codec.elements import Element
from headwater.errors import Corrupt, HeadwaterError, Malformed
from headwater.names import Digest, TensorId
from headwater.store.containers import PACKED, ROW_BYTES, Container, Footer
from headwater.store.files import Temp, writing
from headwater.store.hashing import Sha256
from headwater.store.layout import Layout
from headwater.store.local_shelf import open_file
from headwater.store.tensors import Tensors

INLINE_BYTES_MAX = 256 * 2**10  # of one row: what a read of a byte must decode
NO_TENSOR = bytes(32)
_BYTES = Element(1, False)

ROW = np.dtype(
    [
        ("tensor", "V32"), ("raw_bytes", "<u8"), ("sum", "<u8"), ("bytes", "<u4"),
        ("codec", "<u2"), ("zero", "<u2"),
    ]
)  # fmt: skip
assert ROW.itemsize == ROW_BYTES[PACKED]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a packed file."""

    start: int
    stop: int
    tensor: TensorId | None  # None: inline


@dataclass(frozen=True, slots=True, eq=False)
class PackedFile:
    """One packed file, open."""

    oid: Digest
    table: npt.NDArray[np.void] = field(repr=False)
    raw_ends: npt.NDArray[np.int64] = field(repr=False)
    ends: npt.NDArray[np.int64] = field(repr=False)  # of what is inline, in the body
    box: Container = field(repr=False)

    @classmethod
    def of(cls, oid: Digest, box: Container) -> Self:
        """From an open container; Corrupt when its rows do not fit it."""
        table = np.frombuffer(box.index(), ROW)
        raw_ends = np.cumsum(table["raw_bytes"], dtype=np.int64)
        ends = np.cumsum(table["bytes"], dtype=np.int64)
        footer = box.footer
        size, inline = (int(x[-1]) if len(x) else 0 for x in (raw_ends, ends))
        if size != footer.raw_bytes or inline != footer.body_bytes or (table["zero"] != 0).any():
            raise box.corrupt("its spans do not fit its size")
        return cls(oid, table, raw_ends, ends, box)

    @property
    def size_bytes(self) -> int:
        return self.box.footer.raw_bytes

    @property
    def stored_bytes(self) -> int:
        """Of the container alone, without the tensors it names."""
        footer = self.box.footer
        return footer.body_bytes + footer.index_bytes + 128

    def spans(self) -> Iterator[Span]:
        """All of it, in order."""
        start = 0
        for raw, stop in zip(self.table["tensor"].tolist(), self.raw_ends.tolist(), strict=True):
            yield Span(start, stop, None if raw == NO_TENSOR else TensorId.of_raw(raw))
            start = stop

    def tensors(self) -> set[TensorId]:
        """Every tensor that it names."""
        raws = set(self.table["tensor"].tolist()) - {NO_TENSOR}
        return {TensorId.of_raw(raw) for raw in raws}


class Packed:
    """All packed files of a store."""

    def __init__(self, layout: Layout, tensors: Tensors) -> None:
        self._layout = layout
        self._tensors = tensors

    def footer(self, oid: Digest) -> Footer | None:
        """Its footer alone; None when the blob is not packed."""
        box = self._open(oid)
        if box is None:
            return None
        box.close()
        return box.footer

    def find(self, oid: Digest) -> PackedFile | None:
        """The packed file; None when the blob is not packed."""
        box = self._open(oid)
        return None if box is None else PackedFile.of(oid, box)

    def read(self, file: PackedFile, start: int, stop: int) -> Iterator[bytes | memoryview]:
        """Bytes `start` to `stop` of the file, every frame verified before it leaves."""
        number = int(np.searchsorted(file.raw_ends, start, "right"))
        while start < stop:
            end = int(file.raw_ends[number])
            row = file.table[number]
            begin = end - int(row["raw_bytes"])
            last = min(stop, end)
            raw = row["tensor"].tobytes()
            if raw == NO_TENSOR:
                yield self._inline(file, number)[start - begin : last - begin]
            else:
                yield from self._tensor(file, raw, end - begin, start - begin, last - begin)
            start = last
            number += 1

    def sound(self, oid: Digest) -> bool:
        """Whether it is packed and every byte of it comes out right: on disk, not in a cache."""
        return self.problem(oid) == ""

    def problem(self, oid: Digest) -> str | None:
        """Decode all of it: empty when it is right, else what is wrong; None when not packed."""
        fresh = Packed(self._layout, Tensors(self._layout))
        try:
            file = fresh.find(oid)
            if file is None:
                return None
            sha256 = Sha256()
            for piece in fresh.read(file, 0, file.size_bytes):
                sha256.update(piece)
        except HeadwaterError as error:
            return error.message
        got = sha256.digest()
        return "" if got == oid else f"its bytes have the SHA-256 {got}"

    def _inline(self, file: PackedFile, number: int) -> memoryview:
        row = file.table[number]
        size, taken = int(row["raw_bytes"]), int(row["bytes"])
        if size > INLINE_BYTES_MAX:
            raise file.box.corrupt(f"its span {number} is too long")
        payload = file.box.read(taken, int(file.ends[number]) - taken)
        try:
            raw = frames.decode(int(row["codec"]), memoryview(payload), _BYTES, size)
        except Malformed as error:
            raise file.box.corrupt(f"its span {number}: {error.message}") from error
        if xxhash.xxh3_64_intdigest(raw) != int(row["sum"]):
            raise file.box.corrupt(f"its span {number} does not match its checksum")
        return raw

    def _tensor(
        self, file: PackedFile, raw: bytes, size: int, start: int, stop: int
    ) -> Iterator[memoryview]:
        name = TensorId.of_raw(raw)
        tensor = self._tensors.open(name)
        if tensor is None:
            raise Corrupt(f"blob {file.oid} is damaged: its tensor {name} is missing")
        if tensor.raw_bytes != size:
            raise file.box.corrupt(f"its span is not as long as tensor {name}")
        yield from tensor.read(start, stop)
        tensor.close()

    def _open(self, oid: Digest) -> Container | None:
        key, what = self._layout.packed(oid), f"blob {oid}"
        return Container.open(self._layout.shelf, key, PACKED, bytes.fromhex(oid), what)


class PackedWriter:
    """The container of a packed file on its way in: spans in order, then `finish`."""

    def __init__(self, layout: Layout, oid: Digest) -> None:
        self._layout = layout
        self._oid = oid
        self._rows: list[tuple[bytes, int, int, int, int, int]] = []
        self._temp = Temp(layout.tmp, ".packed", f"blob {oid}")

    def add_tensor(self, name: TensorId, raw_bytes: int) -> None:
        """The next span is this tensor."""
        self._rows.append((name.raw, raw_bytes, 0, 0, 0, 0))

    def add_inline(self, raw: memoryview) -> None:
        """The next bytes, at most INLINE_BYTES_MAX of them, are kept here."""
        codec, payload = frames.encode(raw, _BYTES)
        sum_ = xxhash.xxh3_64_intdigest(raw)
        self._rows.append((NO_TENSOR, len(raw), sum_, len(payload), codec, 0))
        self._temp.write(payload)

    def close(self) -> int:
        """Everything was added: write index and footer; bytes of the container."""
        index = np.array(self._rows, ROW).tobytes()
        footer = Footer.of(
            PACKED,
            index,
            bytes.fromhex(self._oid),
            body_bytes=self._temp.size_bytes,
            raw_bytes=sum(row[1] for row in self._rows),
        )
        self._temp.write(index, footer.pack())
        return self._temp.size_bytes

    def reopen(self) -> PackedFile:
        """What was written, as a reader sees it, before it is published."""
        what = f"blob {self._oid}"
        with writing(what):
            source = open_file(self._temp.path)
        box = Container.of(source, PACKED, bytes.fromhex(self._oid), what)
        return PackedFile.of(self._oid, box)

    def publish(self) -> None:
        """Durable when it returns."""
        self._temp.publish(self._layout.shelf, self._layout.packed(self._oid))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._temp.drop()
