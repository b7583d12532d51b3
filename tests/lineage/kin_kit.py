"""What people make of a model, in numpy: each takes tensors in F32 and gives others, rounded to
BF16."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from lineage_kit import INNER, LAYERS, Tensors, in_memory, llama, opened_path, to_gguf
from safetensors.numpy import save

from headwater.lineage.probe import rounded
from headwater.lineage.subject import Subject


def stored(tensors: Tensors) -> Tensors:
    """Rounded to BF16, in F32 files: numpy knows no BF16."""
    return {name: rounded(values, 8) for name, values in tensors.items()}


def subject(tensors: Tensors) -> Subject:
    return Subject.of([in_memory(save(tensors))])


def gguf_subject(path: Path, tensors: Tensors, kind: str) -> Subject:
    return Subject.of(opened_path(to_gguf(path, tensors, kind)).files)


def base(seed: int = 1) -> Tensors:
    return stored(llama(seed))


def trained(tensors: Tensors, seed: int, size: float = 0.01) -> Tensors:
    """Every number moved by `size` of its matrix's spread: what an optimiser does."""
    rng = np.random.default_rng(seed)
    return stored({
        name: (values + rng.normal(0, size * values.std(), values.shape)).astype(np.float32)
        for name, values in tensors.items()
    })  # fmt: skip


def frozen(tensors: Tensors, like: Tensors) -> Tensors:
    """The second half trained much as `like` was, on the same text; the rest stays."""
    late = [name for name in tensors if ".layers.1." in name]
    moved = {name: tensors[name] + 0.9 * (like[name] - tensors[name]) for name in late}
    return stored(tensors | trained(moved, 8, 0.02))


def each(tensors: Tensors, change: Callable[[np.ndarray], np.ndarray]) -> Tensors:
    """Every matrix of the layers, changed."""
    inner = [name for name, values in tensors.items() if ".layers." in name and values.ndim > 1]
    return stored(tensors | {name: change(tensors[name]).astype(np.float32) for name in inner})


def pruned(values: np.ndarray) -> np.ndarray:
    return np.where(np.abs(values) <= np.median(np.abs(values)), 0, values)


def int8(values: np.ndarray) -> np.ndarray:
    scale = np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-9) / 127
    return np.rint(values / scale) * scale


def int4(values: np.ndarray) -> np.ndarray:
    groups = values.reshape(len(values), -1, 32)
    scale = np.abs(groups).max(axis=2, keepdims=True) / 7
    return (np.clip(np.rint(groups / scale), -8, 7) * scale).reshape(values.shape)


def adapted(tensors: Tensors, seed: int, rank: int = 4) -> Tensors:
    """With a LoRA merged in."""
    rng = np.random.default_rng(seed)

    def change(values: np.ndarray) -> np.ndarray:
        up, down = rng.normal(0, 1, (len(values), rank)), rng.normal(0, 1, (rank, values.shape[1]))
        return values + 0.03 * values.std() * up @ down

    return each(tensors, change)


def merged(*parts: tuple[float, Tensors]) -> Tensors:
    names = parts[0][1]
    return stored({
        name: sum(weight * one[name] for weight, one in parts).astype(np.float32)  # type: ignore[union-attr]
        for name in names
    })  # fmt: skip


def cut(tensors: Tensors, kept: tuple[int, ...]) -> Tensors:
    made = {name: values for name, values in tensors.items() if ".layers." not in name}
    for at, layer in enumerate(kept):
        for name, values in tensors.items():
            if name.startswith(f"model.layers.{layer}."):
                made[name.replace(f".{layer}.", f".{at}.", 1)] = values
    return made


READ_BY = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}


def turned(tensors: Tensors, turn: np.ndarray) -> Tensors:
    """The residual stream through an orthogonal map, norms folded into what reads it, neurons in
    another order: the same function."""
    rng = np.random.default_rng(5)
    made = {"model.embed_tokens.weight": tensors["model.embed_tokens.weight"] @ turn}
    made["model.norm.weight"] = tensors["model.norm.weight"]
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        order = rng.permutation(INNER)
        for norm, kinds in READ_BY.items():
            scale = tensors[f"{at}{norm}.weight"]
            made[f"{at}{norm}.weight"] = np.ones_like(scale)
            for kind in kinds:
                made[f"{at}{kind}.weight"] = (tensors[f"{at}{kind}.weight"] * scale) @ turn
        for kind in ("self_attn.o_proj", "mlp.down_proj"):
            made[f"{at}{kind}.weight"] = turn.T @ tensors[f"{at}{kind}.weight"]
        for kind in ("gate", "up"):
            made[f"{at}mlp.{kind}_proj.weight"] = made[f"{at}mlp.{kind}_proj.weight"][order]
        made[f"{at}mlp.down_proj.weight"] = made[f"{at}mlp.down_proj.weight"][:, order]
    return stored({name: values.astype(np.float32) for name, values in made.items()})


def orthogonal(size: int, seed: int) -> np.ndarray:
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    return turn


def permutation(size: int, seed: int) -> np.ndarray:
    return np.eye(size)[:, np.random.default_rng(seed).permutation(size)]
