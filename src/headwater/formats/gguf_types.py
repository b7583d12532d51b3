"""The numbers of GGUF and what they stand for: tensor types with their blocks, file types.

From the format's own description (ggml's `ggml_type` and llama.cpp's `llama_ftype`).
"""

from __future__ import annotations

from typing import NamedTuple


class TensorType(NamedTuple):
    name: str
    block: int  # elements stored together
    block_bytes: int


def _type(number: int, name: str, block: int, block_bytes: int) -> tuple[int, TensorType]:
    return number, TensorType(name, block, block_bytes)


TENSOR_TYPES: dict[int, TensorType] = dict(
    [
        _type(0, "F32", 1, 4), _type(1, "F16", 1, 2), _type(2, "Q4_0", 32, 18),
        _type(3, "Q4_1", 32, 20), _type(6, "Q5_0", 32, 22), _type(7, "Q5_1", 32, 24),
        _type(8, "Q8_0", 32, 34), _type(9, "Q8_1", 32, 36), _type(10, "Q2_K", 256, 84),
        _type(11, "Q3_K", 256, 110), _type(12, "Q4_K", 256, 144), _type(13, "Q5_K", 256, 176),
        _type(14, "Q6_K", 256, 210), _type(15, "Q8_K", 256, 292), _type(16, "IQ2_XXS", 256, 66),
        _type(17, "IQ2_XS", 256, 74), _type(18, "IQ3_XXS", 256, 98), _type(19, "IQ1_S", 256, 50),
        _type(20, "IQ4_NL", 32, 18), _type(21, "IQ3_S", 256, 110), _type(22, "IQ2_S", 256, 82),
        _type(23, "IQ4_XS", 256, 136), _type(24, "I8", 1, 1), _type(25, "I16", 1, 2),
        _type(26, "I32", 1, 4), _type(27, "I64", 1, 8), _type(28, "F64", 1, 8),
        _type(29, "IQ1_M", 256, 56), _type(30, "BF16", 1, 2), _type(34, "TQ1_0", 256, 54),
        _type(35, "TQ2_0", 256, 66), _type(39, "MXFP4", 32, 17),
    ]
)  # fmt: skip

FILE_TYPES: dict[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip
