"""Which weighted sum of tensors the target is, if any: least squares, then numbers people type.

Every residual is measured in steps of the target's type: a sum of the right tensors is off by half
a step at most in the simplest case, a wrong one by many. What is left after that are some tens of
sums to try to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, islice, permutations, product

import numpy as np

from headwater.codec.predictions import linear
from headwater.codec.predictions.prediction import PARENTS_MAX, Prediction, usable
from headwater.codec.predictions.samples import Doubles, Samples

NEAREST_MAX = 8  # 162 sums of up to four of them
TRIED_MAX = 12  # sums that are tried to the bit
RESIDUAL_MAX = 2.0  # steps, root of the mean square; tools that round often reach 1
GUESSES_MAX = 600  # a tenth of a second; reached where a target is near to many and made of none
DIVIDED_MAX = 12  # ways to divide a sum that are tried
GRIDS = (20, 100, 3, 7, 8, 16)  # coefficients are multiples of 1/20, 1/100, …
CUTS_MAX = 200  # each halves the ellipsoid or better; most end in under 60
ELLIPSOID = 8  # its first radius, in standard deviations of the least squares
Guess = tuple[Prediction, tuple[int, ...]]


def guesses(samples: Samples) -> Iterator[Guess]:
    """Sums worth trying to the bit, the simplest first; up to GUESSES_MAX."""
    return islice(_guesses(samples), GUESSES_MAX)


def _guesses(samples: Samples) -> Iterator[Guess]:
    near = samples.nearest(NEAREST_MAX)
    target, steps = samples.target_floats(), samples.steps()
    columns = [samples.floats(index) for index in near]
    finite = np.isfinite(target)
    for column in columns:
        finite &= np.isfinite(column) & (np.abs(column) < 1e30)
    if not near or np.count_nonzero(finite) < 2 * PARENTS_MAX:
        return
    matrix, wanted = np.stack(columns, axis=1)[finite], target[finite]
    steps = steps[finite]
    # Near zero a step is tiny, and tools round what came before: no single element may decide.
    scale = 1 / np.maximum(steps, np.median(steps) / 8)
    if not (np.isfinite(matrix * scale[:, None]).all() and np.isfinite(wanted * scale).all()):
        return  # numbers near both ends of their range: no one merges such
    for sum_ in _sums(matrix * scale[:, None], wanted * scale)[:TRIED_MAX]:
        parents = tuple(near[at] for at in sum_)
        part = matrix[:, sum_]
        yield from _snapped(samples, part * scale[:, None], wanted * scale, parents)
        exact = [float(weight) for weight in refine(part, wanted, steps / 2)]
        if not all(map(usable, exact)):
            continue
        for mode in _modes(samples.target.dtype)[:2]:
            yield Prediction("linear", linear.params_of(exact, mode)), parents


def _modes(dtype: str) -> tuple[str, ...]:
    """The ways of rounding that differ for a target of `dtype`, the usual ones first."""
    if dtype == "F64":
        return ("f64",)
    return ("f32", "fused", "f64") if dtype == "F32" else ("f32", "each", "stack", "added", "f64")


def _sums(matrix: Doubles, wanted: Doubles) -> list[tuple[int, ...]]:
    """The sets of columns that make up `wanted`, small sets first, then by residual."""
    square, sums = matrix.T @ matrix, matrix.T @ wanted
    fitting = []
    for count in range(1, PARENTS_MAX + 1):
        for set_ in combinations(range(matrix.shape[1]), count):
            found = np.linalg.lstsq(square[np.ix_(set_, set_)], sums[list(set_)], rcond=1e-15)[0]
            off = _off(matrix[:, set_], wanted, found)
            if off <= RESIDUAL_MAX:
                fitting.append((count, off, set_))
    return [set_ for _, _, set_ in sorted(fitting)]


def _off(matrix: Doubles, wanted: Doubles, weights: Doubles) -> float:
    """Root of the mean square of what a sum misses."""
    return float(np.sqrt(np.mean((wanted - matrix @ weights) ** 2)))


def _snapped(
    samples: Samples, matrix: Doubles, wanted: Doubles, parents: tuple[int, ...]
) -> Iterator[Guess]:
    """Sums with coefficients such as people type, near to the best ones."""
    best = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
    typed = [(tuple(map(float, np.rint(best * grid) / grid)), 1.0) for grid in GRIDS]
    for weights, over in [*dict.fromkeys(typed), *_divided(best)]:
        if not any(weights) or not all(map(usable, weights)):
            continue
        if _off(matrix, wanted, np.array(weights) / over) <= RESIDUAL_MAX:
            yield from _forms(samples.target.dtype, weights, over, parents)


def _divided(best: Doubles) -> list[tuple[tuple[float, ...], float]]:
    """Weights in twentieths that give `best` when divided by their sum, the likeliest first."""
    likely = []
    for n in range(1, 80):
        weights = np.rint(best * n)
        if n != 20 and weights.sum() == n and (np.abs(weights / n - best) < 0.01).all():
            odd = bool((weights % 2).any())  # not in tenths
            likely.append((bool(weights.max() != 20), odd, n, tuple(map(float, weights / 20))))
    return [(weights, n / 20) for _, _, n, weights in sorted(likely)[:DIVIDED_MAX]]


def _forms(
    dtype: str, weights: tuple[float, ...], over: float, parents: tuple[int, ...]
) -> Iterator[Guess]:
    """The ways to compute one sum: as it stands, or moving one of its parents by differences.

    In every order, since an order of adding has its own last bit; the first two may change places.
    """
    terms = list(zip(weights, parents, strict=True))
    if all(weights):
        for mode, order in product(_modes(dtype), permutations(terms)):
            if len(order) == 1 or order[:2] <= order[1::-1]:
                yield _guess(order, mode, "none", over)
    if len(weights) == 1 or abs(sum(weights) / over - 1) > 0.01:
        return
    for at, (weight, base) in enumerate(terms):
        moves = terms[:at] + terms[at + 1 :]
        # What is moved by differences that are divided by their sum has no part of its own.
        if not all(move for move, _ in moves) or (over != 1.0 and weight):
            continue
        for mode, order in product(_modes(dtype), permutations(moves)):
            yield _guess(order, mode, "last", over, base)
            if over == 1.0:
                yield _guess(order, mode, "first", over, base)


def _guess(
    terms: Sequence[tuple[float, int]], mode: str, base: str, over: float, *moved: int
) -> Guess:
    weights = [weight for weight, _ in terms]
    parents = (*moved, *(parent for _, parent in terms))
    return Prediction("linear", linear.params_of(weights, mode, base, over)), parents


def refine(matrix: Doubles, wanted: Doubles, half: Doubles) -> Doubles:
    """Weights whose sums lie within `half` of `wanted`, or as nearly so as was found.

    A rounded number says between which two bounds the exact one lies. Least squares looks at the
    middle; here an ellipsoid around its answer, which holds the weights within all bounds, is cut
    by the bound that its centre breaks most, over and over (the ellipsoid method, with deep cuts).
    """
    scaled, goal = matrix / half[:, None], wanted / half
    count = matrix.shape[1]
    weights: Doubles = np.linalg.lstsq(scaled, goal, rcond=None)[0]
    around = np.linalg.pinv(scaled.T @ scaled, hermitian=True) * ELLIPSOID**2 / 3
    best, worst = weights, np.inf
    for _ in range(CUTS_MAX if count > 1 else 0):
        left = goal - scaled @ weights
        at = int(np.abs(left).argmax())
        over = abs(float(left[at])) - 1
        if over < worst:
            best, worst = weights, over
        cut = around @ scaled[at] * -np.sign(left[at])
        width = float(np.sqrt(abs(scaled[at] @ around @ scaled[at])))
        depth = over / width if width else 1.0
        if over <= 0 or depth >= 1:  # within all bounds, or no such weights in the ellipsoid
            break
        cut /= width
        weights = weights - cut * (1 + count * depth) / (count + 1)
        shrink = 2 * (1 + count * depth) / ((count + 1) * (1 + depth))
        around = around - shrink * np.outer(cut, cut)
        around *= count**2 * (1 - depth**2) / (count**2 - 1)
    return best
