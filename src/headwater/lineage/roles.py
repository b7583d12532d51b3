"""What a tensor does in its model, told from its name, whoever named it.

    role_of(name) -> Role(layer, kind, expert)

Names of transformers (Llama, Qwen, Mistral, Gemma, Phi, GPT-2, GPT-NeoX, BERT and their kin) and of
GGUF come to one word. Any other name keeps its own parts as its kind, the first number in it taken
as its layer: two files of one unknown architecture still meet, by the names they share.
"""

from __future__ import annotations

import re
from typing import NamedTuple

NAME_CHARS_MAX = 1_024  # as of a span


class Role(NamedTuple):
    """`kind` is one of the words below, or the name itself without its layer."""

    layer: int  # -1: outside of the layers
    kind: str
    expert: int = -1


EMBED, HEAD, NORM = "embed", "head", "norm"
MATRICES = ("q", "k", "v", "o", "gate", "up", "down")
QKV, GATE_UP = "qkv", "gate_up"  # several at once, one after the other

# The end of a name, as a pattern over its parts joined by points, and what that is. A bias is its
# matrix's kind with `.bias`. The first that fits counts.
_ENDS: tuple[tuple[str, str], ...] = (
    (r"(embed_tokens|word_embeddings|wte|embed_in|token_embd|tok_embeddings)", EMBED),
    (r"(lm_head|embed_out|output|predictions\.decoder)", HEAD),
    (r"(qkv_proj|query_key_value|attn\.c_attn|attn_qkv|Wqkv)", QKV),
    (r"(gate_up_proj|ffn_gate_up)", GATE_UP),
    (r"(self_attn\.q_proj|attn_q|attention\.self\.query|attention\.wq|q_lin)", "q"),
    (r"(self_attn\.k_proj|attn_k|attention\.self\.key|attention\.wk|k_lin)", "k"),
    (r"(self_attn\.v_proj|attn_v|attention\.self\.value|attention\.wv|v_lin)", "v"),
    (r"(self_attn\.o_proj|self_attn\.dense|attn_output|attention\.output\.dense|attention\.dense"
     r"|attention\.wo|attn\.c_proj|out_lin)", "o"),
    (r"(mlp\.gate_proj|ffn_gate|ffn_gate_exps|feed_forward\.w1|w1)", "gate"),
    (r"(mlp\.up_proj|ffn_up|ffn_up_exps|feed_forward\.w3|w3|intermediate\.dense|mlp\.c_fc"
     r"|mlp\.dense_h_to_4h|mlp\.fc1|ffn\.lin1)", "up"),
    (r"(mlp\.down_proj|ffn_down|ffn_down_exps|feed_forward\.w2|w2|output\.dense|mlp\.c_proj"
     r"|mlp\.dense_4h_to_h|mlp\.fc2|ffn\.lin2)", "down"),
    (r"(input_layernorm|attn_norm|attention_norm|ln_1)", "norm1"),
    (r"(post_attention_layernorm|ffn_norm|ln_2)", "norm2"),
    (r"(model\.norm|output_norm|ln_f|final_layer_norm|^norm)", NORM),
    (r"(mlp\.gate|block_sparse_moe\.gate|ffn_gate_inp)", "router"),
)  # fmt: skip
# What a model sees or hears with has layers of its own; they keep their names.
_TOWERS = frozenset(
    "visual vision_tower vision_model audio_tower multi_modal_projector mm_projector".split()
)
_PATTERNS = tuple((re.compile(rf"(?:^|\.){end}$"), kind) for end, kind in _ENDS)
_OF_EXPERT = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}


def role_of(name: str) -> Role:
    """The role that the name tells."""
    parts = name[:NAME_CHARS_MAX].split(".")
    tail = ""
    if parts[-1] in ("weight", "bias"):
        tail = ".bias" if parts.pop() == "bias" else ""
    expert, layer = -1, -1
    if len(parts) >= 3 and parts[-3] == "experts" and parts[-2].isdecimal():
        expert = int(parts[-2][:9])
        parts[-3:] = ["mlp", _OF_EXPERT.get(parts[-1], parts[-1])]
    kept = []
    for part in parts:
        if layer < 0 and part.isascii() and part.isdecimal():
            layer = int(part[:9])
        else:
            kept.append(part)
    text = ".".join(kept)
    if not _TOWERS.isdisjoint(kept):
        return Role(layer, text + tail, expert)
    for pattern, kind in _PATTERNS:
        if pattern.search(text):
            return Role(layer, kind + tail, expert)
    return Role(layer, text + tail, expert)
