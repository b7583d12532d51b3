"""Small models, as files of every kind that lineage reads."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save

from headwater.lineage.model import File, Model

HIDDEN, INNER, HEADS, LAYERS, WORDS = 64, 128, 4, 2, 300
Tensors = dict[str, np.ndarray]


def llama(seed: int) -> Tensors:
    """The tensors of a small Llama with two key heads, in F32."""
    rng = np.random.default_rng(seed)
    made: Tensors = {"model.embed_tokens.weight": rng.normal(0, 0.02, (WORDS, HIDDEN))}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        shapes = {
            "self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (HIDDEN // 2, HIDDEN),
            "self_attn.v_proj": (HIDDEN // 2, HIDDEN), "self_attn.o_proj": (HIDDEN, HIDDEN),
            "mlp.gate_proj": (INNER, HIDDEN), "mlp.up_proj": (INNER, HIDDEN),
            "mlp.down_proj": (HIDDEN, INNER),
        }  # fmt: skip
        for name, shape in shapes.items():
            made[f"{at}{name}.weight"] = rng.normal(0, 0.02, shape)
        made[f"{at}input_layernorm.weight"] = rng.normal(1, 0.1, HIDDEN)
        made[f"{at}post_attention_layernorm.weight"] = rng.normal(1, 0.1, HIDDEN)
    made["model.norm.weight"] = rng.normal(1, 0.1, HIDDEN)
    return {name: values.astype(np.float32) for name, values in made.items()}


def fused(tensors: Tensors) -> Tensors:
    """The same with q, k, v and gate, up in one tensor each."""
    made = dict(tensors)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        three = [made.pop(f"{at}self_attn.{name}_proj.weight") for name in "qkv"]
        made[f"{at}self_attn.qkv_proj.weight"] = np.concatenate(three)
        two = [made.pop(f"{at}mlp.{name}_proj.weight") for name in ("gate", "up")]
        made[f"{at}mlp.gate_up_proj.weight"] = np.concatenate(two)
    return made


def tuned(tensors: Tensors, seed: int, size: float = 0.002) -> Tensors:
    """The same, every number moved."""
    rng = np.random.default_rng(seed)
    return {
        name: (values + rng.normal(0, size, values.shape)).astype(np.float32)
        for name, values in tensors.items()
    }


def grown(tensors: Tensors, words: int) -> Tensors:
    """The same with more words."""
    table = tensors["model.embed_tokens.weight"]
    more = np.random.default_rng(9).normal(0, 0.02, (words, table.shape[1])).astype(np.float32)
    return {**tensors, "model.embed_tokens.weight": np.concatenate([table, more])}


def interleaved(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows as llama.cpp's converter orders those of q and k."""
    halves = values.reshape(heads, 2, len(values) // heads // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)


def to_gguf(path: Path, tensors: Tensors, kind: str = "F32") -> Path:
    """As llama.cpp has it: its names, its order of rows; matrices in `kind`."""
    words = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    for name, values in tensors.items():
        if name == "model.embed_tokens.weight":
            name = "token_embd.weight"
        elif name == "model.norm.weight":
            name = "output_norm.weight"
        else:
            _, _, layer, rest = name.split(".", 3)
            word = rest.removesuffix(".weight")
            heads = {"self_attn.q_proj": HEADS, "self_attn.k_proj": HEADS // 2}.get(word)
            values = interleaved(values, heads) if heads else values
            name = f"blk.{layer}.{words[word]}.weight"
        if kind == "F32" or values.ndim < 2:
            writer.add_tensor(name, values)
            continue
        type_ = gguf.GGMLQuantizationType[kind]
        writer.add_tensor(name, gguf.quants.quantize(values, type_), raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def in_memory(data: bytes, name: str = "model.safetensors") -> File:
    return File(name, len(data), lambda start, stop: data[start:stop])


def opened(tensors: Tensors) -> Model:
    return Model.of([in_memory(save(tensors))])


def opened_path(path: Path) -> Model:
    return Model.of([in_memory(path.read_bytes(), path.name)])
