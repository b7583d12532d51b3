"""A frame by itself: like bytes brought together, each stream by its byte frequencies.

    encode_planes / decode_planes    any width: byte planes, or the groups of a quantization block
    encode_pco / decode_pco          16-bit floats, by pcodec: half a point smaller, half as fast
    encode_pco32 / decode_pco32      32-bit floats: their upper halves by pcodec, the rest in planes

A float's exponent comes into a byte of its own, since its few values are all there is to gain;
mantissa and sign are close to noise. One of 16 bits is cut there; for wider ones and for pcodec it
is rotated left by one bit first. (ZipNN, arXiv:2411.05239, takes floats apart like that.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.codec.elements import Element
from headwater.codec.entropy import pack, unpack
from headwater.codec.pco import of_pco, to_pco
from headwater.codec.streams import join, split

_WORDS: dict[int, np.dtype[Any]] = {2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8")}
Words = npt.NDArray[Any]  # unsigned, of one width


def rotated(raw: memoryview, width: int) -> Words:
    """The floats as words whose sign went to the lowest bit."""
    words = np.frombuffer(raw, _WORDS[width])
    one = words.dtype.type(1)
    turned: Words = words << one
    turned |= words >> words.dtype.type(8 * width - 1)
    return turned


def unrotate(words: Words) -> Words:
    """The floats again; `words` is used up."""
    kind = words.dtype.type
    out: Words = words >> kind(1)
    words <<= kind(8 * words.dtype.itemsize - 1)
    out |= words
    return out


def encode_planes(raw: memoryview, element: Element) -> bytes:
    """`raw`, a whole number of elements, as one stream a plane or group."""
    width = element.width
    if width == 1:
        return pack(raw)
    if width == 2 and element.floating:
        return join([pack(plane.data) for plane in _halves(raw)])
    data = rotated(raw, width).view(np.uint8) if element.floating else np.frombuffer(raw, np.uint8)
    table = data.reshape(-1, width)
    streams, at = [], 0
    for group in element.groups or (1,) * width:
        streams.append(pack(np.ascontiguousarray(table[:, at : at + group]).data.cast("B")))
        at += group
    return join(streams)


def decode_planes(payload: memoryview, size: int, element: Element) -> memoryview:
    """The `size` bytes that were encoded."""
    width = element.width
    if width == 1:
        return memoryview(unpack(payload, size))
    count = size // width
    groups = element.groups or (1,) * width
    planes = [
        np.frombuffer(unpack(stream, count * group), np.uint8)
        for stream, group in zip(split(payload, len(groups)), groups, strict=True)
    ]
    if width == 2 and element.floating:
        return _of_halves(*planes).data.cast("B")
    table, at = np.empty((count, width), np.uint8), 0
    for plane, group in zip(planes, groups, strict=True):
        table[:, at : at + group] = plane.reshape(count, group)
        at += group
    if not element.floating:
        return table.data.cast("B")
    return unrotate(table.view(_WORDS[width]).reshape(-1)).data.cast("B")


def _halves(raw: memoryview) -> tuple[Words, Words]:
    """Of 16-bit floats: sign and lowest seven bits, and the eight bits between them."""
    words = np.frombuffer(raw, _WORDS[2])
    low = (words >> np.uint16(8)).astype(np.uint8)
    low &= np.uint8(0x80)
    low |= words.astype(np.uint8) & np.uint8(0x7F)
    return low, (words >> np.uint16(7)).astype(np.uint8)


def _of_halves(low: Words, high: Words) -> Words:
    """The floats again. Half of decoding is here, so it is in few passes: extending the sign of a
    byte puts it where a word has its own."""
    words: Words = low.view(np.int8).astype(np.int16)
    words &= np.int16(-0x7F81)  # 0x807F
    middle = high.astype(np.int16)
    middle *= np.int16(1 << 7)  # numpy's shift takes twice as long
    words |= middle
    return words


def encode_pco(raw: memoryview) -> bytes:
    """16-bit floats as a pcodec file."""
    return to_pco(rotated(raw, 2))


def decode_pco(payload: memoryview, size: int) -> memoryview:
    """The `size` bytes that were encoded."""
    return unrotate(of_pco(payload, np.empty(size // 2, np.uint16))).data.cast("B")


def encode_pco32(raw: memoryview) -> bytes:
    """32-bit floats: the upper half as a pcodec file, the lower two bytes as planes."""
    words = rotated(raw, 4)
    low = words.view(np.uint8).reshape(-1, 4)
    planes = [pack(np.ascontiguousarray(low[:, at]).data) for at in (0, 1)]
    return join([*planes, to_pco((words >> np.uint32(16)).astype(np.uint16))])


def decode_pco32(payload: memoryview, size: int) -> memoryview:
    """The `size` bytes that were encoded."""
    count = size // 4
    first, second, high = split(payload, 3)
    words = of_pco(high, np.empty(count, np.uint16)).astype(np.uint32)
    words <<= np.uint32(8)
    words |= np.frombuffer(unpack(second, count), np.uint8)
    words <<= np.uint32(8)
    words |= np.frombuffer(unpack(first, count), np.uint8)
    return unrotate(words).data.cast("B")
