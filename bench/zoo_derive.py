"""Models that are computed from others: merges, pruning, a longer vocabulary, quantizations.

Each `(folder, …)` function writes one member. Arithmetic is the ordinary way: BF16 tensors are
taken up to FP32, combined, and cast back.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import load_file
from zoo_train import State, as_bf16, as_f32, from_file, prepare, save_llama, write

WEIGHTS = "model.safetensors"
ROWS_MORE = 64  # of the longer vocabulary
INT4_GROUP = 32
NIBBLES = 8  # in one packed int32


def combine(target: Path, sources: list[Path], formula: Callable[..., torch.Tensor]) -> None:
    """`formula` of the tensors of that name in all sources, in FP32."""
    states = [as_f32(load_file(source / WEIGHTS)) for source in sources]
    write(target / WEIGHTS, as_bf16({k: formula(*(s[k] for s in states)) for k in states[0]}))
    shutil.copy(sources[0] / "config.json", target)


def linear(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return 0.5 * a + 0.5 * b


def task_arithmetic(base: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return base + 0.7 * (a - base) + 0.6 * (b - base)


def slerp(a: torch.Tensor, b: torch.Tensor, t: float = 0.3) -> torch.Tensor:
    """Along the arc between the two, whose angle is taken over the whole tensor. (mergekit goes
    straight when the angle is small; here that would be the linear merge again.)"""
    cosine = float(
        torch.dot(a.flatten().double(), b.flatten().double())
        / (a.double().norm() * b.double().norm())
    )
    angle = float(np.arccos(min(1.0, max(-1.0, cosine))))
    if angle < 1e-6:  # the same direction: the formula would divide by nothing
        return (1 - t) * a + t * b
    whole = np.sin(angle)
    return float(np.sin((1 - t) * angle) / whole) * a + float(np.sin(t * angle) / whole) * b


def prune(weight: torch.Tensor) -> torch.Tensor:
    """Half of a matrix, the smaller half by magnitude, is zero."""
    if weight.ndim < 2:
        return weight
    threshold = weight.abs().flatten().kthvalue(weight.numel() // 2).values
    return torch.where(weight.abs() <= threshold, torch.zeros_like(weight), weight)


def longer_vocabulary(target: Path, source: Path) -> None:
    prepare(7)  # transformers draws the new rows around the mean of the old
    model = from_file(source / WEIGHTS)
    model.resize_token_embeddings(model.config.vocab_size + ROWS_MORE)
    save_llama(target, model)


# Quantizations of one member: its matrices between embedding and head; the rest stays BF16.


def quantized(name: str, weight: torch.Tensor) -> bool:
    return weight.ndim == 2 and "embed" not in name and "lm_head" not in name


def int8(target: Path, source: Path) -> None:
    """Symmetric, a scale for each row, as W8A8 checkpoints have it."""
    out: State = {}
    for name, weight in load_file(source / WEIGHTS).items():
        if not quantized(name, weight):
            out[name] = weight
            continue
        scale = weight.float().abs().amax(dim=1, keepdim=True) / 127
        out[name] = torch.round(weight.float() / scale).clamp(-128, 127).to(torch.int8)
        out[f"{name}_scale"] = scale.to(torch.bfloat16)
    write(target / WEIGHTS, out)
    shutil.copy(source / "config.json", target)


def int4(target: Path, source: Path) -> None:
    """Symmetric, a scale for each 32 of a row, eight values packed in an int32, lowest first."""
    out: State = {}
    for name, weight in load_file(source / WEIGHTS).items():
        if not quantized(name, weight):
            out[name] = weight
            continue
        rows, columns = weight.shape
        groups = weight.float().reshape(rows, columns // INT4_GROUP, INT4_GROUP)
        scale = groups.abs().amax(dim=2, keepdim=True) / 7
        codes = torch.round(groups / scale).clamp(-8, 7).nan_to_num(0).to(torch.int64) + 8
        codes = codes.reshape(rows, columns // NIBBLES, NIBBLES)
        packed = (codes << torch.arange(0, 32, 4)).sum(2)
        packed = torch.where(packed >= 2**31, packed - 2**32, packed).to(torch.int32)
        stem = name.removesuffix(".weight")
        out[f"{stem}.weight_packed"] = packed
        out[f"{stem}.weight_scale"] = scale.squeeze(2).to(torch.bfloat16)
    write(target / WEIGHTS, out)
    shutil.copy(source / "config.json", target)


def gguf_file(target: Path, source: Path, kind: gguf.GGMLQuantizationType) -> None:
    """As llama.cpp's converter lays a Llama out: its names, the rows of q and k in the order of
    its rotary embedding, vectors in F32."""
    model = from_file(source / WEIGHTS)
    shape = model.config
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_suffix(".aside")
    writer = gguf.GGUFWriter(aside, "llama")
    writer.add_block_count(shape.num_hidden_layers)
    writer.add_context_length(shape.max_position_embeddings)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_attention_heads)
    writer.add_head_count_kv(shape.num_key_value_heads)
    writer.add_layer_norm_rms_eps(shape.rms_norm_eps)
    writer.add_vocab_size(shape.vocab_size)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, shape.num_hidden_layers)
    for name, weight in model.state_dict().items():
        values = weight.numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = shape.num_attention_heads
            halves = values.reshape(heads, 2, values.shape[0] // heads // 2, values.shape[1])
            values = halves.swapaxes(1, 2).reshape(values.shape)
        renamed = names.get_name(name, try_suffixes=(".weight",))
        assert renamed is not None, name
        stored = gguf.GGMLQuantizationType.F32 if values.ndim < 2 else kind
        data = gguf.quants.quantize(np.ascontiguousarray(values), stored)
        writer.add_tensor(renamed, data, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    aside.rename(target)
