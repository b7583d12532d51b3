"""One word for what a tensor does, whoever named it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.lineage.roles import Role, role_of

NAMES = {
    "model.embed_tokens.weight": Role(-1, "embed"),
    "transformer.wte.weight": Role(-1, "embed"),
    "token_embd.weight": Role(-1, "embed"),
    "embeddings.word_embeddings.weight": Role(-1, "embed"),
    "bert.embeddings.word_embeddings.weight": Role(-1, "embed"),
    "lm_head.weight": Role(-1, "head"),
    "output.weight": Role(-1, "head"),
    "model.norm.weight": Role(-1, "norm"),
    "output_norm.weight": Role(-1, "norm"),
    "model.layers.3.self_attn.q_proj.weight": Role(3, "q"),
    "model.layers.3.self_attn.q_proj.bias": Role(3, "q.bias"),
    "blk.3.attn_q.weight": Role(3, "q"),
    "encoder.layer.5.attention.self.query.weight": Role(5, "q"),
    "encoder.layer.5.attention.output.dense.weight": Role(5, "o"),
    "encoder.layer.5.output.dense.weight": Role(5, "down"),
    "encoder.layer.5.intermediate.dense.weight": Role(5, "up"),
    "blk.11.attn_output.weight": Role(11, "o"),
    "blk.0.ffn_gate.weight": Role(0, "gate"),
    "model.layers.0.mlp.gate_proj.weight": Role(0, "gate"),
    "model.layers.0.mlp.gate_up_proj.weight": Role(0, "gate_up"),
    "model.layers.0.self_attn.qkv_proj.weight": Role(0, "qkv"),
    "transformer.h.7.attn.c_attn.weight": Role(7, "qkv"),
    "transformer.h.7.attn.c_proj.weight": Role(7, "o"),
    "transformer.h.7.mlp.c_proj.weight": Role(7, "down"),
    "gpt_neox.layers.2.attention.query_key_value.weight": Role(2, "qkv"),
    "gpt_neox.layers.2.attention.dense.weight": Role(2, "o"),
    "gpt_neox.layers.2.mlp.dense_4h_to_h.weight": Role(2, "down"),
    "model.layers.4.input_layernorm.weight": Role(4, "norm1"),
    "blk.4.attn_norm.weight": Role(4, "norm1"),
    "model.layers.4.post_attention_layernorm.weight": Role(4, "norm2"),
    "model.layers.1.mlp.experts.6.down_proj.weight": Role(1, "down", 6),
    "model.layers.1.block_sparse_moe.experts.6.w3.weight": Role(1, "up", 6),
    "model.layers.1.block_sparse_moe.gate.weight": Role(1, "router"),
    "model.layers.1.mlp.gate.weight": Role(1, "router"),
    "_model.decoder.rnn.weight_ih": Role(-1, "_model.decoder.rnn.weight_ih"),
    "unet.down_blocks.2.attentions.0.conv.weight": Role(2, "unet.down_blocks.attentions.0.conv"),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_the_field(name: str) -> None:
    assert role_of(name) == NAMES[name]


@given(st.text(max_size=80), st.sampled_from(["", ".weight", ".bias"]))
def test_any_name_has_a_role(name: str, tail: str) -> None:
    role = role_of(name + tail)
    assert role.layer >= -1
    assert role_of(name + tail) == role
