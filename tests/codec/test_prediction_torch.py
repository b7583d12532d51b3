"""What PyTorch itself merges, casts and prunes on a CPU is found and computed again.

Runs where PyTorch is installed; the hub does not need it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from predictions_kit import candidate, in_frames, share

from headwater.codec.predict import Candidate, search

torch = pytest.importorskip("torch")

SHAPE = (256, 320)
NAMES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "int8": "I8"}
NAMES |= {"float64": "F64", "float8_e4m3fn": "F8_E4M3"}
TYPES = ["bfloat16", "float16", "float32"]


def made(name: str, tensor: Any) -> Candidate:
    width = {1: torch.uint8, 2: torch.uint16, 4: torch.int32, 8: torch.int64}
    words = tensor.contiguous().view(width[tensor.element_size()]).numpy()
    return candidate(name, NAMES[str(tensor.dtype)[6:]], words, tuple(tensor.shape))


def family(dtype: str) -> list[Any]:
    """A base and three fine-tunes of it."""
    torch.manual_seed(7)
    base = torch.randn(SHAPE) * 0.02
    tuned = [base + torch.randn(SHAPE) * 0.001 for _ in range(3)]
    return [tensor.to(getattr(torch, dtype)) for tensor in (base, *tuned)]


def check(op: str, target: Any, parents: dict[str, Any], exact: float) -> None:
    candidates = [made(name, tensor) for name, tensor in parents.items()]
    one = made("t", target)
    found = search(one.kind, one.read, candidates)
    assert found
    assert found[0].prediction.op == op
    chosen = [candidates[index] for index in found[0].parents]
    whole = in_frames(found[0].prediction, one.kind, chosen, 992)
    assert share(one, whole) >= exact, found[0]


def stacked(tensors: list[Any], weights: list[float], divided: bool) -> Any:
    """mergekit's weighted sum: one stack, weights in its type."""
    stack = torch.stack(tensors)
    column = torch.tensor(weights, dtype=stack.dtype)[:, None, None]
    total = (column * stack).sum(dim=0)
    return total / column.sum(dim=0) if divided else total


SUMS: dict[str, Any] = {
    "native": lambda base, a, b, c: 0.3 * a + 0.7 * b,
    "mean": lambda base, a, b, c: (a + b + c) / 3,
    "lerp": lambda base, a, b, c: torch.lerp(a, b, 0.3),
    "alpha": lambda base, a, b, c: torch.add(a, b - a, alpha=0.35),
    "task": lambda base, a, b, c: base + 0.7 * (a - base) + 0.6 * (c - base),
    "stack": lambda base, a, b, c: stacked([a, b, c], [0.5, 0.3, 0.2], True),
    "divided": lambda base, a, b, c: stacked([a, b], [1, 0.3], True),
    "vectors": lambda base, a, b, c: (
        base + stacked([a - base, b - base, c - base], [0.5, 0.3, 0.2], False)
    ),
}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", SUMS)
def test_merges(name: str, dtype: str) -> None:
    base, a, b, c = family(dtype)
    parents = {"b": b, "base": base, "a": a, "c": c}
    check("linear", SUMS[name](base, a, b, c), parents, 0.9995)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("rank", [8, 64])
@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("same", [False, True])
def test_adapters(dtype: str, rank: int, rounded: bool, same: bool) -> None:
    """PEFT's merge: the product of A and B, in their type, scaled and added in place."""
    base = family(dtype)[0]
    adapter = base.dtype if same else torch.float32
    a = (torch.randn(rank, SHAPE[1]) * 0.05).to(adapter)
    b = (torch.randn(SHAPE[0], rank) * 0.05).to(adapter)
    delta = (b @ a) * (16 / rank)
    merged = base.clone()
    merged += delta.to(base.dtype) if rounded else delta
    parents = {"base": base, "w.lora_A.weight": a, "w.lora_B.weight": b}
    check("lora", merged, parents, 0.999)


@pytest.mark.parametrize("source", TYPES)
@pytest.mark.parametrize("target", [*TYPES, "float64", "float8_e4m3fn"])
def test_casts(source: str, target: str) -> None:
    base = family(source)[0] * 20
    base[0, :2] = torch.tensor([1000.0, -1000.0])
    if source != target:
        cast = base.to(getattr(torch, target))
        if target == "float8_e4m3fn":
            cast = base.clamp(-448, 448).to(cast.dtype)  # its versions differ in what is too large
        check("cast", cast, {"base": base}, 1.0)


@pytest.mark.parametrize("dtype", TYPES)
def test_whole_numbers_and_pruning(dtype: str) -> None:
    base = family(dtype)[0]
    scale = base.abs().amax(1, keepdim=True) / 127.5
    whole = torch.clamp(torch.round(base / scale), -128, 127).to(torch.int8)
    check("scaled", whole, {"base": base, "scale": scale}, 1.0)
    threshold = np.quantile(base.float().abs().numpy(), 0.5)
    check("prune", base * (base.abs() >= float(threshold)), {"base": base}, 0.995)
