"""Whatever lies in two files, they are compared without an error: a job that dies of one upload
would be of no use (rule: hostile files never crash or hang it)."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from kin_kit import subject
from lineage_kit import Tensors

from effort import examples
from headwater.lineage.relation import relate
from headwater.lineage.tree import trace_all

NAMES = st.sampled_from([
    *(f"model.layers.{layer}.{word}" for layer in (0, 1, 2, 999_999_999) for word in (
        "self_attn.q_proj.weight", "self_attn.qkv_proj.weight", "mlp.gate_proj.weight",
        "mlp.up_proj.weight", "mlp.down_proj.weight", "mlp.gate_up_proj.weight",
        "post_attention_layernorm.weight", "mlp.experts.3.w1.weight", "self_attn.q_proj.bias",
        "self_attn.q_proj.weight_scale", "mlp.up_proj.weight_scale_inv",
    )),
    "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight", "x", "a.7.b", "val_3_q",
])  # fmt: skip
SHAPES = st.lists(st.sampled_from([0, 1, 2, 31, 32, 64, 129]), min_size=0, max_size=3).map(tuple)
KINDS = st.sampled_from(["normal", "zeros", "same", "huge", "tiny", "nan", "grid"])
DTYPES = st.sampled_from([np.float32, np.float16, np.int8, np.uint8, np.float64, np.bool_])


def values(kind: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = rng.normal(0, 0.1, shape)
    changes = {
        "zeros": lambda x: x * 0, "same": lambda x: x * 0 + 3, "huge": lambda x: x * 1e38,
        "tiny": lambda x: x * 1e-40, "nan": lambda x: np.where(x > 0.1, np.nan, x / (x > -0.2)),
        "grid": lambda x: np.rint(x * 40) / 40,
    }  # fmt: skip
    with np.errstate(all="ignore"):
        return np.asarray(changes[kind](made) if kind in changes else made)


@st.composite
def models(draw: st.DrawFn) -> Tensors:
    made = {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=8, unique=True)):
        shape, kind = draw(SHAPES), draw(KINDS)
        seed, dtype = draw(st.integers(0, 2)), draw(DTYPES)
        with np.errstate(all="ignore"):
            made[name] = np.ascontiguousarray(values(kind, shape, seed).astype(dtype))
    return made


@settings(max_examples=examples(300))
@given(one=models(), other=models())
def test_any_two(one: Tensors, other: Tensors) -> None:
    a, b = subject(one), subject(other)
    found = relate(a, b)
    assert found.child in ("one", "other", "")
    assert found.change >= 0
    relate(b, a)
    relate(a, subject(dict(one)))


@settings(max_examples=examples(60))
@given(some=st.lists(models(), min_size=2, max_size=4))
def test_any_few(some: list[Tensors]) -> None:
    subjects = {str(at): subject(one) for at, one in enumerate(some)}
    for found in (trace_all(subjects), trace_all(subjects, list(subjects))):
        for name, one in found.items():
            assert name not in [link.parent for link in one.links]
