"""safetensors headers: which tensors a file holds and where, with the reference's own verdict.

    read_header(read, size_bytes) -> SafetensorsHeader

Format: 8 bytes, little-endian u64 n; n bytes of JSON; tensor data. What the `safetensors` library
(0.8) accepts is accepted and what it refuses is refused, with one difference: a key that stands
twice anywhere is refused here, as the format's text demands. A hub that reads a file otherwise
than the loader does shows one model and delivers another.
So numbers, nesting, strings and coverage are judged as that library judges them: the data is
covered exactly, without overlap, hole or rest; products are checked in 64 bits, in order.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple, NoReturn

from headwater.errors import Malformed, TooLarge
from headwater.names import shown

HEADER_BYTES_MAX = 100_000_000  # the reference's own bound
HEADER_BYTES_FOREGROUND = 25_000_000  # parses in about a second; the largest real ones are 3 MB
DEPTH_MAX = 127  # of JSON, the reference's own bound

_U64_MAX = 2**64 - 1
DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "I32": 32, "U32": 32, "I64": 64, "U64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip
_FIELDS = ("dtype", "shape", "data_offsets")
# json reads `-0` as the integer 0, the reference as a float, which is no size. Rarely seen.
_MINUS_ZERO = re.compile(rb"-0[\s,\]}]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class TensorInfo(NamedTuple):
    """One tensor. `start` and `stop` are byte offsets in the file, not in its data section."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """A valid header. Tensors are in the order of their bytes."""

    tensors: tuple[TensorInfo, ...]
    metadata: dict[str, str]
    header_bytes: int  # the length field and the JSON: here the data begins


def read_header(
    read: Callable[[int, int], bytes],
    size_bytes: int,
    *,
    header_bytes_max: int = HEADER_BYTES_FOREGROUND,
) -> SafetensorsHeader:
    """The header of a file of `size_bytes` whose bytes `read(start, stop)` gives.

    Malformed with the reason when it is not a valid safetensors file; TooLarge when it may be one,
    but its JSON is longer than `header_bytes_max`. Names are as written: escape them.
    """
    if size_bytes < 8:
        raise Malformed(f"header length: the file has {size_bytes} bytes, the length alone takes 8")
    json_bytes = int.from_bytes(read(0, 8), "little")
    if json_bytes > HEADER_BYTES_MAX:
        raise Malformed(f"header length {json_bytes}; the format's limit is {HEADER_BYTES_MAX}")
    if 8 + json_bytes > size_bytes:
        raise Malformed(f"header length {json_bytes} in a file of {size_bytes} bytes")
    if json_bytes > header_bytes_max:
        raise TooLarge(f"header length {json_bytes}; up to {header_bytes_max} is read here")
    metadata, tensors = _structure(read(8, 8 + json_bytes), 8 + json_bytes)
    tensors.sort(key=itemgetter(3, 4))
    _check_covered(tensors, 8 + json_bytes, size_bytes)
    return SafetensorsHeader(tuple(tensors), metadata, 8 + json_bytes)


def _structure(header: bytes, data_at: int) -> tuple[dict[str, str], list[TensorInfo]]:
    """Metadata and tensors, each well-formed by itself."""
    tree = _loads(header)
    if type(tree) is not dict:
        raise Malformed("header is not a JSON object")
    metadata = tree.pop("__metadata__", None)
    metadata = {} if metadata is None else metadata
    if type(metadata) is not dict or any(type(text) is not str for text in metadata.values()):
        raise Malformed("__metadata__ is not an object of strings")
    return metadata, [_tensor(name, info, data_at) for name, info in tree.items()]


def _loads(header: bytes) -> Any:
    """Strict JSON: UTF-8, no key twice, no NaN, no lone surrogate, no number out of range."""
    parse_int = _int_or_minus_zero if _MINUS_ZERO.search(header) else None
    try:
        tree = json.loads(
            header.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=parse_int,
        )
        if _SURROGATE.search(header):
            for value, _ in _walk(tree, 1):
                if type(value) is str:
                    value.encode("utf-8")
    except RecursionError:
        raise Malformed(f"header is nested deeper than {DEPTH_MAX} levels") from None
    except UnicodeError as error:
        raise Malformed(f"header is not valid Unicode: {error.reason}") from None  # type: ignore[attr-defined]
    except ValueError as error:
        raise Malformed(f"header is not JSON: {error}") from None
    return tree


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise Malformed(f"header names {shown(twice)} twice")
    return made


def _refuse_constant(text: str) -> NoReturn:
    raise Malformed(f"header is not JSON: {text}")


def _int_or_minus_zero(text: str) -> int | float:
    return -0.0 if text == "-0" else int(text)


def _tensor(name: str, info: Any, data_at: int) -> TensorInfo:
    """One entry of the header, or Malformed naming it. Runs once a tensor, so it is kept flat."""
    if type(info) is dict and all(map(info.__contains__, _FIELDS)):
        dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
        if len(info) > len(_FIELDS):
            _check_ignored(name, info)
    elif type(info) is list and len(info) == len(_FIELDS):
        dtype, shape, offsets = info  # the reference reads a list as the fields in order
    else:
        raise Malformed(f"tensor {shown(name)} has not exactly a dtype, a shape and data_offsets")
    if type(dtype) is dict and len(dtype) == 1 and next(iter(dtype.values())) is None:
        (dtype,) = dtype  # the reference reads {"F32": null} as "F32"
    bits = DTYPE_BITS.get(dtype) if type(dtype) is str else None
    if bits is None:
        raise Malformed(f"tensor {shown(name)}: dtype {shown(dtype)} is unknown")
    if type(shape) is not list or type(offsets) is not list or len(offsets) != 2:
        raise Malformed(f"tensor {shown(name)}: shape is not a list or data_offsets not a pair")
    total_bits = bits
    for side in shape:
        if type(side) is not int or not 0 <= side <= _U64_MAX:
            raise Malformed(f"tensor {shown(name)}: {shown(side)} in its shape is not a size")
        total_bits *= side
        if total_bits // bits > _U64_MAX:  # here, before a later zero could hide it
            raise Malformed(f"tensor {shown(name)}: its shape overflows 64 bits")
    start, stop = offsets
    if type(start) is not int or type(stop) is not int or not 0 <= start <= stop <= _U64_MAX:
        raise Malformed(f"tensor {shown(name)}: data_offsets {shown(offsets)} are no span of bytes")
    if total_bits != 8 * (stop - start) or total_bits > _U64_MAX:
        raise Malformed(
            f"tensor {shown(name)}: {shown(shape)} of {dtype} is not {stop - start} bytes"
        )
    return TensorInfo(name, dtype, tuple(shape), data_at + start, data_at + stop)


def _check_ignored(name: str, info: dict[str, Any]) -> None:
    """Unknown fields are legal, but what they hold must still be JSON the reference can read."""
    for value, depth in _walk(info, 2):
        if depth > DEPTH_MAX:
            raise Malformed(f"tensor {shown(name)} is nested deeper than {DEPTH_MAX} levels")
        if type(value) in (int, float):
            try:
                finite = math.isfinite(float(value))
            except OverflowError:
                finite = False
            if not finite:
                raise Malformed(f"tensor {shown(name)} holds a number that is out of range")


def _walk(tree: Any, depth: int) -> Iterator[tuple[Any, int]]:
    """Every key and value below `tree`, itself included, with the depth of its innermost list."""
    todo = [(tree, depth)]
    while todo:
        value, depth = todo.pop()
        yield value, depth
        if type(value) is dict:
            todo += [(key, depth) for key in value]
        inner = value.values() if type(value) is dict else value if type(value) is list else ()
        todo += [(item, depth + (type(item) in (dict, list))) for item in inner]


def _check_covered(tensors: list[TensorInfo], data_at: int, size_bytes: int) -> None:
    """Tensors follow each other without a gap, from the first byte of data to the last."""
    at = data_at
    for tensor in tensors:
        if tensor.start != at:
            kind = "overlaps another" if tensor.start < at else "leaves a hole before it"
            raise Malformed(f"tensor {shown(tensor.name)} {kind} at byte {tensor.start}")
        at = tensor.stop
    if at != size_bytes:
        raise Malformed(f"tensors end at byte {at} of a file of {size_bytes} bytes")
