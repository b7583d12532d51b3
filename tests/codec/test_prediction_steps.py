"""Where `linear` rounds, by the table of docs/predictions.md and code that knows nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from predictions_kit import Array, bf16, candidate, f32, in_frames, r16

from headwater.codec.predict import Prediction, TensorKind

F = np.float32
SHAPE = (8, 64)
# steps: are these rounded? coefficients, differences, products, running sums, the sum at its end
TABLE = {
    "f32": (False, False, False, False, False),
    "each": (False, True, True, True, True),
    "added": (True, True, False, True, True),
    "stack": (True, True, True, False, True),
}


@pytest.mark.parametrize("steps", TABLE)
@pytest.mark.parametrize("base", ["none", "last", "first"])
@pytest.mark.parametrize("over", [1.0, 1.3])
def test_sums_round_where_the_document_says(steps: str, base: str, over: float) -> None:
    random = np.random.default_rng(0)
    parents = [bf16(random.normal(0, 0.02, SHAPE)) for _ in range(3)]
    values = [f32(parent) for parent in parents]
    weights = [0.3, 0.55, -0.2][: 3 - (base != "none")]

    def perhaps(column: int, floats: Array) -> Array:
        return r16(floats) if TABLE[steps][column] else floats

    terms = values if base == "none" else [perhaps(1, v - values[0]) for v in values[1:]]
    scales = [perhaps(0, np.full(SHAPE, weight, F)) for weight in weights]
    products = [perhaps(2, term * scale) for term, scale in zip(terms, scales, strict=True)]
    total = values[0] + products[0] if base == "first" else products[0]
    for product in products[1:]:
        total = perhaps(3, total) + product
    if over != 1:
        total = perhaps(4, total) / perhaps(0, np.full(SHAPE, over, F))
    if base == "last":
        total = values[0] + perhaps(4, total)

    params = {"c": [w.hex() for w in weights], "over": over.hex(), "steps": steps, "base": base}
    one = [candidate("", "BF16", parent) for parent in parents]
    got = in_frames(Prediction("linear", params), TensorKind("BF16", SHAPE), one, 512)
    assert got == bf16(total).tobytes()
