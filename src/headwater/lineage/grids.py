"""Whether numbers lie on a grid of few levels, as quantization leaves them, and its steps.

    steps_of(rows, dtype)      the step at each number, or None when there is no grid
    levels_of(rows)            mean number of values in a block of 32

Known from the type of a stored block; of floats, found: few values in a block of 32, or whole
multiples of the smallest value of a row, or of a 127th of the largest.
"""

from __future__ import annotations

import numpy as np

from headwater.lineage.blocks import BLOCKS
from headwater.lineage.values import Floats

BLOCK = 32  # numbers of the smallest groups that anybody quantizes together
LEVELS_MAX = 16  # of 4 bits; a block of 32 floats has some 31 values
FEW_OF = 0.55  # of the numbers in a block that are not zero
BLOCKS_MIN = 0.98  # of all; the others hold a number that a cast moved
MULTIPLES_MAX = 0.12  # mean distance to a multiple; of anything else a quarter
_MULTIPLE_MAX = 48  # beyond it what BF16 rounds away is a good part of a step
_ZERO_SHARE_MAX = 0.9
_LEVELS_OF = {"Q8_0": 127, "Q4_0": 8, "Q5_0": 16}  # steps from 0 to the largest of a block
_RANGE_OF = {"Q4_1": 15, "Q5_1": 31}  # steps from the smallest to the largest


def steps_of(rows: Floats, dtype: str) -> Floats | None:
    """`rows` are whole rows of a matrix, of some blocks of 32 each."""
    if not rows.size or rows.shape[1] % BLOCK:
        return None
    blocks = rows.reshape(-1, BLOCK)
    largest = np.abs(blocks).max(axis=1, keepdims=True)
    if dtype in BLOCKS:
        if dtype in _LEVELS_OF:
            return _spread(largest / _LEVELS_OF[dtype], rows)
        if dtype in _RANGE_OF:
            range_ = np.ptp(blocks, axis=1, keepdims=True)
            return _spread(range_ / _RANGE_OF[dtype], rows)
        return _spread(_gaps(blocks)[0], rows)
    if dtype not in ("F32", "F16", "BF16") or not blocks.any():
        return None
    gaps, levels = _gaps(blocks)
    there = (blocks != 0).sum(axis=1)
    full = there >= LEVELS_MAX // 2  # where most was pruned, few values are left whatever they are
    few = levels[full] <= np.minimum(LEVELS_MAX, 1 + there[full] * FEW_OF)
    if full.mean() >= 0.5 and few.mean() >= BLOCKS_MIN:
        return _spread(gaps, rows)
    if (rows == 0).mean() > _ZERO_SHARE_MAX:
        return None
    smallest = np.where(rows == 0, np.inf, np.abs(rows)).min(axis=1, keepdims=True)
    smallest = np.where(np.isfinite(smallest), smallest, 0)  # of a row of zeros
    for step in (
        np.broadcast_to(smallest, rows.shape),
        np.full_like(rows, smallest[smallest > 0].min()),
        _spread(largest / 127, rows),
    ):
        if _multiples(rows, step):
            return np.ascontiguousarray(step, np.float32)
    return None


def levels_of(rows: Floats) -> float:
    """Whole blocks only; 32 when there is none."""
    blocks = np.sort(rows.ravel()[: rows.size // BLOCK * BLOCK].reshape(-1, BLOCK), axis=1)
    return float((1 + (np.diff(blocks, axis=1) != 0).sum(axis=1)).mean()) if len(blocks) else 32.0


def _multiples(rows: Floats, step: Floats) -> bool:
    """Whether the numbers are whole multiples of the step, and not all of them the step itself."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        count = rows / step
    near = np.isfinite(count) & (np.abs(count) <= _MULTIPLE_MAX) & (rows != 0)
    if near.mean() < 0.25:  # a step that is far too small meets nothing below the limit
        return False
    count = count[near]
    return bool(np.abs(count - np.rint(count)).mean() < MULTIPLES_MAX)


def _gaps(blocks: Floats) -> tuple[Floats, Floats]:
    """Of each block the least distance between two values, and how many values it has."""
    risen = np.diff(np.sort(blocks, axis=1), axis=1)
    # Two floats that were one level may be a cast apart: less than a 500th of the largest.
    apart = risen > np.abs(blocks).max(axis=1, keepdims=True) / 500
    gaps = np.where(apart, risen, np.inf).min(axis=1, keepdims=True)
    return np.where(np.isfinite(gaps), gaps, 0).astype(np.float32), 1 + apart.sum(axis=1)


def _spread(of_block: Floats, rows: Floats) -> Floats:
    """One number of each block, at all its places."""
    found: Floats = np.repeat(of_block.reshape(-1, 1), BLOCK, axis=1).reshape(rows.shape)
    return found
