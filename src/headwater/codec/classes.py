"""Steps of a frame in classes, by the size of the base's weights.

    encode(steps, base)         one payload; None when classes would be of no use
    decode(payload, base)       the steps as signed bytes (-128: in the list), and the list

An optimiser moves every weight by about the same amount, so a large weight, whose neighbours are
far apart, moves by few steps and mostly by none, and a small one by many. What the base's exponent
says is known to whoever decodes, so each class has a code of its own for nothing: a sixth less than
one code for all. Three classes, or five where that saves enough: each costs a pass over the frame.

A class is coded as BYTES (one a weight) or SPARSE (gaps between those that are not zero).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt

from headwater.codec.entropy import pack, unpack
from headwater.codec.streams import join, split
from headwater.errors import Malformed

BYTES, SPARSE = 0, 1
CUTS_TRIED = 9  # quantiles of the exponents; at some of them the frame is cut
CUTS = (2, 4)
CUTS_MAX = 8  # that are read
MORE_GAIN_MIN = 0.004  # of the frame, for two more cuts
FRAME_WEIGHTS_MIN = 3072  # of a frame; codes of its own classes would outweigh what they save

ESCAPE = -128
_FAR = 255  # in a list of gaps: so many zeros, and nothing yet

I8s = npt.NDArray[np.int8]
I16s = npt.NDArray[np.int16]
U8s = npt.NDArray[np.uint8]


def small_of(steps: I16s) -> tuple[I8s, bytes]:
    """Steps as signed bytes, and those that do not fit, in order, packed (see `pack_far`)."""
    small = steps.astype(np.int8)
    far = (small != steps) | (small == ESCAPE)
    small[far] = ESCAPE
    return small, pack_far(steps[far])


def pack_far(steps: I16s) -> bytes:
    """Steps that do not fit a byte: lower bytes, then upper ones, whose few values are all there
    is to gain. Nothing when there are none."""
    if not len(steps):
        return b""
    table = steps.astype("<i2").view(np.uint8).reshape(-1, 2)
    return join([pack(np.ascontiguousarray(table[:, at]).data) for at in (0, 1)])


def unpack_far(packed: memoryview, count: int) -> I16s:
    """The `count` steps that were packed."""
    low, high = (np.frombuffer(unpack(part, count), np.uint8) for part in split(packed, 2))
    words: I16s = (high.astype(np.uint16) << np.uint16(8) | low).view(np.int16)
    return words


def add_small(words: I16s, small: I8s, packed_far: memoryview) -> I16s:
    """`words` moved by the steps, in place."""
    if len(packed_far):
        at = np.flatnonzero(small == ESCAPE)
        there = words[at] + unpack_far(packed_far, len(at))
        words += small
        words[at] = there
    elif (small == ESCAPE).any():
        raise Malformed("a difference points at a list that is not there")
    else:
        words += small
    return words


def exponents(base: memoryview) -> U8s:
    """The eight bits below the sign of 16-bit floats: the exponent of BF16, and of F16 with some of
    the mantissa, in the order of their sizes."""
    words = np.frombuffer(base, "<u2") >> np.uint16(7)
    return words.astype(np.uint8)


def encode(steps: I16s, base: memoryview) -> bytes | None:
    """The payload; None when the frame does not fall into classes."""
    small, far = small_of(steps)
    sizes = exponents(base)
    cuts = _best_cuts(small, sizes)
    if cuts is None:
        return None
    streams = [far, *(_shorter(small[at]) for at in _classes(sizes, cuts))]
    return bytes([len(cuts), *cuts]) + join(streams)


def decode(payload: memoryview, base: memoryview) -> tuple[I8s, memoryview]:
    """The steps as signed bytes, and the packed list of those that do not fit."""
    count = payload[0] if len(payload) else 0
    cuts = list(payload[1 : count + 1])
    if not 0 < count <= CUTS_MAX or len(cuts) != count or cuts != sorted(cuts):
        raise Malformed("a difference in classes is cut short, or cut in no order")
    far, *streams = split(payload[count + 1 :], count + 2)
    sizes = exponents(base)
    small: I8s = np.zeros(len(sizes), np.int8)
    for at, stream in zip(_classes(sizes, cuts), streams, strict=True):
        if not len(stream):
            raise Malformed("a class of a difference is missing")
        if stream[0] == BYTES:
            small[at] = np.frombuffer(unpack(stream[1:], len(at)), np.int8)
        elif stream[0] == SPARSE:
            where, values = unpack_sparse(stream[1:], len(at))
            small[at[where]] = values
        else:
            raise Malformed("a class of a difference is of no known form")
    return small, far


def pack_sparse(small: I8s) -> bytes:
    """Those that are not zero, and the gaps before them."""
    at = np.flatnonzero(small)
    gaps = np.diff(at, prepend=-1) - 1
    ends = np.cumsum(gaps // _FAR + 1) if len(at) else np.zeros(0, np.int64)
    tokens = np.full(int(ends[-1]) if len(at) else 0, _FAR, np.uint8)
    tokens[ends - 1] = gaps % _FAR
    head = struct.pack("<II", len(tokens), len(at))
    return head + join([pack(tokens.data), pack(small[at].data.cast("B"))])


def unpack_sparse(payload: memoryview, count: int) -> tuple[npt.NDArray[np.int64], I8s]:
    """(places among `count`, values) of what was packed."""
    if len(payload) < 8:
        raise Malformed("a sparse difference is cut short")
    token_count, found_count = struct.unpack("<II", payload[:8])
    if found_count > count or token_count > count + count // _FAR + 1:
        raise Malformed("a sparse difference has more entries than there are weights")
    packed_tokens, packed_values = split(payload[8:], 2)
    tokens = np.frombuffer(unpack(packed_tokens, token_count), np.uint8)
    at = tokens.astype(np.int64)
    if token_count == found_count:  # nearly always: every token ends at one
        at += 1
        np.cumsum(at, out=at)
    else:
        found = tokens != _FAR
        at += found
        at = np.cumsum(at)[found]
    at -= 1
    if len(at) != found_count or (found_count and at[-1] >= count):
        raise Malformed("a sparse difference does not fit its frame")
    return at, np.frombuffer(unpack(packed_values, found_count), np.int8)


def _classes(sizes: U8s, cuts: Sequence[int]) -> Iterator[npt.NDArray[np.int64]]:
    """The places of the weights below the first cut, from it to the next, …, from the last on."""
    yield np.flatnonzero(sizes < cuts[0])
    for low, high in pairwise(cuts):
        yield np.flatnonzero((sizes - np.uint8(low)) < np.uint8(high - low))  # wraps below `low`
    yield np.flatnonzero(sizes >= cuts[-1])


def _shorter(small: I8s) -> bytes:
    forms = [bytes([BYTES]) + pack(small.data.cast("B"))]
    if 2 * np.count_nonzero(small) < len(small):
        forms.append(bytes([SPARSE]) + pack_sparse(small))
    return min(forms, key=len)


def _best_cuts(small: I8s, sizes: U8s) -> tuple[int, ...] | None:
    """Where to cut so that the entropies of the classes together are the least."""
    places = np.linspace(0, len(sizes) - 1, CUTS_TRIED + 2)[1:-1].astype(np.int64)
    cuts = sorted({int(cut) for cut in np.partition(sizes, places)[places]} - {0})
    if len(small) < FRAME_WEIGHTS_MIN or len(cuts) < CUTS[0]:
        return None
    group = np.searchsorted(np.array(cuts, np.uint8), np.arange(256, dtype=np.uint8), "right")
    keys = group.astype(np.uint16)[sizes] << np.uint16(8)
    keys |= small.view(np.uint8)
    counts = np.bincount(keys, minlength=256 * (len(cuts) + 1)).reshape(-1, 256)
    sums = np.cumsum(np.vstack([np.zeros((1, 256), np.int64), counts]), axis=0)
    last = len(sums) - 1
    bits = {(i, j): _bits(sums[j] - sums[i]) for i, j in combinations(range(last + 1), 2)}
    best: tuple[int, ...] = ()
    best_bits = np.inf
    for count in CUTS:
        options = [
            (sum(bits[pair] for pair in pairwise((0, *chosen, last))), chosen)
            for chosen in combinations(range(1, last), count)
        ]
        if not options:
            break
        found_bits, chosen = min(options)
        if not best or found_bits + MORE_GAIN_MIN * 16 * len(small) < best_bits:
            best, best_bits = chosen, found_bits
    return tuple(cuts[at - 1] for at in best) or None


def _bits(counts: npt.NDArray[np.int64]) -> float:
    """Entropy of that many symbols, in bits, all of them together."""
    total = counts.sum()
    some = counts[counts > 0]
    return float(total * np.log2(total) - (some * np.log2(some)).sum()) if total else 0.0
