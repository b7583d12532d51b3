"""Sketches: some values of a tensor, at places that depend on its size alone.

    Sketcher(raw_bytes, element).feed(piece)… .values    while the bytes go by
    distance(a, b, element)    bits a value that coding one against the other would take, about

Two tensors of one size are compared value by value without reading either. 256 values tell the best
base from the second best nearly always (64 did in 13 of 15 cases, for 0.06 points in the others).
"""

from __future__ import annotations

import numpy as np

from headwater.codec.elements import Element
from headwater.codec.words import ordered

SAMPLES = 256  # of a tensor large enough
ELEMENTS_EACH = 64  # a small one has a sample for so many, or its sketch would outweigh it
_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / phi: multiples of it spread evenly, whatever the count
_WORDS = {2: "<i2", 4: "<i4", 8: "<i8"}


def places(count: int) -> list[int]:
    """Which of `count` elements are sampled, in order."""
    samples = min(SAMPLES, count // ELEMENTS_EACH)
    return sorted({(k * _GOLDEN % 2**64) * count >> 64 for k in range(1, samples + 1)})


class Sketcher:
    """Collects the sampled elements of a tensor that comes in pieces of any size."""

    def __init__(self, raw_bytes: int, element: Element) -> None:
        self._width = element.width
        self._places = [at * self._width for at in places(raw_bytes // self._width)]
        self._next = 0
        self._at = 0
        self.values = bytearray()  # of all elements that went by whole or in part

    def feed(self, piece: bytes | memoryview) -> None:
        """The next bytes of the tensor."""
        end = self._at + len(piece)
        number = self._next
        while number < len(self._places) and self._places[number] < end:
            start = self._places[number] - self._at
            self.values += piece[max(start, 0) : start + self._width]
            if start + self._width > len(piece):
                break  # the rest of it comes with the next piece
            number += 1
        self._next = number
        self._at = end


def distance(sketch: bytes, other: bytes, element: Element) -> float:
    """Estimated bits a value; as many as the value has when the two cannot be compared."""
    full = 8.0 * element.width
    if len(sketch) != len(other) or not sketch:
        return full
    if element.width not in _WORDS:
        same = np.frombuffer(sketch, np.uint8) == np.frombuffer(other, np.uint8)
        return full * float(1 - same.mean())
    if element.width == 2 and element.floating:
        steps = ordered(memoryview(sketch), element).astype(np.int64)
        steps -= ordered(memoryview(other), element).astype(np.int64)
    else:
        kind = _WORDS[element.width]
        steps = np.frombuffer(sketch, kind).astype(np.float64)
        steps = steps - np.frombuffer(other, kind).astype(np.float64)
    bits = 2 * np.log2(1 + np.abs(steps).astype(np.float64)) + 0.3
    return float(np.minimum(bits, full).mean())
