"""Which models may be relatives: the nearest sketches among all, by the signs of their numbers.

    Index.put(name, sketch)          in place of any earlier of that name
    Index.put_packed(rows)           the same for many: names, and what `pack_signs` gave
    Index.nearest(sketch, count)     [(name, z)], the likeliest first, only those above `Z_MIN`

Exact, in numpy: each model is 240 bytes of signs in blocks (the embedding, the first layer, the
last one, how words lie to each other), compared bit by bit. Two models that have nothing to do with
each other agree in half of a block's bits; z says by how many standard deviations a pair agrees in
more. What is found is a candidate: words lie alike in models that only share a language.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headwater.errors import Malformed
from headwater.lineage.roles import MATRICES
from headwater.lineage.sketch import EMBED_SAMPLES, SAMPLES, Sketch

Z_MIN = 6.0  # of weights, one in a billion pairs of strangers
GRAM_BITS = 512
# Bits of each block: embedding, first layer, last layer, words.
BLOCKS = (EMBED_SAMPLES, SAMPLES * len(MATRICES), SAMPLES * len(MATRICES), GRAM_BITS)
_WORDS = tuple(-(-bits // 64) for bits in BLOCKS)
_ENDS = tuple(int(end) for end in np.cumsum(_WORDS))
_GROWTH = 1.5

Bits = npt.NDArray[np.uint64]


class Index:
    """Sketches of many models. For one thread at a time."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._bits: Bits = np.zeros((64, _ENDS[-1]), np.uint64)
        self._sizes: npt.NDArray[np.uint16] = np.zeros((64, len(BLOCKS)), np.uint16)

    def __len__(self) -> int:
        return len(self._names)

    def put(self, name: str, sketch: Sketch) -> None:
        """Add a model, or replace the one of that name."""
        self._put(name, *signs(sketch))

    def put_packed(self, rows: Sequence[tuple[str, bytes]]) -> None:
        """The same for many, from names and what `pack_signs` gave; Malformed when one is not that.
        Of two of one name the later counts."""
        bits, sizes = unpack_signs([packed for _, packed in rows])
        numbers = [self._number(name) for name, _ in rows]
        self._bits[numbers], self._sizes[numbers] = bits, sizes

    def _put(self, name: str, bits: Bits, sizes: npt.NDArray[np.uint16]) -> None:
        number = self._number(name)
        self._bits[number], self._sizes[number] = bits, sizes

    def _number(self, name: str) -> int:
        """Where the model of this name stands; a place at the end for one that is new."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._names)
            self._names.append(name)
            if number == len(self._bits):
                more = int(number * _GROWTH) - number
                self._bits = np.vstack([self._bits, np.zeros((more, _ENDS[-1]), np.uint64)])
                self._sizes = np.vstack([self._sizes, np.zeros((more, len(BLOCKS)), np.uint16)])
        return number

    def drop(self, name: str) -> None:
        """Forget a model; nothing when it is not there. The last one takes its number."""
        number = self._numbers.pop(name, None)
        if number is None:
            return
        last = self._names.pop()
        if last != name:
            self._names[number], self._numbers[last] = last, number
            self._bits[number] = self._bits[len(self._names)]
            self._sizes[number] = self._sizes[len(self._names)]

    def nearest(self, sketch: Sketch, count: int) -> list[tuple[str, float]]:
        """Up to `count` models and how far they are above chance, in standard deviations."""
        known = len(self._names)
        if not known:
            return []
        bits, sizes = signs(sketch)
        best = np.full(known, -np.inf, np.float32)
        start = 0
        for block, end in enumerate(_ENDS):
            compared = np.minimum(self._sizes[:known, block], sizes[block]).astype(np.float32)
            # Bits beyond either's size are zero in that one, and left out by not being counted:
            # sizes of one block are its whole size or none.
            differ = np.bitwise_count(self._bits[:known, start:end] ^ bits[start:end])
            apart = differ.sum(axis=1, dtype=np.int32).astype(np.float32)
            z = (compared - 2 * apart) / np.sqrt(np.maximum(compared, 1))
            np.maximum(best, np.where(compared > 0, z, -np.inf), out=best)
            start = end
        order = np.argsort(-best, kind="stable")[:count]
        return [(self._names[at], float(best[at])) for at in order if best[at] >= Z_MIN]


def signs(sketch: Sketch) -> tuple[Bits, npt.NDArray[np.uint16]]:
    """A model's bits, block after block, and how many of each there are: all, or none."""
    gram = sketch.gram[:GRAM_BITS].astype(np.float32)
    blocks = [
        sketch.embed.astype(np.float32),
        sketch.samples[0].ravel() if sketch.layers else np.zeros(0),
        sketch.samples[-1].ravel() if sketch.layers else np.zeros(0),
        gram - np.median(gram) if len(gram) else gram,
    ]
    words, sizes = [], []
    for values, bits, width in zip(blocks, BLOCKS, _WORDS, strict=True):
        whole = len(values) == bits and np.isfinite(values).any()
        sizes.append(bits if whole else 0)
        packed = np.zeros(width * 8, np.uint8)
        if whole:
            found = np.packbits(np.asarray(values) > 0)
            packed[: len(found)] = found
        words.append(packed.view(np.uint64))
    return np.concatenate(words), np.array(sizes, np.uint16)


def pack_signs(sketch: Sketch) -> bytes:
    """All that an index needs of a model."""
    bits, sizes = signs(sketch)
    return bits.astype("<u8").tobytes() + sizes.astype("<u2").tobytes()


def unpack_signs(packed: Sequence[bytes]) -> tuple[Bits, npt.NDArray[np.uint16]]:
    """What was packed, a row each."""
    end = 8 * _ENDS[-1]
    width = end + 2 * len(BLOCKS)
    if any(len(one) != width for one in packed):
        raise Malformed(f"signs that are not {width} bytes")
    table = np.frombuffer(b"".join(packed), np.uint8).reshape(len(packed), width)
    bits, sizes = table[:, :end], table[:, end:]
    return np.ascontiguousarray(bits).view("<u8"), np.ascontiguousarray(sizes).view("<u2")
