"""Steps of a frame in classes, by the size of the base's weights.

    encode(steps, base)         one payload; None when classes would be of no use
    decode(payload, base)       the steps

An optimiser moves every weight by about the same amount, so a large weight, whose neighbours are
far apart, moves by few steps and mostly by none, and a small one by many. What the base's exponent
says is known to whoever decodes, so each class has a code of its own for nothing: a sixth less than
one code for all. Three classes, or more where that saves enough: each costs a pass over the frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt

from headwater.codec.pco import of_pco, to_pco
from headwater.codec.streams import join, split
from headwater.errors import Malformed

CUTS_TRIED = 9  # quantiles of the exponents; at some of them the frame is cut
CUTS = (2, 4, 6)
CUTS_MAX = 8  # that are read
MORE_GAIN_MIN = 0.001  # of the frame, for two more cuts
FRAME_WEIGHTS_MIN = 3072  # of a frame; codes of its own classes would outweigh what they save

I16s = npt.NDArray[np.int16]
U8s = npt.NDArray[np.uint8]


def exponents(base: memoryview) -> U8s:
    """The eight bits below the sign of 16-bit floats: the exponent of BF16, and of F16 with some of
    the mantissa, in the order of their sizes."""
    words = np.frombuffer(base, "<u2") >> np.uint16(7)
    return words.astype(np.uint8)


def encode(steps: I16s, base: memoryview, below_bytes: float) -> bytes | None:
    """The payload; None when it would not be smaller than `below_bytes`."""
    sizes = exponents(base)
    cuts, bits = _best_cuts(steps, sizes)
    if not cuts or bits / 8 >= below_bytes:
        return None
    made = bytes([len(cuts), *cuts]) + join([to_pco(steps[at]) for at in _classes(sizes, cuts)])
    return made if len(made) < below_bytes else None


def decode(payload: memoryview, base: memoryview) -> I16s:
    """The steps, as many as `base` has weights."""
    count = payload[0] if len(payload) else 0
    cuts = list(payload[1 : count + 1])
    if not 0 < count <= CUTS_MAX or len(cuts) != count or cuts != sorted(cuts):
        raise Malformed("a difference in classes is cut short, or cut in no order")
    sizes = exponents(base)
    steps: I16s = np.empty(len(sizes), np.int16)
    streams = split(payload[count + 1 :], count + 1)
    for at, stream in zip(_classes(sizes, cuts), streams, strict=True):
        steps[at] = of_pco(stream, np.empty(len(at), np.int16))
    return steps


def _classes(sizes: U8s, cuts: Sequence[int]) -> Iterator[npt.NDArray[np.int64]]:
    """The places of the weights below the first cut, from it to the next, …, from the last on."""
    yield np.flatnonzero(sizes < cuts[0])
    for low, high in pairwise(cuts):
        yield np.flatnonzero((sizes - np.uint8(low)) < np.uint8(high - low))  # wraps below `low`
    yield np.flatnonzero(sizes >= cuts[-1])


def _best_cuts(steps: I16s, sizes: U8s) -> tuple[tuple[int, ...], float]:
    """Where to cut so that the entropies of the classes together are the least, and their bits.
    Of a step, only the lower byte counts here: next to none needs more. No cuts when the frame
    does not fall into classes."""
    places = np.linspace(0, len(sizes) - 1, CUTS_TRIED + 2)[1:-1].astype(np.int64)
    cuts = sorted({int(cut) for cut in np.partition(sizes, places)[places]} - {0})
    if len(steps) < FRAME_WEIGHTS_MIN or len(cuts) < CUTS[0]:
        return (), np.inf
    group = np.searchsorted(np.array(cuts, np.uint8), np.arange(256, dtype=np.uint8), "right")
    keys = group.astype(np.uint16)[sizes] << np.uint16(8)
    keys |= steps.astype(np.uint8)
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
        if not best or found_bits + MORE_GAIN_MIN * 16 * len(steps) < best_bits:
            best, best_bits = chosen, found_bits
    return tuple(cuts[at - 1] for at in best), best_bits


def _bits(counts: npt.NDArray[np.int64]) -> float:
    """Entropy of that many symbols, in bits, all of them together."""
    total = counts.sum()
    some = counts[counts > 0]
    return float(total * np.log2(total) - (some * np.log2(some)).sum()) if total else 0.0
