"""The search finds how a tensor was made, from what plain code, gguf and PyTorch made of others."""

from __future__ import annotations

from collections.abc import Callable

import gguf
import numpy as np
import pytest
from predictions_kit import (
    FRAME_ELEMENTS,
    Array,
    Family,
    bf16,
    candidate,
    f32,
    in_frames,
    r16,
    share,
)

from headwater.codec.predict import Candidate, Found, TensorKind, search

F = np.float32


def found_for(target: Candidate, candidates: list[Candidate], exact: float = 1.0) -> Found:
    """The best prediction found; it must give the whole tensor, not the samples alone."""
    found = search(target.kind, target.read, candidates)
    assert found, "nothing was found"
    best = found[0]
    parents = [candidates[index] for index in best.parents]
    whole = in_frames(best.prediction, target.kind, parents, FRAME_ELEMENTS)
    assert share(target, whole) >= exact, best
    assert all(one.exact >= 0.98 for one in found)
    return best


def task_vector(family: Family, a: float, b: float) -> Array:
    """base + a * (first - base) + b * (third - base), the sum of the moves first."""
    base, first, third = f32(family.base), f32(family.tuned[0]), f32(family.tuned[2])
    return bf16(base + (F(a) * (first - base) + F(b) * (third - base)))


def each_step(family: Family) -> Array:
    """0.3 and 0.7 as BF16 tensors give it, rounded after every step."""
    left, right = r16(F(0.3) * f32(family.tuned[0])), r16(F(0.7) * f32(family.tuned[1]))
    return bf16(left + right)


def stacked(family: Family) -> Array:
    """As mergekit sums: weights in BF16, products in BF16, the sum in float32."""
    products = [
        r16(r16(np.array([w], F)) * f32(t))
        for w, t in zip((0.4, 0.35, 0.25), family.tuned, strict=True)
    ]
    return bf16(products[0] + products[1] + products[2])


def slerp(family: Family, t: float) -> Array:
    """By its textbook formula, the angle taken over the whole tensor."""
    a, b = f32(family.base), f32(family.tuned[1])
    cosine = float(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)))
    angle = np.arccos(cosine)
    weights = np.sin((1 - t) * angle) / np.sin(angle), np.sin(t * angle) / np.sin(angle)
    return bf16(F(weights[0]) * a + F(weights[1]) * b)


