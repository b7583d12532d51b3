"""GGUF headers: what a file says of its model, read within bounds and without believing it.

    read_gguf(read, size_bytes) -> GgufHeader

Versions 1 to 3, both byte orders. Format: magic, version, counts; key-value pairs; tensor infos;
padding to `general.alignment`; data. Every count is held against the bytes that are there before
anything is made of it, at most a megabyte is held at a time, and the steps are counted, so that a
file of 49 bytes that promises 2^60 strings costs nothing. Only what the loader could use is valid:
offsets aligned, inside the file and apart from each other, sizes that fit in 63 bits.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from headwater.errors import Malformed, TooLarge
from headwater.formats.gguf_types import FILE_TYPES, TENSOR_TYPES
from headwater.names import shown

HEADER_BYTES_MAX = 64 * 2**20  # a vocabulary of 256,000 words takes about 10 MB
STEPS_MAX = 1_500_000  # strings and values walked over; the largest vocabularies have 600,000
PAIRS_MAX = 4_096  # real files have some dozens
TENSORS_MAX = 65_536  # real files have up to a few thousand
KEY_BYTES_MAX = 65_535  # the format's own bound
STRING_BYTES_MAX = 2**20  # of one value; a chat template has some KiB
KEPT_CHARS_MAX = 65_536  # of a text that is handed on
NAME_BYTES_MAX = 64  # of a tensor, the loader's own bound
DIMS_MAX = 4
DEPTH_MAX = 4  # arrays in arrays
ALIGNMENT_DEFAULT = 32
ALIGNMENT_MAX = 2**20  # real files have 32; a page at most makes sense
WINDOW_BYTES = 2**20
_I64_MAX = 2**63 - 1

Order = Literal["little", "big"]
_MAGIC = b"GGUF"
_STRING, _ARRAY, _BOOL, _U32 = 8, 9, 7, 4
_SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_SIZES = {kind: struct.calcsize("<" + code) for kind, code in _SCALARS.items()}


class GgufTensor(NamedTuple):
    """One tensor. `start` and `stop` are byte offsets in the file."""

    name: str
    type: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """A valid header. Texts are as written, cut to `KEPT_CHARS_MAX`: escape them."""

    version: int
    order: Order
    tensors: tuple[GgufTensor, ...]
    parameters: int  # elements of all tensors
    architecture: str | None
    name: str | None
    file_type: str | None  # the quantisation as llama.cpp spells it, e.g. Q4_K_M
    context_length: int | None
    chat_template: str | None
    header_bytes: int  # here the data begins
    heads: int | None = None  # of attention: llama.cpp's converter reorders rows by them
    kv_heads: int | None = None


@dataclass(slots=True)
class _Reader:
    """A cursor over the header with one window of bytes behind it, and a count of its steps."""

    read: Callable[[int, int], bytes]
    size_bytes: int
    order: Order = "little"
    at: int = 0
    steps: int = 0
    window: bytes = b""
    window_at: int = field(default=0)

    def step(self, number: int = 1) -> None:
        self.steps += number
        if self.steps > STEPS_MAX:
            raise TooLarge(f"more than {STEPS_MAX} values before the data")

    def skip(self, count: int) -> None:
        self._demand(count)
        self.at += count

    def take(self, count: int) -> bytes:
        """The next `count` bytes, at most a window's worth."""
        start = self.at - self.window_at
        if start < 0 or start + count > len(self.window):
            self._demand(count)
            stop = min(self.at + max(count, WINDOW_BYTES), self.size_bytes)
            self.window, self.window_at, start = self.read(self.at, stop), self.at, 0
            if len(self.window) < count:
                raise Malformed(f"truncated at byte {self.at}")
        self.at += count
        return self.window[start : start + count]

    def _demand(self, count: int) -> None:
        if self.at + count > self.size_bytes:
            raise Malformed(f"truncated: {count} bytes at {self.at} of {self.size_bytes}")
        if self.at + count > HEADER_BYTES_MAX:
            raise TooLarge(f"a header of over {HEADER_BYTES_MAX} bytes")

    def number(self, bytes_: int) -> int:
        return int.from_bytes(self.take(bytes_), self.order)


