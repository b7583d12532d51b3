"""Kinds of tensors, and their elements as numbers and back, the same bits on every CPU.

    TensorKind(dtype, shape)           what a tensor is; sizes follow from it
    to_floats(dtype, words, wide)      exact, or rounded once where `wide` is smaller
    to_words(dtype, floats)            rounded to nearest, ties to even

A conversion never raises or warns, whatever the bits. A NaN comes out as the one NaN of its type:
what a CPU does with the bits of a NaN is its own affair, and a prediction must not depend on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from headwater.errors import Malformed

Words = npt.NDArray[Any]  # of unsigned integers, as wide as an element
Floats = npt.NDArray[Any]  # of float32 or float64

DIMENSIONS_MAX = 8  # real tensors have up to five
ELEMENTS_MAX = 2**48  # more than any disk holds; keeps every product well inside 64 bits


class Format(NamedTuple):
    """How the elements of one type lie in bytes: `block` elements in `block_bytes`."""

    block: int
    block_bytes: int


FORMATS = {
    "F64": Format(1, 8), "F32": Format(1, 4), "F16": Format(1, 2), "BF16": Format(1, 2),
    "F8_E4M3": Format(1, 1), "I8": Format(1, 1), "Q8_0": Format(32, 34), "Q4_0": Format(32, 18),
    "Q4_1": Format(32, 20), "Q5_0": Format(32, 22), "Q5_1": Format(32, 24),
}  # fmt: skip
FLOATS = frozenset(("F64", "F32", "F16", "BF16", "F8_E4M3"))
MANTISSA_BITS = {"F64": 52, "F32": 23, "F16": 10, "BF16": 7, "F8_E4M3": 3}
EXPONENT_MIN = {"F64": -1022, "F32": -126, "F16": -14, "BF16": -126, "F8_E4M3": -6}
_WORDS: dict[int, np.dtype[Any]] = {n: np.dtype(f"<u{n}") for n in (1, 2, 4, 8)}


@dataclass(frozen=True, slots=True)
class TensorKind:
    """Type and shape of a tensor, elements in row-major order.

    `dtype` is a word of safetensors or GGUF. One that is not in FORMATS is allowed, since files
    hold such tensors: it is not `known`, and has no size here.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def known(self) -> bool:
        """Whether predictions can be made of it or from it: its type, size and blocks."""
        form = FORMATS.get(self.dtype)
        if form is None or len(self.shape) > DIMENSIONS_MAX or min(self.shape, default=0) < 0:
            return False
        if self.elements > ELEMENTS_MAX:
            return False
        return form.block == 1 or (self.shape != () and self.shape[-1] % form.block == 0)

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def format(self) -> Format:
        """Malformed for a type that is not known."""
        if not self.known:
            raise Malformed(f"no prediction knows tensors of type {self.dtype} {self.shape}")
        return FORMATS[self.dtype]

    @property
    def raw_bytes(self) -> int:
        form = self.format
        return self.elements // form.block * form.block_bytes


def words_of(dtype: str, data: bytes | memoryview) -> Words:
    """The elements of a type without blocks, as unsigned integers; a view, not a copy."""
    return np.frombuffer(data, _WORDS[FORMATS[dtype].block_bytes])


def to_floats(dtype: str, words: Words, wide: type[np.floating[Any]] = np.float32) -> Floats:
    """The numbers that `words` stand for, as `wide` (float32 or float64).

    Every type fits in float64, and all but F64 in float32. May be a view of `words`.
    """
    if dtype == "BF16":
        shifted = words.astype(np.uint32)
        shifted <<= 16
        values = shifted.view(np.float32)
    elif dtype == "F8_E4M3":
        values = _e4m3_values()[words]
    else:
        values = words.view({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype])
    return values.astype(wide, copy=False)


def to_words(dtype: str, floats: Floats) -> Words:
    """`floats` (float32 or float64) as elements of `dtype`, to nearest, ties to even.

    From float64 to a type of 16 or 8 bits by way of float32, as PyTorch does; numpy goes from
    float64 to F16 at once, which differs for one number in half a billion.
    """
    if dtype == "F64":
        words = floats.astype(np.float64).view(np.uint64)
        return _without_nan(words, floats, 0x7FF8 << 48)
    narrow = floats.astype(np.float32, copy=False)
    if dtype == "F32":
        return _without_nan(narrow.view(np.uint32), narrow, 0x7FC0 << 16)
    if dtype == "BF16":
        return _without_nan(_to_bf16(narrow.view(np.uint32)), narrow, 0x7FC0)
    if dtype == "F16":
        return _without_nan(narrow.astype(np.float16).view(np.uint16), narrow, 0x7E00)
    return _without_nan(_to_e4m3(narrow), narrow, 0x7F)


def rounded(dtype: str, floats: Floats) -> Floats:
    """`floats` as they come back after having been stored as `dtype`; same width as given."""
    return to_floats(dtype, to_words(dtype, floats), floats.dtype.type)


def _without_nan(words: Words, floats: Floats, nan: int) -> Words:
    """`words` with `nan` wherever `floats` has any NaN."""
    strange = floats != floats
    if strange.any():
        words = words.copy()
        words[strange] = nan
    return words


def _to_bf16(bits: npt.NDArray[np.uint32]) -> Words:
    """The upper halves, one more where the lower half is over a half, or a half and odd."""
    upper = bits >> np.uint32(16)
    upper &= np.uint32(1)
    upper += np.uint32(0x7FFF)
    upper += bits  # wraps for NaNs only, and those are replaced
    upper >>= np.uint32(16)
    return upper.astype(np.uint16)


def _to_e4m3(values: npt.NDArray[np.float32]) -> Words:
    """Bias 7, 3 mantissa bits, no infinity: the largest number stands for all that are larger."""
    bits = values.view(np.uint32)
    size = bits & np.uint32(0x7FFFFFFF)
    # Below 2**-6 the steps are 2**-9, which is float32's own step at 2**14: adding rounds.
    small = (size.view(np.float32) + np.float32(2**14)).view(np.uint32) - np.uint32(141 << 23)
    large = size + np.uint32(0x7FFFF) + ((size >> np.uint32(20)) & np.uint32(1))
    large = (large >> np.uint32(20)) - np.uint32((127 - 7) << 3)
    code = np.where(size < np.uint32(121 << 23), small, np.minimum(large, np.uint32(0x7E)))
    code = code | ((bits >> np.uint32(24)) & np.uint32(0x80))
    codes: Words = code.astype(np.uint8)
    return codes


@cache
def _e4m3_values() -> Floats:
    """The 256 numbers of F8_E4M3."""
    values: list[float] = []
    for code in range(256):
        exponent, mantissa = code >> 3 & 15, code & 7
        size = mantissa * 2.0**-9 if exponent == 0 else (8 + mantissa) * 2.0 ** (exponent - 10)
        size = math.nan if code & 127 == 127 else size
        values.append(-size if code & 128 else size)
    return np.array(values, np.float32)
