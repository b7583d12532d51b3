"""Elements: what one value of a tensor is to the codec, by the name of its dtype.

    Element.of("BF16")   width 2, a float: its exponent is worth taking apart
    Element.of("Q4_K")   width 144: a quantization block, cut in groups of like bytes
    Element.of("what?")  width 1: plain bytes

A dtype is safetensors' word, or ggml's for a quantization block. It is a hint for finding a smaller
form, never needed to be right: the same bytes come back whatever it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

# Raw bytes of a frame. At half of it the fixed cost of each is a tenth of reading one; at twice a
# frame and its base no longer fit the processor's cache, and 1 MiB takes half as long again.
FRAME_BYTES = 512 * 2**10

_FLOATS = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8, "C64": 4}
_INTS = {"I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8}

# Bytes of a quantization block that are alike, in order: scales as f16 low and high byte, then
# packed scales, then quants. From ggml's `block_*` structures.
_GROUPS: dict[str, tuple[int, ...]] = {
    "Q4_0": (1, 1, 16),
    "Q4_1": (1, 1, 1, 1, 16),
    "Q5_0": (1, 1, 4, 16),
    "Q5_1": (1, 1, 1, 1, 4, 16),
    "Q8_0": (1, 1, 32),
    "Q8_1": (1, 1, 1, 1, 32),
    "Q2_K": (16, 64, 1, 1, 1, 1),
    "Q3_K": (32, 64, 12, 1, 1),
    "Q4_K": (1, 1, 1, 1, 4, 4, 4, 128),
    "Q5_K": (1, 1, 1, 1, 4, 4, 4, 32, 128),
    "Q6_K": (128, 64, 16, 1, 1),
    "IQ4_NL": (1, 1, 16),
    "IQ4_XS": (1, 1, 2, 4, 128),
    "MXFP4": (1, 16),
}


@dataclass(frozen=True, slots=True)
class Element:
    """One value, or one block of values that are stored together."""

    width: int  # bytes
    floating: bool  # IEEE-like: sign in the highest bit, then the exponent
    groups: tuple[int, ...] = ()  # of a block: widths of its groups of like bytes, summing to width

    @classmethod
    def of(cls, dtype: str) -> Self:
        """What `dtype` stands for; plain bytes when it is not known."""
        if dtype in _FLOATS:
            return cls(_FLOATS[dtype], True)
        if dtype in _INTS:
            return cls(_INTS[dtype], False)
        groups = _GROUPS.get(dtype)
        return cls(sum(groups), False, groups) if groups else cls(1, False)

    @property
    def frame_bytes(self) -> int:
        """Raw bytes of a frame: a whole number of elements."""
        return FRAME_BYTES // self.width * self.width
