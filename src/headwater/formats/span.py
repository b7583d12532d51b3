"""One word for a tensor's bytes, whatever the format: `Span`, and the words for its type.

`dtype` is one of safetensors' words (`DTYPE_BITS`) or the ggml name of a GGUF block type
(`BLOCK_BYTES`). `bytes_of` says how many bytes a shape takes; what does not fit its type by that
rule is called 'U8' with one side: bytes, and nothing known of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from headwater.formats.gguf_types import TENSOR_TYPES
from headwater.formats.safetensors import DTYPE_BITS

SPANS_MAX = 65_536  # of one file; real ones have up to some thousands, shards of the largest too
NAME_BYTES_MAX = 1_024  # of a tensor; real ones have up to about 150
SIDES_MAX = 64  # of a shape: torch's own bound

# GGUF's block types: elements of a block, bytes of a block.
BLOCK_BYTES: dict[str, tuple[int, int]] = {
    kind.name: (kind.block, kind.block_bytes) for kind in TENSOR_TYPES.values() if kind.block > 1
}


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes `start` to `stop` of a file: one tensor, never empty.

    Elements are little-endian; `shape` has the side that varies slowest first, as numpy has it.
    `name` is as the file says it: escape it, and do not count on its being the only one.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def bytes_of(dtype: str, shape: tuple[int, ...]) -> int | None:
    """The size of a tensor in bytes, the last one perhaps filled up; None when the type is unknown
    or its blocks do not fill the rows."""
    elements = 1
    for side in shape:
        elements *= side
    if dtype in DTYPE_BITS:
        return -(-elements * DTYPE_BITS[dtype] // 8)
    block = BLOCK_BYTES.get(dtype)
    if block is None or not shape or shape[-1] % block[0]:
        return None
    return elements // block[0] * block[1]


def typed(name: str, dtype: str | None, shape: tuple[int, ...], start: int, stop: int) -> Span:
    """A span of that type if its shape takes just these bytes, else one of plain bytes."""
    if dtype is not None and bytes_of(dtype, shape) == stop - start:
        return Span(name, dtype, shape, start, stop)
    return Span(name, "U8", (stop - start,), start, stop)
