"""A frame of 16-bit floats by its difference to a base: what a fine-tune changed, in steps.

    encode(target, base, charges)   the form that is the smallest, charges on slow ones included
    decode(payload, base)           the target, or Malformed

A step is the difference of two words of bits. Of the same sign, floats are as many steps apart as
there are floats between them: an optimiser moves a weight by few, and the carry that smears an XOR
over all bits is one step. A weight that crosses zero passes all the small floats on its way, so it
is far in any case. Each payload begins with its form:

    SPARSE   where the weights are that changed, and their steps
    PAIRS    two weights a byte, each -7 to 7, plus 8, and a SPARSE list of those that are further.
             The Huffman coder spends at least one bit a symbol: here half a bit a weight
    BYTES    a signed byte a weight, and a SPARSE list
    CLASSES  a code for each of some sizes of weights (see `classes`)

A frame is paired half against half: weight i with weight i + n/2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from headwater.codec import classes
from headwater.codec.entropy import pack, unpack
from headwater.codec.sparse import pack_sparse, unpack_sparse
from headwater.codec.streams import join, split
from headwater.errors import Malformed

SPARSE, PAIRS, BYTES, CLASSES = 0, 1, 2, 3

_PAIR_ZERO = 8
_PAIR_MAX = 7
_BYTE_MAX = 127

I16s = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Charges:
    """What a form that is slow to read must save beside the others, in parts of the frame."""

    sparse: float  # for each part of the weights that it names
    classes: float


def steps_of(target: memoryview, base: memoryview) -> I16s:
    """The differences of two frames of 16-bit words; they wrap around, and back."""
    out: I16s = np.frombuffer(target, "<i2") - np.frombuffer(base, "<i2")
    return out


def encode(target: memoryview, base: memoryview, charges: Charges) -> bytes:
    """`target`, as long as `base`, both a whole number of 16-bit floats."""
    steps = steps_of(target, base)
    tries = [(0.0, bytes([PAIRS]) + _pairs(steps)), (0.0, bytes([BYTES]) + _bytes(steps))]
    named = charges.sparse * np.count_nonzero(steps) * 2
    if named < min(len(made) for _, made in tries):
        tries.append((named, bytes([SPARSE]) + _sparse(steps)))
    best, made = min(((len(made) + charge, made) for charge, made in tries), key=itemgetter(0))
    classed = classes.encode(steps, base, best - charges.classes * len(target))
    return made if classed is None else bytes([CLASSES]) + classed


def decode(payload: memoryview, base: memoryview) -> memoryview:
    """The target, as long as `base`."""
    if not len(payload) or payload[0] not in _DECODERS:
        raise Malformed("a difference of no known form")
    words = _DECODERS[payload[0]](payload[1:], np.frombuffer(base, "<i2"))
    return words.data.cast("B")


def _sparse(steps: I16s) -> bytes:
    places = np.flatnonzero(steps)
    return pack_sparse(places, steps[places])


def _near(steps: I16s, reach: int) -> tuple[I16s, bytes]:
    """The steps, those that are further than `reach` as 0; and a list of these."""
    far = np.flatnonzero((steps > reach) | (steps < -reach))
    near = steps.copy()
    near[far] = 0
    return near, pack_sparse(far, steps[far])


def _bytes(steps: I16s) -> bytes:
    near, far = _near(steps, _BYTE_MAX)
    return join([far, pack(near.astype(np.int8).data.cast("B"))])


def _pairs(steps: I16s) -> bytes:
    near, far = _near(steps, _PAIR_MAX)
    near += np.int16(_PAIR_ZERO)
    half = (len(steps) + 1) // 2
    pairs = near[:half].astype(np.uint8)
    pairs[: len(steps) - half] |= near[half:].astype(np.uint8) << np.uint8(4)
    return join([far, pack(pairs.data)])


def _add_sparse(payload: memoryview, base: I16s) -> I16s:
    places, steps = unpack_sparse(payload, len(base))
    words = np.zeros(len(base), np.int16)
    words[places] = steps
    words += base
    return words


def _add_bytes(payload: memoryview, base: I16s) -> I16s:
    far, packed = split(payload, 2)
    words = np.frombuffer(unpack(packed, len(base)), np.int8).astype(np.int16)
    words += base
    _add_far(words, far)
    return words


def _add_pairs(payload: memoryview, base: I16s) -> I16s:
    far, packed = split(payload, 2)
    half = (len(base) + 1) // 2
    pairs = np.frombuffer(unpack(packed, half), np.uint8)
    words = np.empty(len(base), np.int16)
    # Straight into words: a list of nibbles between would be one pass more over the cache.
    np.bitwise_and(pairs, np.uint8(15), out=words[:half], dtype=np.uint8)
    np.right_shift(pairs[: len(base) - half], np.uint8(4), out=words[half:], dtype=np.uint8)
    words += base
    words -= np.int16(_PAIR_ZERO)
    _add_far(words, far)
    return words


def _add_classes(payload: memoryview, base: I16s) -> I16s:
    words = classes.decode(payload, base.data.cast("B"))
    words += base
    return words


def _add_far(words: I16s, payload: memoryview) -> None:
    places, steps = unpack_sparse(payload, len(words))
    words[places] += steps


_DECODERS: dict[int, Callable[[memoryview, I16s], I16s]] = {
    SPARSE: _add_sparse,
    PAIRS: _add_pairs,
    BYTES: _add_bytes,
    CLASSES: _add_classes,
}
