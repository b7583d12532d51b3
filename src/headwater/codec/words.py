"""A frame by its difference to a base, for what is not a 16-bit float.

encode_words / decode_words    32- and 64-bit floats, integers: difference, zigzag, byte planes
encode_bytes / decode_bytes    anything else: each byte less that of the base, in groups
encode_mask / decode_mask      a pruned frame: each value is the base's, or zero
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.codec.elements import Element
from headwater.codec.entropy import pack, unpack
from headwater.codec.planes import decode_planes, encode_planes
from headwater.errors import Malformed

Ints = npt.NDArray[Any]

_INTS: dict[int, np.dtype[Any]] = {
    1: np.dtype("<i1"),
    2: np.dtype("<i2"),
    4: np.dtype("<i4"),
    8: np.dtype("<i8"),
}


def ordered(raw: memoryview, element: Element) -> Ints:
    """Values as integers; floats in the order of their values."""
    words: Ints = np.frombuffer(raw, _INTS[element.width])
    return _unordered(words, element)


def encode_words(target: memoryview, base: memoryview, element: Element) -> bytes:
    """`target`, as long as `base`, both whole elements of 2, 4 or 8 bytes."""
    steps = ordered(target, element) - ordered(base, element)
    bits = steps.dtype.type(8 * element.width - 1)
    zigzag = (steps << steps.dtype.type(1)) ^ (steps >> bits)
    return encode_planes(zigzag.data.cast("B"), Element(element.width, False))


def decode_words(payload: memoryview, base: memoryview, element: Element) -> memoryview:
    """The target, as long as `base`."""
    raw = decode_planes(payload, len(base), Element(element.width, False))
    zigzag = np.frombuffer(raw, f"<u{element.width}")
    one = zigzag.dtype.type(1)
    steps = (zigzag >> one).view(_INTS[element.width])
    steps ^= -(zigzag & one).view(_INTS[element.width])
    steps += ordered(base, element)
    return _unordered(steps, element).data.cast("B")


def encode_bytes(target: memoryview, base: memoryview, element: Element) -> bytes:
    """`target`, as long as `base`, both whole elements of any width."""
    steps = np.frombuffer(target, np.uint8) - np.frombuffer(base, np.uint8)
    return encode_planes(steps.data, Element(element.width, False, element.groups))


def decode_bytes(payload: memoryview, base: memoryview, element: Element) -> memoryview:
    """The target, as long as `base`."""
    plain = Element(element.width, False, element.groups)
    steps = np.frombuffer(decode_planes(payload, len(base), plain), np.uint8)
    return (steps + np.frombuffer(base, np.uint8)).data


def encode_mask(target: memoryview, base: memoryview, element: Element) -> bytes | None:
    """Which values are kept; None when one is neither the base's nor zero."""
    if element.width not in _INTS:
        return None
    kind = _INTS[element.width]
    wanted, given = np.frombuffer(target, kind), np.frombuffer(base, kind)
    kept = wanted != 0
    if not np.array_equal(np.where(kept, given, kind.type(0)), wanted):
        return None
    return pack(np.packbits(kept).data)


def decode_mask(payload: memoryview, base: memoryview, element: Element) -> memoryview:
    """The target, as long as `base`."""
    if element.width not in _INTS:
        raise Malformed(f"a mask over values of {element.width} bytes")
    values = np.frombuffer(base, _INTS[element.width])
    bits = np.frombuffer(unpack(payload, (len(values) + 7) // 8), np.uint8)
    kept = np.unpackbits(bits, count=len(values))
    out: Ints = kept.astype(values.dtype)
    out *= values
    return out.data.cast("B")


def _unordered(words: Ints, element: Element) -> Ints:
    """The inverse, and itself the map: a sign is not moved by it."""
    if not element.floating:
        return words
    kind = words.dtype.type
    out: Ints = words >> kind(8 * element.width - 1)
    out &= kind(np.iinfo(words.dtype).max)
    out ^= words
    return out
