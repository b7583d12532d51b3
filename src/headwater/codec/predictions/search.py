"""Which prediction makes a tensor out of others: guesses of every op, tried to the bit on samples.

A guess that is wrong costs a fraction of a millisecond here; a prediction that is wrong elsewhere
than in the samples costs the store space, never bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import product

import numpy as np

from headwater.codec.predictions import fit, fit_lora, prune, quant, scaled, transpose
from headwater.codec.predictions.fit import Guess
from headwater.codec.predictions.heads import HEAD_ROWS, HEADS_MAX, came_within
from headwater.codec.predictions.kinds import FLOATS, TensorKind, to_floats
from headwater.codec.predictions.prediction import Params, Prediction, quiet, usable
from headwater.codec.predictions.probes import columns_match, rows_match
from headwater.codec.predictions.samples import Candidate, Found, Reader, Samples

EXACT_MIN = 0.98  # less, and coding what differs costs about what a plain delta does
FOUND_MAX = 4
SCALES_MAX = 8  # tensors that may be the scales of another


def search(target: TensorKind, read: Reader, candidates: Sequence[Candidate]) -> list[Found]:
    """Predictions of the tensor that `read` reads, out of `candidates`, best first, up to four.

    Reads some 8,000 elements of the target and of each candidate of its shape; whole only the A of
    adapters, rows whose scale is looked for, and matrices to transpose. Ends at the first
    prediction that is right everywhere it looked.
    """
    if not target.known or not target.elements:
        return []
    usable = [index for index, candidate in enumerate(candidates) if candidate.kind.known]
    samples = Samples(target, read, [candidates[index] for index in usable])
    with quiet():
        found = _tried(samples, _guesses(samples))
    return [
        Found(one.prediction, tuple(usable[at] for at in one.parents), one.exact)
        for one in found[:FOUND_MAX]
    ]


def _tried(samples: Samples, guesses: Iterator[Guess]) -> list[Found]:
    """What holds, best first. Ends at one without a fault."""
    found = []
    for prediction, parents in guesses:
        exact = samples.exact(prediction, parents)
        if exact >= EXACT_MIN:
            found.append(Found(prediction, parents, exact))
        if exact == 1.0:
            break
    return _best(found)


def _best(found: list[Found]) -> list[Found]:
    """The best of each op and set of parents, best first; of equals the one tried first."""
    first: dict[tuple[str, frozenset[int]], Found] = {}
    for one in sorted(found, key=lambda one: -one.exact):
        first.setdefault((one.prediction.op, frozenset(one.parents)), one)
    return list(first.values())


def _guesses(samples: Samples) -> Iterator[Guess]:
    """Of every op, the cheap ones first."""
    ops: list[Callable[[Samples], Iterator[Guess]]] = []
    if samples.target.dtype in FLOATS:
        ops = [_cast, _prune, _transpose, fit_lora.guesses, fit.guesses]
        if samples.target.dtype in scaled.LARGEST:
            ops.insert(1, _scaled)
    elif samples.target.dtype in quant.TYPES:
        ops = [_quant]
    elif samples.target.dtype == "I8":
        ops = [_scaled]
    for op in (*ops, _rows):
        with suppress(np.linalg.LinAlgError):  # numbers that no solver takes: none of that op
            yield from op(samples)


def _cast(samples: Samples) -> Iterator[Guess]:
    for index in samples.alike():
        for heads in _heads(samples, index, "cast", {}):
            yield Prediction("cast", {"heads": heads}), (index,)


def _heads(samples: Samples, index: int, op: str, params: Params) -> Iterator[int]:
    """Numbers of heads that the rows may be in; 1 for rows in their own order."""
    yield 1
    rows = samples.target.shape[0] if len(samples.target.shape) == 2 else 0
    by_row = Prediction(op, params | {"heads": 1})
    for size in HEAD_ROWS:
        if rows and rows % size == 0 and rows // size <= HEADS_MAX:

            def came_from(row: int, size: int = size) -> int:
                return row - row % size + int(came_within(row % size, size))

            if rows_match(samples, index, by_row, came_from):
                yield rows // size


def _rows(samples: Samples) -> Iterator[Guess]:
    shape = samples.target.shape
    for index, candidate in enumerate(samples.candidates):
        kind = candidate.kind
        rows = len(shape) >= 2 and kind.shape[1:] == shape[1:] and kind.shape != shape
        if rows and kind.dtype == samples.target.dtype:
            yield Prediction("rows", {}), (index,)


def _transpose(samples: Samples) -> Iterator[Guess]:
    for index, candidate in enumerate(samples.candidates):
        kind = candidate.kind
        turned = len(kind.shape) == 2 and kind.shape == samples.target.shape[::-1]
        small = kind.dtype in FLOATS and kind.raw_bytes <= transpose.PARENT_BYTES_MAX
        if turned and small and columns_match(samples, index):
            yield Prediction("transpose", {}), (index,)


def _quant(samples: Samples) -> Iterator[Guess]:
    for index in samples.alike():
        for heads in _heads(samples, index, "quant", {"fused": False}):
            yield Prediction("quant", {"fused": False, "heads": heads}), (index,)
            if samples.target.dtype != "Q8_0":
                yield Prediction("quant", {"fused": True, "heads": heads}), (index,)


def _scaled(samples: Samples) -> Iterator[Guess]:
    target = samples.target
    if len(target.shape) < 2 or target.shape[-1] > scaled.ROW_ELEMENTS_MAX:
        return
    ways = list(product(scaled.FORMS, scaled.STEPS))
    shapes = scaled.scales_of(target)
    scales = [
        index
        for index, candidate in enumerate(samples.candidates)
        if candidate.kind.dtype in FLOATS
        and (candidate.kind.elements in (1, shapes[1][0]) or candidate.kind.shape == shapes[2])
    ]
    for index in samples.alike():
        for form, steps in ways:
            yield Prediction("scaled", scaled.params_of("own", form, steps)), (index,)
        for scale, (form, steps) in product(scales[:SCALES_MAX], ways):
            yield Prediction("scaled", scaled.params_of("given", form, steps)), (index, scale)


def _prune(samples: Samples) -> Iterator[Guess]:
    """Thresholds between the largest element that became a zero and the smallest that did not."""
    dtype = samples.target.dtype
    words = samples.words(None)
    sign = prune.sign_bit(words)
    zero = (words & ~sign) == 0
    for index in samples.alike():
        if samples.candidates[index].kind != samples.target or not zero.any() or zero.all():
            continue
        parent = samples.words(index)
        sizes = parent & ~sign
        smallest, largest = int(sizes[~zero].min()), int(sizes[zero].max())
        signed = bool((words[zero] == sign).any())
        middle = (smallest + largest + 1) // 2
        for word in dict.fromkeys((middle, smallest, largest + 1)):
            below = float(to_floats(dtype, np.array([word], words.dtype), np.float64)[0])
            if usable(below):
                yield Prediction("prune", prune.params_of(below, signed=signed)), (index,)
