"""What two models are to each other: every kind of child, with its direction where there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kin_kit import (
    adapted,
    base,
    cut,
    each,
    gguf_subject,
    int4,
    int8,
    merged,
    orthogonal,
    permutation,
    pruned,
    subject,
    trained,
    turned,
)
from lineage_kit import HIDDEN, Tensors, fused, grown, llama

from headwater.lineage.relation import Relation, relate
from headwater.lineage.roles import Role
from headwater.lineage.sampling import read_rows

BASE = base()
LARGE = llama(1)


def both_ways(one: Tensors, other: Tensors) -> Relation:
    """The relation, which is the same from either side."""
    there, back = relate(subject(one), subject(other)), relate(subject(other), subject(one))
    assert there.kind == back.kind
    turned_round = {"one": "other", "other": "one", "": ""}
    assert back.child == turned_round[there.child]
    return there


# name: (the child, what it is, whether the weights say that it is the child)
CHILDREN: dict[str, tuple[Tensors, str, bool]] = {
    "tuned": (trained(BASE, 2), "tuned", False),
    "tuned little": (trained(BASE, 2, 0.0005), "tuned", False),
    "lora": (adapted(BASE, 3), "lora", False),
    "pruned": (each(BASE, pruned), "pruned", True),
    "int8": (each(BASE, int8), "quantized", True),
    "int4": (each(BASE, int4), "quantized", True),
    "fused": (fused(BASE), "copy", False),
    "permuted": (turned(BASE, permutation(HIDDEN, 4)), "permuted", False),
    "rotated": (turned(BASE, orthogonal(HIDDEN, 4)), "rotated", False),
    "rotated, tuned": (trained(turned(BASE, orthogonal(HIDDEN, 4)), 5), "rotated", False),
    "new words": (grown(BASE, 20), "resized", False),  # they may have been trained
}


@pytest.mark.parametrize("name", CHILDREN)
def test_a_child(name: str) -> None:
    child, kind, decided = CHILDREN[name]
    found = both_ways(BASE, child)
    assert found.related
    assert (found.kind, found.child) == (kind, "other" if decided else "")
    assert found.log10_p < -8
    assert found.evidence


def scaled(how: str) -> Tensors:
    """The base in int8 with its scales in a tensor beside each matrix."""
    made: dict[str, np.ndarray] = {}
    for name, values in BASE.items():
        if ".layers." not in name or values.ndim != 2:
            made[name] = values
            continue
        groups = values.reshape(len(values), -1, 32 if how == "groups" else values.shape[1])
        largest = np.abs(groups).max(axis=2)
        codes = np.rint(groups / largest[:, :, None] * 127).astype(np.int8)
        made[name] = codes.reshape(values.shape)
        if how == "SCB":
            made[name.removesuffix(".weight") + ".SCB"] = largest[:, 0]
        else:
            made[f"{name}_scale"] = (largest / 127).astype(np.float32)
    return made


@pytest.mark.parametrize("how", ["rows", "groups", "SCB"])
def test_scales_in_a_tensor_beside_it(how: str) -> None:
    found = both_ways(BASE, scaled(how))
    assert (found.kind, found.child) == ("quantized", "other")
    assert found.change < 0.01


def test_blocks_of_scales() -> None:
    """As DeepSeek has them: one number for 128 rows and 128 columns."""
    rng = np.random.default_rng(1)
    codes = rng.integers(-127, 128, (300, 200)).astype(np.int8)
    scales = rng.random((3, 2)).astype(np.float32)
    tensors = {"model.layers.0.self_attn.q_proj.weight": codes,
               "model.layers.0.self_attn.q_proj.weight_scale_inv": scales}  # fmt: skip
    model = subject(tensors).model  # type: ignore[arg-type]
    rows = np.array([0, 127, 128, 299])
    got = read_rows(model, model.matrices[Role(0, "q")], rows)
    wide = np.repeat(np.repeat(scales, 128, 0), 128, 1)[:300, :200]
    assert np.array_equal(got, (codes * wide)[rows])


@pytest.mark.parametrize("kind", ["Q8_0", "Q5_1", "Q4_0"])
def test_quantized_by_llama_cpp(tmp_path: Path, kind: str) -> None:
    child = gguf_subject(tmp_path / "a.gguf", BASE, kind)
    found = relate(subject(BASE), child)
    assert (found.kind, found.child) == ("quantized", "other")
    assert relate(child, subject(BASE)).child == "one"


def test_new_words_that_nobody_trained() -> None:
    """They lie where the mean of the others does, so the longer file came later."""
    table = BASE["model.embed_tokens.weight"]
    more = np.repeat(table.mean(axis=0, keepdims=True), 20, axis=0)
    longer = {**BASE, "model.embed_tokens.weight": np.concatenate([table, more])}
    found = both_ways(BASE, longer)
    assert (found.kind, found.child) == ("resized", "other")


def test_trained_from_the_dequantized_file() -> None:
    """Nearer to the grid than a rounding error: the quantized file is the parent."""
    coarse = each(BASE, int4)
    found = both_ways(coarse, trained(coarse, 6, 0.001))
    assert (found.kind, found.child) == ("tuned", "other")


@pytest.mark.parametrize(("kept", "kind"), [((0,), "cut"), ((0, 1, 1), "repeated")])
def test_layers_cut_or_repeated(kept: tuple[int, ...], kind: str) -> None:
    found = both_ways(BASE, cut(BASE, kept))
    assert (found.kind, found.child) == (kind, "other")


def test_what_a_model_sees_with_is_no_layer_of_it() -> None:
    rng = np.random.default_rng(1)
    tower = {f"visual.blocks.{n}.mlp.fc1.weight": rng.normal(0, 1, (64, 64)).astype(np.float32)
             for n in range(6)}  # fmt: skip
    assert both_ways(BASE, {**BASE, **tower}).kind == "copy"


def test_words_alone_make_no_kin() -> None:
    """A draft model that borrows the table of words."""
    table = {"model.embed_tokens.weight": BASE["model.embed_tokens.weight"]}
    assert both_ways(BASE, {**base(2), **table}).kind == "distant"
    assert not both_ways(BASE, {**cut(base(2), (0,)), **table}).related


@pytest.mark.parametrize("count", [20, 50, 100])
def test_pruned_neurons_of_strangers(count: int) -> None:
    """They answer nothing, and so are all alike."""
    stranger = dict(base(2))
    for name, values in stranger.items():
        if "gate_proj" in name or "up_proj" in name:
            stranger[name] = np.concatenate([np.zeros_like(values[:count]), values[count:]])
    assert both_ways(BASE, stranger).kind == "none"


def test_a_row_of_zeros_in_a_quantized_file() -> None:
    lacking = each(BASE, lambda v: np.concatenate([np.zeros_like(v[:1]), v[1:]]))
    found = both_ways(lacking, each(lacking, int8))
    assert (found.kind, found.child) == ("quantized", "other")


def test_a_sparse_fine_tune_of_a_pruned_model() -> None:
    """Few numbers in a block are no grid where most were pruned."""
    thin = each(BASE, lambda v: np.where(np.abs(v) <= np.quantile(np.abs(v), 0.7), 0, v))
    mask = {name: values != 0 for name, values in thin.items()}
    child = {name: v * mask[name] for name, v in trained(thin, 3, 0.02).items()}
    assert both_ways(thin, child).kind == "tuned"


def test_numbers_that_are_not_finite() -> None:
    one, other = dict(BASE), dict(adapted(BASE, 3))
    for tensors in (one, other):
        spoilt = tensors["model.layers.1.self_attn.q_proj.weight"].copy()
        spoilt[0, :3] = np.inf, -np.inf, np.nan
        tensors["model.layers.1.self_attn.q_proj.weight"] = spoilt
    assert both_ways(one, other).kind == "lora"
    assert both_ways(BASE, one).related


def test_models_without_norms() -> None:
    bare = {name: values for name, values in BASE.items() if "norm" not in name}
    more = {name: values for name, values in adapted(BASE, 3).items() if "norm" not in name}
    assert both_ways(bare, dict(bare)).kind == "copy"
    assert both_ways(bare, more).kind == "lora"


def test_a_vocabulary_past_a_power_of_two() -> None:
    """Other rows would be drawn of it: they are not held against each other."""
    found = both_ways(BASE, grown(BASE, 300))
    assert found.kind == "resized"


def test_a_missing_table_is_no_change_of_words() -> None:
    bare = {name: values for name, values in BASE.items() if "embed" not in name}
    assert both_ways(BASE, bare).kind == "copy"


def test_half_floats_of_a_finer_file() -> None:
    """F32 with all its bits, and what a cast to F16 left of them."""
    halves = {name: values.astype(np.float16) for name, values in LARGE.items()}
    found = relate(subject(LARGE), subject(halves))  # type: ignore[arg-type]
    assert (found.kind, found.child) == ("cast", "other")


def test_a_copy_in_a_wider_type_says_nothing_of_time() -> None:
    halves = {name: values.astype(np.float16) for name, values in LARGE.items()}
    wide = {name: values.astype(np.float32) for name, values in halves.items()}
    found = relate(subject(wide), subject(halves))  # type: ignore[arg-type]
    assert (found.kind, found.child) == ("cast", "")


@pytest.mark.parametrize("seed", range(2, 8))
def test_strangers(seed: int) -> None:
    found = both_ways(BASE, base(seed))
    assert (found.kind, found.related) == ("none", False)
    assert found.log10_p > -6


def test_strangers_who_learned_the_same_words() -> None:
    """A student's table of words turns towards its teacher's; its neurons are its own."""
    student = base(9)
    table = BASE["model.embed_tokens.weight"] @ orthogonal(HIDDEN, 3)
    student["model.embed_tokens.weight"] = table.astype(np.float32)
    assert not both_ways(BASE, student).related


def test_the_same_first_weights() -> None:
    """Two that went far apart from one start are no parent and child."""
    start = llama(20)
    one, other = trained(start, 21, 1.2), trained(start, 22, 1.2)
    found = both_ways(one, other)
    assert (found.kind, found.related) == ("distant", False)


def test_a_merge_is_a_relative_of_its_parts() -> None:
    one, other = trained(BASE, 2), trained(BASE, 3)
    assert both_ways(one, merged((0.5, one), (0.5, other))).kind == "tuned"


def test_a_model_without_words_or_gates() -> None:
    """Nothing to hold against each other is no sign, and no error."""
    bare = {name: values for name, values in BASE.items() if "q_proj" in name}
    other = {name: values for name, values in base(2).items() if "o_proj" in name}
    assert both_ways(bare, other).kind == "none"
    assert both_ways(bare, {"x": np.zeros(3, np.float32)}).kind == "none"