SUMS: dict[str, tuple[Callable[[Family], Array], float]] = {
    "half": (lambda f: bf16(F(0.5) * f32(f.tuned[0]) + F(0.5) * f32(f.tuned[2])), 1.0),
    "thirds": (lambda f: bf16(sum(F(1 / 3) * f32(t) for t in f.tuned)), 0.999),
    "task": (lambda f: task_vector(f, 0.7, 0.6), 0.9999),
    "each": (each_step, 1.0),
    "stack": (stacked, 0.9999),
    "slerp": (lambda f: slerp(f, 0.37), 0.999),
    "lerp": (lambda f: bf16(f32(f.base) + F(0.25) * (f32(f.tuned[0]) - f32(f.base))), 1.0),
    "extrapolated": (lambda f: bf16(F(1.5) * f32(f.tuned[0]) + F(-0.5) * f32(f.base)), 0.9999),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_of_models_are_found(name: str) -> None:
    make, exact = SUMS[name]
    family = Family()
    best = found_for(candidate("t", "BF16", make(family)), family.candidates, exact)
    assert best.prediction.op == "linear"


@pytest.mark.parametrize("steps", ["f32", "delta", "each"])
@pytest.mark.parametrize("scale", [2.0, 0.125, 16 / np.sqrt(8), 1 / 3])
def test_merged_adapters_are_found(steps: str, scale: float) -> None:
    family = Family()
    product = np.zeros(family.shape, F)
    for k in range(8):
        product += family.b[:, k, None] * family.a[k]
    if steps == "each":
        product = r16(product)
    delta = F(scale) * product
    merged = bf16(f32(family.base) + (delta if steps == "f32" else r16(delta)))
    best = found_for(candidate("t", "BF16", merged), family.candidates)
    assert best.prediction.op == "lora"
    assert [family.candidates[i].name[-8:] for i in best.parents] == [
        "base",
        "A.weight",
        "B.weight",
    ]


@pytest.mark.parametrize("signed", [False, True])
def test_pruning_by_magnitude_is_found(signed: bool) -> None:
    family = Family()
    values = f32(family.base)
    kept = np.abs(values) >= np.quantile(np.abs(values), 0.4)
    pruned = bf16(values * kept) if signed else np.where(kept, family.base, 0).astype(np.uint16)
    best = found_for(candidate("t", "BF16", pruned), family.candidates, 0.998)
    assert (best.prediction.op, best.prediction.params["signed"]) == ("prune", signed)


@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
@pytest.mark.parametrize("op", ["cast", "transpose"])
def test_other_types_of_float_are_found(op: str, dtype: str) -> None:
    family = Family()
    values = f32(family.base).astype(f"f{int(dtype[1:]) // 8}")
    if op == "transpose":
        values = np.ascontiguousarray(values.T)
    assert found_for(candidate("t", dtype, values), family.candidates).prediction.op == op


@pytest.mark.parametrize("source", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("quant", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_blocks_of_gguf_are_found(quant: str, source: str) -> None:
    """Against the `gguf` package, which says that it follows the reference bit by bit."""
    values = np.random.default_rng(3).normal(0, 0.02, (64, 160)).astype(F)
    values[3, :32] = 0
    values[4, 5], values[4, 9] = 0.25, -0.25  # equally far from zero: the first one counts
    words = {"BF16": bf16(values), "F16": values.astype(np.float16), "F32": values}[source]
    values = f32(words) if source == "BF16" else words.astype(F)
    blocks = gguf.quantize(values, gguf.GGMLQuantizationType[quant])
    parent = candidate("p", source, words)
    best = found_for(candidate("t", quant, blocks, values.shape), [parent])
    assert best.prediction.op == "quant"


@pytest.mark.parametrize("given", [False, True])
def test_whole_numbers_by_row_are_found(given: bool) -> None:
    family = Family()
    values = f32(family.base)
    scale = np.abs(values).max(axis=1, keepdims=True) / F(126.5 if given else 127)
    whole = np.rint(values / scale).clip(-128, 127).astype(np.int8)
    candidates = [*family.candidates, candidate("scales", "F32", scale)]
    best = found_for(candidate("t", "I8", whole), candidates if given else family.candidates)
    assert best.prediction.op == "scaled"
    assert best.prediction.params["scale"] == ("given" if given else "own")


@pytest.mark.parametrize("shape", [(), (160, 1), (2, 3)])
def test_scaled_eighth_floats_are_found(shape: tuple[int, ...]) -> None:
    """One scale for all, for each row, for each square of 128; the rounding by a table."""
    values = np.random.default_rng(4).normal(0, 0.02, (160, 320)).astype(F)
    sides = {(): (160, 320), (160, 1): (1, 320), (2, 3): (128, 128)}[shape]
    squares = [np.arange(n) // side for n, side in zip(values.shape, sides, strict=True)]
    at = squares[0][:, None] * (squares[1].max() + 1) + squares[1]
    largest = np.array([np.abs(values)[at == n].max() for n in range(at.max() + 1)], F)
    scales = largest / F(448)
    codes = np.arange(127)
    table = np.where(codes < 8, codes / 512, (8 + codes % 8) * 2.0 ** (codes // 8 - 10))
    sizes = np.abs(values / scales[at])
    nearest = np.abs(sizes[..., None] - table).argmin(axis=-1)
    words = (nearest + 128 * (values < 0)).astype(np.uint8)
    candidates = [candidate("w", "F32", values), candidate("s", "F32", scales, shape or (1,))]
    best = found_for(candidate("t", "F8_E4M3", words), candidates, 0.999)
    assert (best.prediction.op, best.prediction.params["form"]) == ("scaled", "divide")


@pytest.mark.parametrize("quant", ["F16", "Q8_0"])
def test_the_order_of_heads_is_found(quant: str) -> None:
    """As llama.cpp's converter permutes the rows of queries and keys."""
    values = np.random.default_rng(3).normal(0, 0.02, (384, 64)).astype(F)
    permuted = values.reshape(3, 2, 64, 64).swapaxes(1, 2).reshape(values.shape)
    stored = gguf.quantize(permuted, gguf.GGMLQuantizationType[quant])
    target = candidate("t", quant, stored, values.shape)
    best = found_for(target, [candidate("p", "F32", values)])
    assert best.prediction.params["heads"] == 3


def test_more_rows_are_found() -> None:
    family = Family()
    longer = np.concatenate([family.base, family.base[:7] ^ 1])
    best = found_for(candidate("t", "BF16", longer), family.candidates, 0.9)
    assert best.prediction.op == "rows"
    shorter = candidate("t", "BF16", family.base[:50])
    assert found_for(shorter, family.candidates).prediction.op == "rows"


def test_nothing_is_found_where_nothing_is() -> None:
    """Another fine-tune is near all of them and made of none; bits of noise, of no number."""
    family, other = Family(), Family(2)
    tuned = candidate("t", "BF16", bf16(f32(family.base) + f32(other.base) / 10))
    assert search(tuned.kind, tuned.read, family.candidates) == []
    for dtype, width in {"BF16": 2, "F32": 4, "F64": 8, "F8_E4M3": 1, "I8": 1}.items():
        data = np.frombuffer(np.random.default_rng(5).bytes(width * 96 * 160), f"u{width}")
        noise = candidate("t", dtype, data, (96, 160))
        assert search(noise.kind, noise.read, [*family.candidates, noise][:-1]) == []
        twice = [*family.candidates, candidate("n", dtype, data[::-1].copy(), (96, 160))] * 2
        assert search(noise.kind, noise.read, twice) == []


@pytest.mark.parametrize("shape", [(0,), (0, 32), (), (1,), (3, 1), (2, 2, 2)])
def test_small_and_odd_shapes(shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape))
    values = np.arange(count, dtype=F)
    for dtype in ("F32", "I8", "Q8_0", "I64"):
        one = candidate("t", dtype, values, shape)
        for result in search(one.kind, one.read, [candidate("p", "F32", values, shape)] * 3):
            assert result.exact == 1.0


def test_only_samples_are_read() -> None:
    """Of a large tensor well under one percent, of it and of each parent."""
    kind = TensorKind("BF16", (8192, 4096))
    read_bytes = 0

    def read(start: int, stop: int) -> bytes:
        nonlocal read_bytes
        read_bytes += stop - start
        assert 0 <= start <= stop <= kind.raw_bytes
        return np.arange(start // 2, stop // 2, dtype=np.uint32).astype(np.uint16).tobytes()

    candidates = [Candidate(str(n), kind, read) for n in range(5)]
    search(kind, read, candidates)
    assert 0 < read_bytes <= 6 * 8192 * 2


@pytest.mark.parametrize("dtype", ["BF16", "F32", "Q8_0", "I8"])
def test_little_is_read_of_many_square_matrices(dtype: str) -> None:
    """All of one shape, none the parent: none is read whole to transpose it or for its heads."""
    side = 2048
    target, parent = TensorKind(dtype, (side, side)), TensorKind("BF16", (side, side))
    read_bytes = 0

    def read(start: int, stop: int) -> bytes:
        nonlocal read_bytes
        read_bytes += stop - start
        return bytes(n * 7 % 61 for n in range(start, stop))

    candidates = [
        Candidate(str(n), parent, lambda a, b, n=n: read(a + 2 * n, b + 2 * n)) for n in range(9)
    ]
    search(target, lambda start, stop: read(start + 1, stop + 1), candidates)
    assert 0 < read_bytes <= 10 * 90_000
