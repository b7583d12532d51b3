"""Relatives have like sketches however they are stored, strangers do not; an index finds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineage_kit import fused, grown, llama, opened, opened_path, to_gguf, tuned

from headwater.errors import Malformed
from headwater.lineage.search import Z_MIN, Index, pack_signs
from headwater.lineage.sketch import Sketch, sketch_of


def likeness(one: Sketch, other: Sketch) -> float:
    a, b = (s.samples.astype(np.float64).ravel() for s in (one, other))
    return float(np.corrcoef(a, b)[0, 1])


@pytest.fixture(scope="module")
def base() -> Sketch:
    return sketch_of(opened(llama(1)))


def test_the_same_weights_have_the_same_sketch(base: Sketch, tmp_path: Path) -> None:
    stored = opened_path(to_gguf(tmp_path / "m.gguf", llama(1)))
    for model in (opened(fused(llama(1))), stored):
        assert sketch_of(model).pack() == base.pack()


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
def test_quantization_moves_it_little(base: Sketch, tmp_path: Path, kind: str) -> None:
    other = sketch_of(opened_path(to_gguf(tmp_path / "m.gguf", llama(1), kind)))
    assert likeness(base, other) > 0.99


def test_relatives_are_near_and_strangers_far(base: Sketch) -> None:
    assert likeness(base, sketch_of(opened(tuned(llama(1), 5)))) > 0.99
    assert abs(likeness(base, sketch_of(opened(llama(2))))) < 0.12


def test_a_vocabulary_that_grew_keeps_its_places(base: Sketch) -> None:
    other = sketch_of(opened(grown(llama(1), 16)))
    assert other.vocabulary == base.vocabulary + 16
    np.testing.assert_array_equal(other.embed, base.embed)
    np.testing.assert_array_equal(other.gram, base.gram)


def test_round_trip(base: Sketch) -> None:
    again = Sketch.unpack(base.pack())
    assert again.pack() == base.pack()
    assert again.signature == base.signature
    assert (again.layers, again.vocabulary) == (2, 300)


@given(st.binary(max_size=200))
def test_what_is_no_sketch_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        Sketch.unpack(raw)


def test_numbers_that_are_none(base: Sketch) -> None:
    tensors = llama(1)
    tensors["model.layers.0.self_attn.q_proj.weight"][:] = np.nan
    tensors["model.layers.0.self_attn.k_proj.weight"][:] = np.inf
    assert np.isfinite(sketch_of(opened(tensors)).samples[0, :3]).all()


def test_the_index_finds_relatives_alone() -> None:
    index = Index()
    for seed in range(40):
        index.put(f"stranger {seed}", sketch_of(opened(llama(100 + seed))))
    index.put("child", sketch_of(opened(tuned(llama(1), 5))))
    index.put("sibling", sketch_of(opened(grown(tuned(llama(1), 6), 3))))
    found = index.nearest(sketch_of(opened(llama(1))), 10)
    assert {name for name, _ in found} == {"child", "sibling"}
    assert all(z > Z_MIN for _, z in found)


STEP = st.tuples(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 5)), min_size=1, max_size=4),
    st.sampled_from(["put", "put packed", "drop"]),
)


@given(st.lists(STEP))
def test_the_index_against_a_dict(steps: list[tuple[list[tuple[str, int]], str]]) -> None:
    """Any order of put, replace and drop: each model is found as itself, and nothing else."""
    index, kept = Index(), {}
    for rows, what in steps:
        if what == "put packed":
            index.put_packed([(name, pack_signs(SKETCHES[seed])) for name, seed in rows])
            kept.update(rows)
            continue
        name, seed = rows[0]
        if what == "put":
            index.put(name, SKETCHES[seed])
            kept[name] = seed
        else:
            index.drop(name)
            kept.pop(name, None)
    assert len(index) == len(kept)
    for seed in range(6):
        found = {name for name, _ in index.nearest(SKETCHES[seed], 20)}
        assert found == {name for name, other in kept.items() if other == seed}


def test_signs_of_another_size_are_malformed() -> None:
    with pytest.raises(Malformed):
        Index().put_packed([("a", pack_signs(SKETCHES[0])[:-1])])


SKETCHES = [sketch_of(opened(llama(200 + seed))) for seed in range(6)]
