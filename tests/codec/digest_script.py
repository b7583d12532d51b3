"""Prints digests of what each formula makes of fixed bytes: NaN, infinity and subnormals are there.

Run by test_prediction_cpus.py with numpy told to do without some instructions of this CPU.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from itertools import product
from random import Random

import numpy as np
from predictions_kit import candidate, in_frames

from headwater.codec.predict import Candidate, Prediction, TensorKind

SHAPE = (24, 352)
FLOATS = ["BF16", "F16", "F32", "F64", "F8_E4M3"]
C = [(0.3).hex(), (-1.7).hex(), (1 / 3).hex()]


def parent(dtype: str, seed: int, shape: tuple[int, ...] = SHAPE) -> Candidate:
    """Half of it any bits, half numbers of a usual size; some zeros of both signs."""
    kind, random = TensorKind(dtype, shape), Random(seed)
    data = np.frombuffer(random.randbytes(kind.raw_bytes), np.uint8).copy()
    if dtype in ("F16", "F32", "F64"):
        whole = np.frombuffer(random.randbytes(2 * kind.elements), np.int16)
        usual = (whole / 2**20).astype(f"f{kind.format.block_bytes}")
        half = data.size // 2
        data[half:] = usual.view(np.uint8)[half:]
    data[:64] = 0
    data[64:128] = 0x80
    return candidate("", dtype, data, shape)


def cases() -> Iterator[tuple[Prediction, TensorKind, list[Candidate]]]:
    for dtype, source in product(FLOATS, FLOATS):
        target, one, two = TensorKind(dtype, SHAPE), parent(source, 1), parent(dtype, 2)
        for steps, base in product(
            ["f32", "f64", "fused", "each", "added", "stack"], ["none", "last", "first"]
        ):
            c = C[: 3 - (base != "none")]
            params = {"c": c, "over": (0.7).hex(), "steps": steps, "base": base}
            yield Prediction("linear", params), target, [one, two, parent(source, 3)]
        for steps in ["f32", "delta", "each", "fused"]:
            ab = [parent(source, 4, (5, SHAPE[1])), parent(source, 5, (SHAPE[0], 5))]
            yield Prediction("lora", {"scale": C[0], "steps": steps}), target, [one, *ab]
        yield Prediction("cast", {"heads": 1}), target, [one]
        yield Prediction("transpose", {}), target, [parent(source, 6, SHAPE[::-1])]
        yield Prediction("prune", {"below": (0.01).hex(), "signed": True}), target, [two]
        yield Prediction("rows", {}), target, [parent(dtype, 9, (7, SHAPE[1]))]
        scales = [parent(dtype, 7, shape) for shape in [(SHAPE[0], 1), (1,), (1, 3)]]
        for form, steps in product(["divide", "inverse", "multiply"], ["f32", "each"]):
            own = {"scale": "own", "form": form, "steps": steps}
            for eight in (TensorKind("I8", SHAPE), TensorKind("F8_E4M3", SHAPE)):
                yield Prediction("scaled", own), eight, [one]
                for scale in scales:
                    yield Prediction("scaled", own | {"scale": "given"}), eight, [one, scale]
    for quant, source in product(["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"], FLOATS):
        for fused in [False] + [True] * (quant != "Q8_0"):
            yield (
                Prediction("quant", {"fused": fused, "heads": 3}),
                TensorKind(quant, SHAPE),
                [parent(source, 8)],
            )


def digests() -> dict[str, str]:
    """For each op, of all its predictions together; the first 16 digits."""
    totals: dict[str, bytes] = {}
    for prediction, target, parents in cases():
        guess = in_frames(prediction, target, parents, 3968)
        before = totals.get(prediction.op, b"")
        totals[prediction.op] = sha256(before + guess).digest()
    return {op: total.hex()[:16] for op, total in sorted(totals.items())}


if __name__ == "__main__":
    print(json.dumps(digests()))
