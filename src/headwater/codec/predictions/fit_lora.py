"""Which adapter was merged into which base, and how strongly."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from headwater.codec.predictions import lora
from headwater.codec.predictions.fit import RESIDUAL_MAX, Guess
from headwater.codec.predictions.kinds import FLOATS, to_floats, words_of
from headwater.codec.predictions.prediction import Prediction, usable
from headwater.codec.predictions.samples import Doubles, Samples

BASES_MAX = 4  # the nearest ones
RESIDUAL_F32_MAX = 64.0  # steps: the sum over the rank was itself in float32
PAIRS_MAX = 16  # of A and B, where their names do not say what belongs together
A_BYTES_MAX = 16 * 2**20  # A is read whole: rank 256 of 16,384 columns
_TWINS = (("lora_A", "lora_B"), ("lora_a", "lora_b"), ("lora_down", "lora_up"), ("down", "up"))


def guesses(samples: Samples) -> Iterator[Guess]:
    """Merges worth trying to the bit."""
    if len(samples.target.shape) != 2 or samples.target.dtype == "F64":
        return
    pairs = _pairs(samples)
    bases = samples.nearest(BASES_MAX) if pairs else []
    target, steps = samples.target_floats(), samples.steps()
    scale = 1 / np.maximum(steps, np.median(steps) / 8)
    residual_max = RESIDUAL_F32_MAX if samples.target.dtype == "F32" else RESIDUAL_MAX
    for a, b in pairs:
        product = _product(samples, a, b) * scale
        for base in bases:
            moved = (target - samples.floats(base)) * scale
            finite = np.isfinite(moved) & np.isfinite(product)
            power = float(product[finite] @ product[finite])
            if power == 0.0:
                continue
            best = float(product[finite] @ moved[finite]) / power
            left = moved[finite] - best * product[finite]
            if math.sqrt(float(np.mean(left**2))) > residual_max:
                continue
            for strength in _strengths(best, samples.candidates[a].kind.shape[0]):
                for mode in ("f32", "delta", "each", "fused"):
                    yield Prediction("lora", lora.params_of(strength, mode)), (base, a, b)


def _strengths(best: float, rank: int) -> list[float]:
    """Scales near `best`: alpha / rank, alpha / sqrt(rank), round numbers, itself."""
    root = math.sqrt(rank)
    near = [round(best * n) / n for n in (rank, root, 20, 100, 3)]
    return list(dict.fromkeys([number for number in [*near, best] if number and usable(number)]))


def _pairs(samples: Samples) -> list[tuple[int, int]]:
    """Candidates that may be A and B of one adapter; those whose names say so, if any do."""
    rows, columns = samples.target.shape
    two = [
        (index, candidate.name, candidate.kind)
        for index, candidate in enumerate(samples.candidates)
        if len(candidate.kind.shape) == 2 and candidate.kind.dtype in FLOATS
    ]
    pairs = [
        (i, j, a_name, b_name)
        for i, a_name, a in two
        for j, b_name, b in two
        if i != j
        and (a.shape[1], b.shape[0]) == (columns, rows)
        and a.shape[0] == b.shape[1] <= min(lora.RANK_MAX, rows // 2, columns // 2)
        and 0 < a.raw_bytes <= A_BYTES_MAX
    ]
    twins = [
        (i, j)
        for i, j, a_name, b_name in pairs
        if any(a in a_name and a_name.replace(a, b) == b_name for a, b in _TWINS)
    ]
    return (twins or [(i, j) for i, j, _, _ in pairs])[:PAIRS_MAX]


def _product(samples: Samples, a: int, b: int) -> Doubles:
    """B @ A at the sampled places."""
    columns = samples.target.shape[1]
    a_kind, b_kind = samples.candidates[a].kind, samples.candidates[b].kind
    rank = a_kind.shape[0]
    whole = words_of(a_kind.dtype, samples.part(a, 0, a_kind.raw_bytes))
    right = to_floats(a_kind.dtype, whole, np.float64).reshape(rank, columns)
    width = b_kind.format.block_bytes * rank
    found = []
    for first, last in samples.runs:
        row, stop = first // columns, (last - 1) // columns + 1
        part = words_of(b_kind.dtype, samples.part(b, row * width, stop * width))
        left = to_floats(b_kind.dtype, part, np.float64).reshape(-1, rank)
        places = np.arange(first, last)
        total = np.zeros(last - first)
        for k in range(rank):
            total += left[places // columns - row, k] * right[k, places % columns]
        found.append(total)
    return np.concatenate(found)
