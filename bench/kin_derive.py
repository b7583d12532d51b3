"""Members of `kin_zoo` that are computed: quantized, pruned, cut, permuted, turned, renamed.

Arithmetic is the ordinary way: BF16 tensors are taken up to FP32, changed, and cast back. A copy
that is permuted or turned computes the same function.
"""

import re
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import load_file
from zoo_derive import linear, prune, task_arithmetic
from zoo_train import State, as_bf16, as_f32, write

WORDS_MORE = 64
KEPT_LAYERS = (0, 1, 3, 5)  # of six
LAYER = re.compile(r"layers\.(\d+)\.")


class Derived:
    """Each method writes one member from others of the same folder."""

    def __init__(self, folder: Path, arch: str, seed: int, heads: int) -> None:
        self.folder = folder
        self.arch = arch
        self.heads = heads
        self.seed = seed

    def rng(self, name: str) -> torch.Generator:
        """Of one member, so that it comes out the same whatever else is made."""
        return torch.Generator().manual_seed(1_000 * self.seed + sum(name.encode()))

    def state(self, name: str) -> State:
        return as_f32(load_file(self.folder / f"{name}.safetensors"))

    def save(self, name: str, state: State) -> None:
        write(self.folder / f"{name}.safetensors", as_bf16(state))

    def each(self, name: str, parent: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Every matrix of the layers, changed alone."""
        state = self.state(parent)
        self.save(name, {k: change(v) if _inner(k, v) else v for k, v in state.items()})

    def merged(self, name: str, *parents: str) -> None:
        """The mean of two, or task arithmetic on a base and two."""
        states = [self.state(parent) for parent in parents]
        formula = linear if len(parents) == 2 else task_arithmetic
        self.save(name, {k: formula(*(s[k] for s in states)) for k in states[0]})

    def pruned(self, name: str, parent: str) -> None:
        self.each(name, parent, prune)

    def cut(self, name: str, parent: str) -> None:
        """Some layers left out, the others numbered anew."""
        made: State = {}
        for key, value in self.state(parent).items():
            found = LAYER.search(key)
            if found is None:
                made[key] = value
            elif int(found[1]) in KEPT_LAYERS:
                at = KEPT_LAYERS.index(int(found[1]))
                made[LAYER.sub(f"layers.{at}.", key)] = value
        self.save(name, made)

    def longer(self, name: str, parent: str) -> None:
        """More words, drawn near the mean of the others, as transformers does it."""
        state, rng = self.state(parent), self.rng(name)
        for key in ("model.embed_tokens.weight", "lm_head.weight"):
            if key in state:
                mean = state[key].mean(0, keepdim=True)
                noise = torch.randn(WORDS_MORE, mean.shape[1], generator=rng) * 1e-5
                state[key] = torch.cat([state[key], mean + noise])
        self.save(name, state)

    def renamed(self, name: str, parent: str) -> None:
        """q, k, v and gate, up joined, under another author's names."""
        state, made = self.state(parent), {}
        for key, value in state.items():
            if ".q_proj" in key:
                three = [state[key.replace("q_proj", f"{n}_proj")] for n in "qkv"]
                made[key.replace("q_proj", "qkv_proj")] = torch.cat(three)
            elif ".gate_proj" in key:
                two = [state[key.replace("gate_proj", f"{n}_proj")] for n in ("gate", "up")]
                made[key.replace("gate_proj", "gate_up_proj")] = torch.cat(two)
            elif not re.search(r"\.(k|v|up)_proj", key):
                made[key] = value
        self.save(name, made)

    # Another basis

    def permuted(self, name: str, parent: str) -> None:
        """Neurons, heads and the directions of the residual stream in another order."""
        state, rng = self.state(parent), self.rng(name)
        hidden = state["model.embed_tokens.weight"].shape[1]
        order = torch.randperm(hidden, generator=rng)
        self._turn(state, torch.eye(hidden)[:, order], fold=False)
        for key in [k for k in state if k.endswith("gate_proj.weight")]:
            stem = key.removesuffix("gate_proj.weight")
            places = torch.randperm(len(state[key]), generator=rng)
            for kind in ("gate", "up"):
                state[f"{stem}{kind}_proj.weight"] = state[f"{stem}{kind}_proj.weight"][places]
            state[f"{stem}down_proj.weight"] = state[f"{stem}down_proj.weight"][:, places]
        for key in [k for k in state if k.endswith("q_proj.weight")]:
            stem = key.removesuffix("q_proj.weight")
            heads = torch.randperm(self.heads, generator=rng)
            width = len(state[key]) // self.heads
            rows = (heads[:, None] * width + torch.arange(width)).flatten()
            for kind in "qkv":
                for end in ("weight", "bias"):
                    if f"{stem}{kind}_proj.{end}" in state:
                        state[f"{stem}{kind}_proj.{end}"] = state[f"{stem}{kind}_proj.{end}"][rows]
            state[f"{stem}o_proj.weight"] = state[f"{stem}o_proj.weight"][:, rows]
        self.save(name, state)

    def rotated(self, name: str, parent: str) -> None:
        """The residual stream turned, norms folded into what reads it."""
        state, rng = self.state(parent), self.rng(name)
        hidden = state["model.embed_tokens.weight"].shape[1]
        turn, _ = torch.linalg.qr(torch.randn(hidden, hidden, generator=rng))
        self._turn(state, turn, fold=True)
        self.save(name, state)

    def _turn(self, state: State, turn: torch.Tensor, *, fold: bool) -> None:
        head = state.get("lm_head.weight")
        if fold and head is None:  # tied words cannot take the last norm in: they part
            head = state["model.embed_tokens.weight"]
        state["model.embed_tokens.weight"] = state["model.embed_tokens.weight"] @ turn
        for key in list(state):
            if key.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
                state[key] = self._reads(state, key, "input_layernorm", turn, fold)
            elif key.endswith(("gate_proj.weight", "up_proj.weight")):
                state[key] = self._reads(state, key, "post_attention_layernorm", turn, fold)
            elif key.endswith(("o_proj.weight", "down_proj.weight")):
                state[key] = turn.T @ state[key]
        if head is not None:
            state["lm_head.weight"] = (head * state["model.norm.weight"] if fold else head) @ turn
        for key in [k for k in state if k.endswith("norm.weight")]:
            state[key] = torch.ones_like(state[key]) if fold else state[key] @ turn

    def _reads(
        self, state: State, key: str, norm: str, turn: torch.Tensor, fold: bool
    ) -> torch.Tensor:
        stem = key[: LAYER.search(key).end()]  # type: ignore[union-attr]
        scale = state[f"{stem}{norm}.weight"] if fold else 1.0
        return (state[key] * scale) @ turn

    # Quantized

    def int8(self, name: str, parent: str) -> None:
        """A scale for each row; dequantized."""

        def change(weight: torch.Tensor) -> torch.Tensor:
            scale = weight.abs().amax(1, keepdim=True) / 127
            return torch.round(weight / scale).clamp(-128, 127) * scale

        self.each(name, parent, change)

    def int4(self, name: str, parent: str) -> None:
        """A scale for each 32 of a row; dequantized."""

        def change(weight: torch.Tensor) -> torch.Tensor:
            groups = weight.reshape(len(weight), -1, 32)
            scale = groups.abs().amax(2, keepdim=True) / 7
            return (torch.round(groups / scale).clamp(-8, 7) * scale).reshape(weight.shape)

        self.each(name, parent, change)

    def gguf(self, name: str, parent: str, kind: str) -> None:
        """As llama.cpp's converter lays the architecture out: its names, the rows of q and k of a
        Llama in the order of its rotary embedding, vectors in F32."""
        state = self.state(parent)
        layers = 1 + max(int(m[1]) for k in state if (m := LAYER.search(k)))
        inner = state["model.layers.0.mlp.gate_proj.weight"].shape
        path = self.folder / f"{name}.gguf"
        writer = gguf.GGUFWriter(path.with_suffix(".aside"), self.arch)
        writer.add_block_count(layers)
        writer.add_context_length(512)
        writer.add_embedding_length(inner[1])
        writer.add_feed_forward_length(inner[0])
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.heads)
        writer.add_layer_norm_rms_eps(1e-6)
        arch = getattr(gguf.MODEL_ARCH, self.arch.upper())
        names = gguf.get_tensor_name_map(arch, layers)
        stored = gguf.GGMLQuantizationType[kind]
        for key, weight in state.items():
            values = weight.numpy()
            if self.arch == "llama" and key.endswith(("q_proj.weight", "k_proj.weight")):
                halves = values.reshape(self.heads, 2, len(values) // self.heads // 2, -1)
                values = halves.swapaxes(1, 2).reshape(values.shape)
            target = names.get_name(key, try_suffixes=(".weight", ".bias"))
            assert target is not None, key
            as_ = stored if values.ndim > 1 else gguf.GGMLQuantizationType.F32
            data = gguf.quants.quantize(np.ascontiguousarray(values, np.float32), as_)
            writer.add_tensor(target, data, raw_dtype=as_)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        path.with_suffix(".aside").rename(path)


def _inner(key: str, weight: torch.Tensor) -> bool:
    return weight.ndim == 2 and "layers." in key
