"""ONNX files: where the weights lie, found by walking the protobuf and building none of it.

    onnx_spans(read, size_bytes) -> [Span, ...]

ModelProto.graph (7) > GraphProto.initializer (5) > TensorProto: these three levels are entered,
everything else is stepped over by its length, so no nesting of the file is ever followed. Every
length is held against the message around it and every number is counted. Weights in other files
(external data) and numbers that are not kept as their own bytes have no span.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from headwater.errors import Malformed, TooLarge
from headwater.formats.span import NAME_BYTES_MAX, SIDES_MAX, SPANS_MAX, Span, typed

NUMBERS_MAX = 1_000_000  # read one by one, about a second; a node takes two, a tensor ten
WINDOW_BYTES = 2**13  # weights lie between the fields, and little beside each is wanted
VARINT_BYTES_MAX = 10  # protobuf's own bound
VERSION_MAX = 1_000  # of the format, `ir_version`; 13 in 2026. A file without one is no ONNX

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_IR_VERSION, _GRAPH, _INITIALIZER = 1, 7, 5  # of ModelProto, ModelProto, GraphProto
_DIMS, _TYPE, _FLOATS, _NAME, _RAW, _DOUBLES, _EXTERNAL, _PLACE = 1, 2, 4, 8, 9, 10, 13, 14
_DTYPES = {
    1: "F32", 2: "U8", 3: "I8", 4: "U16", 5: "I16", 6: "I32", 7: "I64", 9: "BOOL", 10: "F16",
    11: "F64", 12: "U32", 13: "U64", 14: "C64", 16: "BF16", 17: "F8_E4M3", 18: "F8_E4M3FNUZ",
    19: "F8_E5M2", 20: "F8_E5M2FNUZ", 23: "F4", 24: "F8_E8M0",
}  # fmt: skip


class _Wire:
    """A cursor that only goes forward, with a small window of bytes, counting its steps."""

    def __init__(self, read: Callable[[int, int], bytes], size_bytes: int) -> None:
        self._read = read
        self._size_bytes = size_bytes
        self._window = b""
        self._window_at = 0
        self._numbers = 0
        self.at = 0

    def take(self, stop: int) -> bytes:
        """The bytes up to `stop`, at most a window of them."""
        place = self.at - self._window_at
        if stop - self._window_at > len(self._window):
            if stop > self._size_bytes:
                raise Malformed("cut off")
            end = min(self.at + WINDOW_BYTES, self._size_bytes)
            self._window, self._window_at, place = self._read(self.at, end), self.at, 0
        self.at = stop
        return self._window[place : stop - self._window_at]

    def varint(self) -> int:
        self._numbers += 1
        if self._numbers > NUMBERS_MAX:
            raise TooLarge(f"more than {NUMBERS_MAX} numbers")
        value = 0
        for shift in range(0, 7 * VARINT_BYTES_MAX, 7):
            place = self.at - self._window_at
            if place < len(self._window):  # nearly always: this runs once a byte
                byte = self._window[place]
                self.at += 1
            else:
                (byte,) = self.take(self.at + 1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >= 2**64:
                    break
                return value
        raise Malformed(f"a number of more than 64 bits before byte {self.at}")

    def fields(self, stop: int) -> Iterator[tuple[int, int, int]]:
        """Number, wire type and value of the fields up to `stop`. The value of a `_LENGTH` field is
        where it ends: `at` is where it begins, and goes on at its end."""
        while self.at < stop:
            tag = self.varint()
            number, kind = tag >> 3, tag & 7
            if not 0 < number < 2**29:
                raise Malformed(f"field {number} at byte {self.at}")
            if kind == _VARINT:
                value, end = self.varint(), self.at
            elif kind == _LENGTH:
                length = self.varint()
                end = value = self.at + length
            elif kind in (_FIXED32, _FIXED64):
                end = value = self.at + (4 if kind == _FIXED32 else 8)
            else:
                raise Malformed(f"wire type {kind} at byte {self.at}")
            if end > stop:
                raise Malformed(f"field {number} ends at {end}, what holds it at {stop}")
            yield number, kind, value
            self.at = end
        if self.at != stop:
            raise Malformed(f"a message ends at {self.at}, not {stop}")


def onnx_spans(read: Callable[[int, int], bytes], size_bytes: int) -> list[Span]:
    """The initializers of the graph, in the order of the file. Malformed, TooLarge."""
    wire = _Wire(read, size_bytes)
    found: list[Span] = []
    is_versioned = False
    for number, kind, value in wire.fields(size_bytes):
        if number == _IR_VERSION and kind == _VARINT:
            is_versioned = 0 < value <= VERSION_MAX
        elif number == _GRAPH and kind == _LENGTH:
            for inner, inner_kind, stop in wire.fields(value):
                if inner == _INITIALIZER and inner_kind == _LENGTH:
                    found += _tensor(wire, stop)
                    if len(found) > SPANS_MAX:
                        raise TooLarge(f"more than {SPANS_MAX} tensors")
    if not is_versioned:
        raise Malformed("no version of ONNX")
    return found


def _tensor(wire: _Wire, stop: int) -> list[Span]:
    """The span of a TensorProto, if its bytes lie here."""
    sides: list[int] = []
    name, kind, is_external = "", 0, False
    places: dict[int, tuple[int, int]] = {}
    for number, wire_type, value in wire.fields(stop):
        if number in (_RAW, _FLOATS, _DOUBLES) and wire_type == _LENGTH:
            places[number] = (wire.at, value)  # of a field that stands twice the last one counts
        elif number == _DIMS and wire_type == _VARINT:
            sides.append(value)
        elif number == _DIMS and wire_type == _LENGTH:
            while wire.at < value and len(sides) <= SIDES_MAX:
                sides.append(wire.varint())
            if wire.at > value:
                raise Malformed(f"a side past the end of its field at {value}")
        elif number == _TYPE and wire_type == _VARINT:
            kind = value
        elif number == _NAME and wire_type == _LENGTH:
            if value - wire.at > NAME_BYTES_MAX:
                raise TooLarge(f"a name of {value - wire.at} bytes; the limit is {NAME_BYTES_MAX}")
            name = _text(wire.take(value))
        elif number == _EXTERNAL or (number == _PLACE and value != 0):
            is_external = True
        if len(sides) > SIDES_MAX:
            raise Malformed(f"a tensor of more than {SIDES_MAX} sides")
    # Packed floats are their own bytes; of the smaller types, packed as numbers, that is not so.
    place = places.get(_RAW) or places.get({1: _FLOATS, 11: _DOUBLES}.get(kind, _RAW))
    if is_external or place is None or place[0] == place[1]:
        return []
    return [typed(name, _DTYPES.get(kind), tuple(sides), *place)]


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("a name that is not UTF-8") from None
