"""Relatives are told from strangers whatever was done to the layers; and never the other way."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage_kit import Tensors, grown, llama, opened, tuned

from headwater.lineage.likeness import likeness
from headwater.lineage.sketch import sketch_of


def layers(tensors: Tensors, order: list[int]) -> Tensors:
    """With only these layers, in this order."""
    made = {name: values for name, values in tensors.items() if ".layers." not in name}
    for place, layer in enumerate(order):
        for name, values in tensors.items():
            if f".layers.{layer}." in name:
                made[name.replace(f".layers.{layer}.", f".layers.{place}.")] = values
    return made


def test_strangers_of_one_architecture_are_none() -> None:
    sketches = [sketch_of(opened(llama(300 + seed))) for seed in range(25)]
    for one, other in itertools.combinations(sketches, 2):
        assert not likeness(one, other).related


def test_itself_is_alike_in_everything() -> None:
    sketch = sketch_of(opened(llama(1)))
    like = likeness(sketch, sketch)
    assert like.related
    assert (round(like.correlation, 9), like.equal, like.layers) == (1, 1, (0, 1))
    assert round(like.words, 9) == 1


@settings(deadline=None)
@given(st.lists(st.integers(0, 1), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_layers_are_matched_wherever_they_went(order: list[int], seed: int) -> None:
    """Cut out, repeated, turned round; and tuned."""
    base = sketch_of(opened(llama(1)))
    like = likeness(base, sketch_of(opened(layers(tuned(llama(1), seed), order))))
    assert like.related
    assert like.layers == tuple(order)


def test_half_of_it_pruned_and_more_words() -> None:
    base = sketch_of(opened(llama(1)))
    pruned = {
        name: np.where(np.abs(values) < 0.0135, 0, values).astype(np.float32)
        for name, values in grown(llama(1), 40).items()
    }
    like = likeness(base, sketch_of(opened(pruned)))
    assert like.related
    assert 0.4 < like.equal < 0.6


def test_other_shapes_have_nothing_in_common() -> None:
    other = {name: values for name, values in llama(1).items() if "mlp" in name}
    wider = {name: np.concatenate([values, values]) for name, values in other.items()}
    like = likeness(sketch_of(opened(llama(1))), sketch_of(opened(wider)))
    assert not like.related
    assert like.layers == (-1, -1)
    assert math.isnan(like.words)


def test_constant_and_empty_models() -> None:
    flat = {name: np.ones_like(values) for name, values in llama(1).items()}
    one, other = sketch_of(opened(flat)), sketch_of(opened(llama(1)))
    for like in (likeness(one, other), likeness(one, one), likeness(other, one)):
        assert not like.related
    assert not likeness(sketch_of(opened({"w": np.ones((2, 2), np.float32)})), other).related
