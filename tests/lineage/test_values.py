"""Numbers of every stored type: blocks as gguf's own dequantizer has them, 8-bit floats by their
definitions."""

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from hypothesis import given
from hypothesis import strategies as st

from headwater.lineage.blocks import BLOCKS
from headwater.lineage.values import floats, readable, unit


@pytest.mark.parametrize("dtype", sorted(BLOCKS))
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 5))
def test_blocks_are_taken_apart_as_gguf_does(dtype: str, seed: int, count: int) -> None:
    elements, size = unit(dtype)
    raw = np.frombuffer(np.random.default_rng(seed).bytes(count * size), np.uint8)
    with np.errstate(all="ignore"):
        wanted = gguf.quants.dequantize(raw.reshape(count, size), Kind[dtype]).reshape(-1)
    found = floats(dtype, raw.tobytes())
    assert found.dtype == np.float32
    assert len(found) == count * elements
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_8_bit_floats() -> None:
    """By their definitions: OCP's greatest E4M3 is 448, E5M2 has infinities."""
    e4m3 = floats("F8_E4M3", bytes(range(256)))
    assert e4m3[[0x00, 0x01, 0x08, 0x38, 0x7E, 0xB8]].tolist() == [0, 2**-9, 2**-6, 1, 448, -1]
    assert np.isnan(e4m3[[0x7F, 0xFF]]).all()
    assert np.isnan(e4m3).sum() == 2
    e5m2 = floats("F8_E5M2", bytes(range(256)))
    assert e5m2[[0x01, 0x3C, 0x7B, 0x7C, 0xFC]].tolist() == [2**-16, 1, 57344, np.inf, -np.inf]


@given(st.lists(st.floats(width=16), max_size=50))
def test_plain_types(values: list[float]) -> None:
    for dtype, kind in (("F16", "<f2"), ("F32", "<f4"), ("F64", "<f8")):
        raw = np.array(values, kind).tobytes()
        np.testing.assert_array_equal(floats(dtype, raw), np.array(values, np.float32))
    words = np.array(values, "<f4").view("<u4") >> 16
    wanted = (words << 16).astype("<u4").view("<f4")
    np.testing.assert_array_equal(floats("BF16", words.astype("<u2").tobytes()), wanted)


def test_what_is_not_known() -> None:
    assert not readable("IQ2_XXS")
    assert not readable("a type of next year")
    assert unit("BF16") == (1, 2)
    assert unit("F8_E4M3") == (1, 1)
    assert unit("Q4_K") == (256, 144)