class _Parser:
    def __init__(self, reader: _Reader) -> None:
        self.reader = reader
        self.version = 0
        self.wide = 8  # bytes of a count: version 1 had four
        self.pairs: dict[str, Any] = {}

    def header(self) -> GgufHeader:
        reader = self.reader
        if reader.take(4) != _MAGIC:
            raise Malformed("the magic bytes are not GGUF")
        self._version()
        tensors = self._count("tensors", TENSORS_MAX, 2 * self.wide + 9)
        pairs = self._count("key-value pairs", PAIRS_MAX, self.wide + 5)
        for _ in range(pairs):
            self._pair()
        alignment = self._alignment()
        infos = [self._info() for _ in range(tensors)]
        data_at = -(-reader.at // alignment) * alignment
        placed = _placed(infos, data_at, alignment, reader.size_bytes)
        architecture = self._text("general.architecture")
        return GgufHeader(
            self.version,
            reader.order,
            placed,
            sum(elements for _, _, _, elements, _, _ in infos),
            architecture,
            self._text("general.name"),
            FILE_TYPES.get(self._whole("general.file_type") or 0)
            if "general.file_type" in self.pairs
            else None,
            self._whole(f"{architecture}.context_length"),
            self._text("tokenizer.chat_template"),
            data_at,
            self._whole(f"{architecture}.attention.head_count"),
            self._whole(f"{architecture}.attention.head_count_kv"),
        )

    def _version(self) -> None:
        reader = self.reader
        raw = reader.take(4)
        version = int.from_bytes(raw, "little")
        if version & 0xFFFF == 0:  # written by a machine of the other byte order
            reader.order = "big"
            version = int.from_bytes(raw, "big")
        if version not in (1, 2, 3):
            raise Malformed(f"version {version}; 1, 2 and 3 are known")
        self.version = version
        self.wide = 4 if version == 1 else 8

    def _count(self, what: str, most: int, each_bytes_min: int) -> int:
        count = self.reader.number(self.wide)
        if count * each_bytes_min > self.reader.size_bytes - self.reader.at:
            raise Malformed(f"{count} {what} in a file of {self.reader.size_bytes} bytes")
        if count > most:
            raise TooLarge(f"{count} {what}; up to {most} are read here")
        return count

    def _string(self, what: str, bytes_max: int) -> str:
        length = self.reader.number(self.wide)
        if length > self.reader.size_bytes - self.reader.at:
            raise Malformed(f"{what} of {length} bytes at {self.reader.at}: past the end")
        if length > bytes_max:
            raise TooLarge(f"{what} of {length} bytes; up to {bytes_max} are read here")
        try:
            return self.reader.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed(f"{what} at byte {self.reader.at} is not UTF-8") from None

    def _pair(self) -> None:
        self.reader.step()
        key = self._string("a key", KEY_BYTES_MAX)
        if key in self.pairs:
            raise Malformed(f"key {shown(key)} stands twice")
        kind = self.reader.number(4)
        if kind == _ARRAY:
            self._skip_array(key, 1)
            self.pairs[key] = None
        elif kind == _STRING:
            self.pairs[key] = self._string(f"the value of {shown(key)}", STRING_BYTES_MAX)
        else:
            self.pairs[key] = self._scalar(key, kind)

    def _scalar(self, key: str, kind: int) -> Any:
        code = _SCALARS.get(kind)
        if code is None:
            raise Malformed(f"the value of {shown(key)} has the unknown type {kind}")
        sign = "<" if self.reader.order == "little" else ">"
        (value,) = struct.unpack(sign + code, self.reader.take(_SIZES[kind]))
        if kind == _BOOL:
            if value > 1:
                raise Malformed(f"the value of {shown(key)} is neither true nor false")
            return bool(value)
        if key == "general.alignment" and kind != _U32:
            raise Malformed("general.alignment is not an unsigned 32-bit number")
        return value

    def _skip_array(self, key: str, depth: int) -> None:
        """Past an array, its length held against the file at each level."""
        reader = self.reader
        kind = reader.number(4)
        count = reader.number(self.wide)
        size = _SIZES.get(kind)
        least = size or (self.wide if kind == _STRING else self.wide + 4)
        if count * least > reader.size_bytes - reader.at:
            raise Malformed(f"{count} values of {shown(key)}: more than the file holds")
        if size is not None:
            reader.skip(count * size)
        elif kind == _STRING:
            reader.step(count)
            self._skip_strings(key, count)
        elif kind == _ARRAY:
            if depth == DEPTH_MAX:
                raise Malformed(f"{shown(key)} is nested deeper than {DEPTH_MAX} arrays")
            reader.step(count)
            for _ in range(count):
                self._skip_array(key, depth + 1)
        else:
            raise Malformed(f"the values of {shown(key)} have the unknown type {kind}")

    def _skip_strings(self, key: str, count: int) -> None:
        reader, wide = self.reader, self.wide
        for _ in range(count):
            length = reader.number(wide)
            if length > reader.size_bytes - reader.at:
                raise Malformed(f"a value of {shown(key)} of {length} bytes: past the end")
            reader.skip(length)

    def _info(self) -> tuple[str, str, tuple[int, ...], int, int, int]:
        """Name, type, shape, elements, bytes and offset of the next tensor."""
        reader = self.reader
        reader.step()
        name = self._string("a tensor's name", NAME_BYTES_MAX)
        dims = reader.number(4)
        if not 1 <= dims <= DIMS_MAX:
            raise Malformed(f"tensor {shown(name)} has {dims} dimensions")
        shape = tuple(reader.number(self.wide) for _ in range(dims))
        elements = 1
        for side in shape:
            elements *= side
            if side < 1 or elements > _I64_MAX:
                raise Malformed(f"tensor {shown(name)}: {shown(list(shape))} is no shape")
        kind = TENSOR_TYPES.get(number := reader.number(4))
        if kind is None:
            raise Malformed(f"tensor {shown(name)} has the unknown type {number}")
        if shape[0] % kind.block:
            raise Malformed(
                f"tensor {shown(name)}: rows of {shape[0]} are no blocks of {kind.name}"
            )
        size_bytes = elements // kind.block * kind.block_bytes
        return name, kind.name, shape, elements, size_bytes, reader.number(8)

    def _alignment(self) -> int:
        alignment = self.pairs.get("general.alignment", ALIGNMENT_DEFAULT)
        if type(alignment) is not int or not 0 < alignment <= ALIGNMENT_MAX:
            raise Malformed(f"general.alignment {shown(alignment)} is out of range")
        if alignment & (alignment - 1):
            raise Malformed(f"general.alignment {alignment} is no power of two")
        return alignment

    def _text(self, key: str) -> str | None:
        value = self.pairs.get(key)
        return value[:KEPT_CHARS_MAX] if isinstance(value, str) else None

    def _whole(self, key: str) -> int | None:
        value = self.pairs.get(key)
        return value if type(value) is int and 0 <= value <= _I64_MAX else None


def _placed(
    infos: list[tuple[str, str, tuple[int, ...], int, int, int]],
    data_at: int,
    alignment: int,
    size_bytes: int,
) -> tuple[GgufTensor, ...]:
    """The tensors in the order of their bytes, each inside the file and apart from the others."""
    names: set[str] = set()
    placed = []
    for name, kind, shape, _, length, offset in infos:
        if name in names:
            raise Malformed(f"tensor {shown(name)} stands twice")
        names.add(name)
        if offset % alignment:
            raise Malformed(f"tensor {shown(name)}: offset {offset} is not aligned to {alignment}")
        start = data_at + offset
        if start + length > size_bytes:
            raise Malformed(f"tensor {shown(name)} ends at {start + length} of {size_bytes} bytes")
        placed.append(GgufTensor(name, kind, shape, start, start + length))
    placed.sort(key=lambda tensor: tensor.start)
    at = data_at
    for tensor in placed:
        if tensor.start < at:
            raise Malformed(f"tensor {shown(tensor.name)} overlaps another at byte {tensor.start}")
        at = tensor.stop
    return tuple(placed)


def read_gguf(read: Callable[[int, int], bytes], size_bytes: int) -> GgufHeader:
    """The header of a file of `size_bytes` whose bytes `read(start, stop)` gives.

    Malformed with the reason when it is not valid; TooLarge when it may be, but is beyond what is
    read here. `read` is asked for at most a mebibyte at a time.
    """
    if size_bytes < 24:
        raise Malformed(f"the file has {size_bytes} bytes; a header takes at least 24")
    return _Parser(_Reader(read, size_bytes)).header()
