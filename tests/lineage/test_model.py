"""The same numbers come out of a model, however its files name, join, order and store them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineage_kit import HIDDEN, LAYERS, fused, in_memory, llama, opened, opened_path, to_gguf
from safetensors.numpy import save

from headwater.lineage.model import Matrix, Model
from headwater.lineage.roles import Role
from headwater.lineage.sampling import places, read_values

COUNT = 300


def sampled(model: Model) -> dict[Role, np.ndarray]:
    return {
        role: read_values(model, matrix, matrix.elements(*places(matrix, COUNT, "test")))
        for role, matrix in model.matrices.items()
    }


def same(one: Model, other: Model, tolerance: float = 0.0) -> None:
    ours, theirs = sampled(one), sampled(other)
    assert ours.keys() == theirs.keys()
    for role, values in ours.items():
        np.testing.assert_allclose(theirs[role], values, atol=tolerance, err_msg=str(role))


def test_roles_and_shapes() -> None:
    model = opened(llama(1))
    assert model.layers == LAYERS
    assert len(model.matrices) == 9 * LAYERS + 2
    assert (model.matrices[Role(1, "k")].rows, model.matrices[Role(1, "k")].columns) == (32, 64)


def test_fused_projections_are_the_same_matrices() -> None:
    same(opened(llama(1)), opened(fused(llama(1))))


def test_shards_are_one_model() -> None:
    whole = llama(1)
    names = sorted(whole)
    parts = [{n: whole[n] for n in names[i::3]} for i in range(3)]
    same(opened(whole), Model.of([in_memory(save(part)) for part in parts]))


@pytest.mark.parametrize(
    ("kind", "tolerance"), [("F32", 0), ("F16", 1e-4), ("Q8_0", 1e-3), ("Q4_0", 0.02)]
)
def test_gguf_is_the_same_model(tmp_path: Path, kind: str, tolerance: float) -> None:
    same(opened(llama(1)), opened_path(to_gguf(tmp_path / "m.gguf", llama(1), kind)), tolerance)


def test_each_number_stands_where_it_is_said(tmp_path: Path) -> None:
    """All of q, by its places in a GGUF: the rows come back in their own order."""
    tensors = llama(2)
    model = opened_path(to_gguf(tmp_path / "m.gguf", tensors))
    matrix = model.matrices[Role(0, "q")]
    rows, columns = np.divmod(np.arange(HIDDEN * HIDDEN, dtype=np.int64), HIDDEN)
    found = read_values(model, matrix, matrix.elements(rows, columns))
    wanted = tensors["model.layers.0.self_attn.q_proj.weight"]
    np.testing.assert_array_equal(found.reshape(wanted.shape), wanted)


@given(st.binary(max_size=400))
def test_what_is_no_model_has_no_matrices(data: bytes) -> None:
    assert Model.of([in_memory(data)]).layers == 0


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 500))
def test_places_lie_in_the_matrix_and_stay_the_same(rows: int, columns: int, count: int) -> None:
    span = opened({"w": np.zeros((rows, columns), np.float32)}).spans[0][1]
    matrix = Matrix(Role(3, "w"), 0, span, rows, columns)
    at = places(matrix, count, "a")
    assert len(at[0]) == len(at[1]) == min(count, rows * columns)
    assert (at[0] < rows).all()
    assert (at[1] < columns).all()
    again = places(Matrix(Role(9, "w"), 0, span, rows, columns), count, "a")
    np.testing.assert_array_equal(at, again)


def test_places_are_those_of_the_first_release() -> None:
    """Sketches are stored: their places must never change."""
    span = opened({"w": np.zeros((1000, 2000), np.float32)}).spans[0][1]
    matrix = Matrix(Role(0, "q"), 0, span, 1000, 2000)
    rows, columns = places(matrix, 4, "bits")
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == PLACES


PLACES = [(428, 1826), (518, 1815), (202, 1201), (893, 1155)]
