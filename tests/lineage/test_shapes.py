"""Files of no known architecture, and graphs that lost the names and turned the matrices."""

from __future__ import annotations

import numpy as np
import pytest
from kin_kit import subject
from lineage_kit import Tensors, llama

from headwater.lineage.relation import relate
from headwater.lineage.shapes import by_shape

SHAPES = {"conv1": (64, 32, 3), "conv2": (128, 64, 3), "gru": (192, 64), "head": (64, 40)}


def net(seed: int) -> Tensors:
    """No transformer; `bank` is a fixed filter bank that all such nets have."""
    rng = np.random.default_rng(seed)
    made = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in SHAPES.items()}
    bank = np.sin(np.outer(np.arange(64), np.arange(128))).astype(np.float32)
    return {**made, "bank": bank, "bias": rng.normal(0, 1, 64).astype(np.float32)}


def anonymous(tensors: Tensors, *, turned: bool = True) -> Tensors:
    """As an exporter leaves them: numbers for names, matrices turned."""
    return {
        f"val_{at}": np.ascontiguousarray(values.T) if turned and values.ndim == 2 else values
        for at, values in enumerate(tensors.values())
    }


def test_other_names_and_turned() -> None:
    found = relate(subject(net(1)), subject(anonymous(net(1))))
    assert (found.kind, found.child) == ("copy", "")
    assert found.log10_p < -100


def test_tuned() -> None:
    child = {name: (values * 1.0 + 0.01).astype(np.float32) for name, values in net(1).items()}
    child["conv1"] = child["conv1"] + np.random.default_rng(5).normal(0, 0.02, (64, 32, 3)).astype(
        np.float32
    )
    assert relate(subject(net(1)), subject(anonymous(child))).kind == "tuned"


@pytest.mark.parametrize("named", [True, False])
def test_small_integers_whose_scales_lie_elsewhere(named: bool) -> None:
    """An int8 export of a transformer: MatMul has lost its weights' names and turned them."""
    base = llama(1) if named else net(1)
    made: dict[str, np.ndarray] = {}
    for at, (name, values) in enumerate(base.items()):
        if values.ndim != 2:
            made[name] = values
            continue
        scale = np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-9) / 127
        made[f"val_{at}_q"] = np.ascontiguousarray(np.rint(values / scale).astype(np.int8).T)
        made[f"val_{at}_scale"] = scale.T.astype(np.float32)
    child = subject(made)
    found = relate(subject(base), child)
    assert (found.kind, found.child) == ("quantized", "other")
    assert relate(child, subject(base)).child == "one"


def test_strangers_with_the_same_filters() -> None:
    found = by_shape(subject(net(1)).model, subject(net(2)).model)
    assert found.tensors == 1
    assert found.equal == 1
    assert not found.related
    assert not relate(subject(net(1)), subject(net(2))).related


def test_nothing_to_match() -> None:
    assert by_shape(subject({"a": np.zeros(3, np.float32)}).model, subject(net(1)).model).share == 0
    flat = {"a": np.zeros((64, 64), np.float32)}
    assert by_shape(subject(flat).model, subject(flat).model).tensors == 0
