"""Samples of a target and of the tensors that it may come from: some 8,000 elements, in runs.

Samples.exact(prediction, parents) -> float     how much of the sample it gets right
Samples.floats(index) -> array                  a candidate's numbers at the sampled places
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.codec.predictions.apply import needs, predict
from headwater.codec.predictions.kinds import (
    EXPONENT_MIN,
    FLOATS,
    MANTISSA_BITS,
    TensorKind,
    Words,
    to_floats,
    words_of,
)
from headwater.codec.predictions.prediction import Prediction, quiet

RUNS = 8
RUN_ELEMENTS = 1024  # a multiple of every block
HELD_BYTES_MAX = 96 * 2**20  # of candidates; a matrix to transpose has up to 64 MiB
PROMISING = 0.97  # of the runs so far; less, and the others are not looked at

Reader = Callable[[int, int], bytes | bytearray | memoryview]
Doubles = npt.NDArray[Any]  # float64


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tensor that the target may have been made of. `read(start, stop)` gives its raw bytes."""

    name: str
    kind: TensorKind
    read: Reader


@dataclass(frozen=True, slots=True)
class Found:
    """A prediction that holds. `parents` are indexes of candidates, in the formula's order.

    `exact` is the part of the sampled elements (blocks, for a type that has them) that came out
    right to the bit, between 0 and 1; of `rows`, among those that it predicts.
    """

    prediction: Prediction
    parents: tuple[int, ...]
    exact: float


class Samples:
    """What was read of the target and of candidates. Ranges are kept for the next guess."""

    def __init__(self, target: TensorKind, read: Reader, candidates: Sequence[Candidate]) -> None:
        self.target = target
        self.candidates = candidates
        self._target_read = read
        self.runs = _runs(target)
        self._bytes = [bytes(read(*self._range(target, *run))) for run in self.runs]
        self._read: dict[tuple[int, int, int], memoryview] = {}
        self._held_bytes = 0
        self._floats: dict[int, Doubles] = {}

    @staticmethod
    def _range(kind: TensorKind, first: int, last: int) -> tuple[int, int]:
        form = kind.format
        return first // form.block * form.block_bytes, last // form.block * form.block_bytes

    def part(self, index: int, start: int, stop: int) -> memoryview:
        """Bytes `start` to `stop` of a candidate."""
        key = (index, start, stop)
        if key not in self._read:
            if self._held_bytes + stop - start > HELD_BYTES_MAX:
                self._read.clear()
                self._held_bytes = 0
            self._read[key] = memoryview(bytes(self.candidates[index].read(start, stop)))
            self._held_bytes += stop - start
        return self._read[key]

    def elements(self, index: int, first: int, count: int) -> memoryview:
        """Bytes of `count` elements of a candidate."""
        kind = self.candidates[index].kind
        return memoryview(self.candidates[index].read(*self._range(kind, first, first + count)))

    def target_part(self, first: int, count: int) -> bytes:
        """Bytes of `count` elements of the target."""
        return bytes(self._target_read(*self._range(self.target, first, first + count)))

    def exact(self, prediction: Prediction, parents: tuple[int, ...]) -> float:
        """How much of the sample `prediction` gets right; 0 when it does not begin well."""
        same = total = 0
        reach = self.target.elements
        if prediction.op == "rows":  # says nothing of the rows after the parent's
            reach = min(reach, self.candidates[parents[0]].kind.elements)
        for run, actual in zip(self.runs, self._bytes, strict=True):
            if run[1] > reach:
                continue
            guess = self._predicted(prediction, parents, run)
            width = self.target.format.block_bytes
            differs = np.frombuffer(guess, np.uint8) != np.frombuffer(actual, np.uint8)
            blocks = differs.reshape(-1, width).any(axis=1)
            same += blocks.size - int(np.count_nonzero(blocks))
            total += blocks.size
            if same < PROMISING * total:
                return 0.0
        return same / total if total else 0.0

    def _predicted(
        self, prediction: Prediction, parents: tuple[int, ...], run: tuple[int, int]
    ) -> bytes:
        kinds = [self.candidates[index].kind for index in parents]
        start, stop = self._range(self.target, *run)
        ranges = needs(prediction, self.target, kinds, start, stop)
        parts = [self.part(index, *range) for index, range in zip(parents, ranges, strict=True)]
        return predict(prediction, self.target, kinds, start, stop, parts)

    def words(self, index: int | None) -> Words:
        """The elements of a candidate of the target's shape, or of the target itself (None)."""
        kind = self.target if index is None else self.candidates[index].kind
        runs = (
            self._bytes
            if index is None
            else [self.part(index, *self._range(kind, *run)) for run in self.runs]
        )
        return np.concatenate([words_of(kind.dtype, run) for run in runs])

    def floats(self, index: int) -> Doubles:
        """The numbers of a candidate of the target's shape at the sampled places."""
        if index not in self._floats:
            kind = self.candidates[index].kind
            self._floats[index] = to_floats(kind.dtype, self.words(index), np.float64)
        return self._floats[index]

    def target_floats(self) -> Doubles:
        floats: Doubles = to_floats(self.target.dtype, self.words(None), np.float64)
        return floats

    def places(self) -> npt.NDArray[np.int64]:
        """The sampled elements' numbers, as `floats` has them."""
        return np.concatenate([np.arange(first, last, dtype=np.int64) for first, last in self.runs])

    def alike(self) -> list[int]:
        """Candidates of floats of the target's shape."""
        return [
            index
            for index, candidate in enumerate(self.candidates)
            if candidate.kind.shape == self.target.shape and candidate.kind.dtype in FLOATS
        ]

    def nearest(self, most: int) -> list[int]:
        """Up to `most` of those, the ones nearest to the target first."""
        target = self.target_floats()
        with quiet():
            far = {i: float(np.nanmean(np.abs(self.floats(i) - target))) for i in self.alike()}
        usable = [index for index in far if np.isfinite(far[index])]
        return sorted(usable, key=far.__getitem__)[:most]

    def steps(self) -> Doubles:
        """For each sampled element of the target the distance to the next number of its type."""
        size = np.abs(self.target_floats())
        exponent = np.frexp(np.where(np.isfinite(size), size, 1.0))[1] - 1
        lowest = EXPONENT_MIN[self.target.dtype]
        exponent = np.where(size == 0, lowest, np.maximum(exponent, lowest))
        steps: Doubles = np.ldexp(1.0, exponent - MANTISSA_BITS[self.target.dtype])
        return steps


def _runs(target: TensorKind) -> list[tuple[int, int]]:
    """Up to RUNS runs of elements, spread evenly from the first to the last of the tensor."""
    block = target.format.block
    if target.elements <= RUNS * RUN_ELEMENTS:
        return [(0, target.elements)] if target.elements else []
    last = (target.elements - RUN_ELEMENTS) // block
    starts = [last * n // (RUNS - 1) * block for n in range(RUNS)]
    return [(start, start + RUN_ELEMENTS) for start in starts]
