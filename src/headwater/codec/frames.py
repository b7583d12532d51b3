"""Frames: a stretch of a tensor, in the smallest of the known forms, each with a number for good.

    encode(raw, element, base=None)          (codec, payload)
    decode(codec, payload, element, size, base)   exactly `size` bytes, or Malformed

    0 RAW      1 TEXT    2 PLANES   3 PCO     4 PCO32      by itself
    8 SAME     9 STEPS  10 WORDS   11 BYTES   12 MASK      against a base of the same length

The smallest wins, what needs no base at a tie. What a payload claims is checked before memory is
taken for it; whether the right bytes came out is for the caller's checksum to say.
"""

from __future__ import annotations

from collections.abc import Iterator

from headwater.codec import delta, words
from headwater.codec.elements import Element
from headwater.codec.entropy import pack_text, unpack
from headwater.codec.planes import (
    decode_pco,
    decode_pco32,
    decode_planes,
    encode_pco,
    encode_pco32,
    encode_planes,
)
from headwater.errors import Malformed

RAW, TEXT, PLANES, PCO, PCO32 = 0, 1, 2, 3, 4
SAME, STEPS, WORDS, BYTES, MASK = 8, 9, 10, 11, 12

MEANS = {
    RAW: "raw", TEXT: "text", PLANES: "planes", PCO: "planes", PCO32: "planes",
    SAME: "same", STEPS: "delta", WORDS: "delta", BYTES: "delta", MASK: "mask",
}  # fmt: skip
BASE_GAIN_MIN = 0.05  # of the frame: a smaller gain is not worth decoding two frames for one

PCO_GAIN_MIN = {2: 0.007, 4: 0.002}  # of the frame, by width: it takes twice as long to read
# What slow forms must save, in parts of the frame: a list of all that changed takes four times as
# long to read as a byte a weight where half of them did, classes five times.
SMALL_GAIN_MIN = 0.001  # of the frame, where size is all that counts
QUICK = delta.Charges(sparse=0.04, classes=0.05)
SMALL = delta.Charges(sparse=SMALL_GAIN_MIN, classes=SMALL_GAIN_MIN)
_PCO_BYTES_MIN = 1024  # below it the head of a pcodec file outweighs its gain
_MASK_SHARE_MAX = 0.0626  # a mask costs a bit a 16-bit value at most; smaller deltas beat it


def encode(
    raw: memoryview, element: Element, base: memoryview | None = None, *, small: bool = False
) -> tuple[int, bytes]:
    """The smallest form of `raw`, a whole number of elements (any bytes, for width 1), that is as
    fast to read as a network; with `small`, the smallest of all.

    `base`, if any, is as long as `raw`; it is used only when that saves a twentieth of the frame.
    """
    if not len(raw):
        return RAW, b""
    if base is not None:
        if raw == base:
            return SAME, b""
        against = min(_against(raw, element, base, small), key=_size)
        if _size(against) * 2 < len(raw):  # no form by itself halves weights: spare the search
            return against
        alone = min(_alone(raw, element, small), key=_size)
        return against if _size(against) + BASE_GAIN_MIN * len(raw) < _size(alone) else alone
    return min(_alone(raw, element, small), key=_size)


def decode(
    codec: int, payload: memoryview, element: Element, size: int, base: memoryview | None = None
) -> memoryview:
    """The `size` bytes of a frame. `base` is needed from SAME on, `size` bytes long."""
    if size % element.width:
        raise Malformed(f"a frame of {size} bytes is no whole number of {element.width}")
    if codec == RAW or not size:
        if len(payload) != size:
            raise Malformed(f"a frame of {len(payload)} bytes where {size} belong")
        return payload
    if codec == TEXT:
        return memoryview(unpack(payload, size))
    if codec == PLANES:
        return decode_planes(payload, size, element)
    if codec == PCO and element.width == 2:
        return decode_pco(payload, size)
    if codec == PCO32 and element.width == 4:
        return decode_pco32(payload, size)
    if base is None or len(base) != size:
        raise Malformed("a frame against a base, and no base of its length")
    if codec == SAME:
        return base
    if codec == STEPS and element.width == 2:
        return delta.decode(payload, base)
    if codec == WORDS and element.width in (2, 4, 8):
        return words.decode_words(payload, base, element)
    if codec == BYTES:
        return words.decode_bytes(payload, base, element)
    if codec == MASK:
        return words.decode_mask(payload, base, element)
    raise Malformed(f"codec {codec} of width {element.width} is not known to this release")


def _size(made: tuple[int, bytes]) -> int:
    return len(made[1])


def _alone(raw: memoryview, element: Element, small: bool) -> Iterator[tuple[int, bytes]]:
    yield RAW, bytes(raw)
    if element.width == 1 and not element.floating:
        yield TEXT, pack_text(raw)
    planes = encode_planes(raw, element)
    yield PLANES, planes
    if element.width in PCO_GAIN_MIN and element.floating and len(raw) >= _PCO_BYTES_MIN:
        short = element.width == 2
        made = encode_pco(raw) if short else encode_pco32(raw)
        gain = SMALL_GAIN_MIN if small else PCO_GAIN_MIN[element.width]
        if len(made) + gain * len(raw) < len(planes):
            yield (PCO if short else PCO32), made


def _against(
    raw: memoryview, element: Element, base: memoryview, small: bool
) -> Iterator[tuple[int, bytes]]:
    best = len(raw)
    if element.width == 2 and element.floating:
        steps = delta.encode(raw, base, SMALL if small else QUICK)
        best = len(steps)
        yield STEPS, steps
    elif element.width in (2, 4, 8):
        yield WORDS, words.encode_words(raw, base, element)
    else:
        yield BYTES, words.encode_bytes(raw, base, element)
    if best > _MASK_SHARE_MAX * len(raw):
        mask = words.encode_mask(raw, base, element)
        if mask is not None:
            yield MASK, mask
