"""A frame of 16-bit floats by its difference to a base: what a fine-tune changed, in steps.

    encode(target, base)   the smallest of the forms below
    decode(payload, base)  the target, or Malformed

Floats are mapped to integers in the order of their values, so that a difference counts the floats
between two values: an optimiser moves a weight by few of them, and the carry that smears an XOR
over all bits is one step. Each payload begins with its form:

    BYTES    one signed byte a weight; -128: the difference stands in a list of 16-bit words
    PAIRS    two weights a byte, each -7 to 7; -8: the difference stands in the list. The Huffman
             coder spends at least one bit a symbol, so here at least half a bit a weight
    SPARSE   for weights that changed: how many unchanged ones came before, and its BYTES
    CLASSES  a code for each of some sizes of weights (see `classes`); far slower to read than the
             others, so it must save a part of the frame that the caller names

A frame is paired half against half: weight i with weight i + n/2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from headwater.codec import classes
from headwater.codec.classes import (
    add_small,
    pack_far,
    pack_sparse,
    small_of,
    unpack_far,
    unpack_sparse,
)
from headwater.codec.entropy import pack, unpack
from headwater.codec.streams import join, split
from headwater.errors import Malformed

BYTES, PAIRS, SPARSE, CLASSES = 0, 1, 2, 3
SPARSE_SHARE_MAX = 0.35  # of weights changed; above it, gaps cost time and save little

_PAIR_MAX = 7

I16s = npt.NDArray[np.int16]


def ordered(raw: memoryview) -> I16s:
    """16-bit floats as integers in the order of their values; its own inverse on words."""
    words = np.frombuffer(raw, "<i2")
    out: I16s = words >> np.int16(15)
    out &= np.int16(0x7FFF)
    out ^= words
    return out


def encode(target: memoryview, base: memoryview, classes_gain_min: float = 0.0) -> bytes:
    """`target`, as long as `base`, both a whole number of 16-bit floats. CLASSES must save
    `classes_gain_min` of the frame, 0 to 1."""
    steps = ordered(target) - ordered(base)  # wraps around, and back
    changed = np.count_nonzero(steps)
    tries: list[tuple[int, Callable[[I16s], bytes]]] = [(BYTES, _bytes), (PAIRS, _pairs)]
    if changed <= SPARSE_SHARE_MAX * len(steps):
        tries.append((SPARSE, _sparse))
    best = min((bytes([form]) + coder(steps) for form, coder in tries), key=len)
    classed = classes.encode(steps, base) if changed else None
    if classed is not None and len(classed) + classes_gain_min * len(target) < len(best):
        return bytes([CLASSES]) + classed
    return best


def decode(payload: memoryview, base: memoryview) -> memoryview:
    """The target, as long as `base`."""
    if not len(payload) or payload[0] not in (*_DECODERS, CLASSES):
        raise Malformed("a difference of no known form")
    if payload[0] == CLASSES:
        words = add_small(ordered(base), *classes.decode(payload[1:], base))
    else:
        words = _DECODERS[payload[0]](payload[1:], ordered(base))
    signs = words >> np.int16(15)
    signs &= np.int16(0x7FFF)
    words ^= signs
    return words.data.cast("B")


def _bytes(steps: I16s) -> bytes:
    small, far = small_of(steps)
    return join([far, pack(small.data.cast("B"))])


def _add_bytes(payload: memoryview, words: I16s) -> I16s:
    packed_far, packed_small = split(payload, 2)
    small = np.frombuffer(unpack(packed_small, len(words)), np.int8)
    return add_small(words, small, packed_far)


def _pairs(steps: I16s) -> bytes:
    far = (steps > _PAIR_MAX) | (steps < -_PAIR_MAX)
    nibbles = steps.astype(np.uint8)
    nibbles[far] = 0x08
    half = (len(steps) + 1) // 2
    pairs = nibbles[:half] & np.uint8(15)
    pairs[: len(steps) - half] |= nibbles[half:] << np.uint8(4)
    return join([pack_far(steps[far]), pack(pairs.data)])


def _add_pairs(payload: memoryview, words: I16s) -> I16s:
    packed_far, packed_pairs = split(payload, 2)
    half = (len(words) + 1) // 2
    pairs = np.frombuffer(unpack(packed_pairs, half), np.int8)
    steps = np.empty(len(words), np.int8)
    np.left_shift(pairs, 4, out=steps[:half])
    steps[:half] >>= 4  # arithmetic: the sign comes back
    np.right_shift(pairs[: len(words) - half], 4, out=steps[half:])
    if len(packed_far):
        at = np.flatnonzero(steps == -8)
        there = words[at] + unpack_far(packed_far, len(at))
        words += steps
        words[at] = there
    elif (steps == -8).any():
        raise Malformed("a difference points at a list that is not there")
    else:
        words += steps
    return words


def _sparse(steps: I16s) -> bytes:
    small, far = small_of(steps)
    return join([far, pack_sparse(small)])


def _add_sparse(payload: memoryview, words: I16s) -> I16s:
    packed_far, sparse = split(payload, 2)
    at, small = unpack_sparse(sparse, len(words))
    words[at] = add_small(words[at], small, packed_far)
    return words


_DECODERS: dict[int, Callable[[memoryview, I16s], I16s]] = {
    BYTES: _add_bytes,
    PAIRS: _add_pairs,
    SPARSE: _add_sparse,
}
