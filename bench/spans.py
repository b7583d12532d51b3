"""Where the tensors of a file lie, for peers that look inside: safetensors and GGUF.

    spans(path) -> [Span]    in order, not overlapping; whatever lies between is not a tensor

Only for files that the zoo made: nothing is checked.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Span:
    name: str
    dtype: str  # as safetensors writes it; of GGUF the quantization's name
    shape: tuple[int, ...]
    start: int
    stop: int


def spans(path: Path) -> list[Span]:
    found = _gguf(path) if path.suffix == ".gguf" else _safetensors(path)
    return sorted((s for s in found if s.stop > s.start), key=lambda s: s.start)


def _safetensors(path: Path) -> Iterator[Span]:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    for name, row in header.items():
        if name != "__metadata__":
            start, stop = row["data_offsets"]
            where = (8 + size + start, 8 + size + stop)
            yield Span(name, row["dtype"], tuple(row["shape"]), *where)


def _gguf(path: Path) -> Iterator[Span]:
    import gguf

    for tensor in gguf.GGUFReader(path).tensors:
        shape = tuple(int(n) for n in reversed(tensor.shape))
        start = int(tensor.data_offset)
        yield Span(tensor.name, tensor.tensor_type.name, shape, start, start + tensor.n_bytes)
