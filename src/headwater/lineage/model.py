"""A model as lineage sees it: its matrices by role, whatever its files call and join them.

    Model.of(files)              from one file or all shards of one
    model.matrices               {role: Matrix}, fused projections taken apart, GGUF's order of
                                 rows undone
    Matrix.elements(rows, columns)   where those numbers stand in the stored tensor

Only headers are read. A file that holds no tensors adds none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from headwater.errors import Malformed, TooLarge
from headwater.formats.gguf import read_gguf
from headwater.formats.span import Span
from headwater.formats.spans import gguf_spans, spans
from headwater.lineage.roles import GATE_UP, MATRICES, QKV, Role, role_of
from headwater.lineage.scales import Scale, scale_of
from headwater.lineage.values import readable

Read = Callable[[int, int], bytes]
Places = npt.NDArray[np.int64]

LAYERS_MAX = 1_024  # real models have up to some hundred
COLUMNS_MAX = 262_144  # of a row; those of real models have up to some 60,000
# llama.cpp stores rows of q and k of these architectures with each head's two halves interleaved.
_ROPE_INTERLEAVED = ("llama", "minicpm", "granite")


@dataclass(frozen=True, slots=True)
class File:
    """Bytes that can be read anywhere: `read(start, stop)`."""

    name: str
    size_bytes: int
    read: Read = field(repr=False)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of a stored tensor that do one thing. A vector is a matrix of one column."""

    role: Role
    file: int  # its number among the files of the model
    span: Span
    rows: int
    columns: int
    first_row: int = 0  # in the stored tensor
    heads: int = 0  # of rows in GGUF's order; 0: as they are
    scale: Scale | None = None  # what the stored numbers are multiplied with

    @property
    def readable(self) -> bool:
        return readable(self.span.dtype) and 0 < self.columns <= COLUMNS_MAX

    def elements(self, rows: Places, columns: Places) -> Places:
        """Places in the stored tensor of the numbers in these rows and columns, one each."""
        if self.heads:
            width = self.rows // self.heads
            head, rest = np.divmod(rows, width)
            half, at = np.divmod(rest, width // 2)
            rows = head * width + 2 * at + half
        found: Places = (self.first_row + rows) * self.columns + columns
        return found


@dataclass(frozen=True, slots=True)
class Model:
    """The tensors of a model."""

    files: tuple[File, ...]
    spans: tuple[tuple[int, Span], ...]  # (number of its file, span), as they lie
    matrices: dict[Role, Matrix]

    @classmethod
    def of(cls, files: Sequence[File]) -> Model:
        """What the headers of the files say. Of two tensors of one role the first counts."""
        read = [_tensors(file) for file in files]
        found = [(at, span) for at, (_, tensors) in enumerate(read) for span in tensors]
        named = [{span.name: span for span in tensors} for _, tensors in read]
        whole: dict[Role, Matrix] = {}
        for at, span in found:
            role = role_of(span.name)
            (q, k), _ = read[at]
            turned = {"q": q, "k": k, "q.bias": q, "k.bias": k}.get(role.kind, 0)
            matrix = replace(_matrix(role, at, span, turned), scale=scale_of(span, named[at]))
            whole.setdefault(role, matrix)
        matrices: dict[Role, Matrix] = {}
        for matrix in whole.values():
            for part in _parts(matrix, whole):
                matrices.setdefault(part.role, part)
        return cls(tuple(files), tuple(found), matrices)

    @property
    def layers(self) -> int:
        """How many layers it has, those with matrices that are known."""
        found = (role.layer for role in self.matrices if role.kind in MATRICES)
        return min(1 + max(found, default=-1), LAYERS_MAX)


def _matrix(role: Role, file: int, span: Span, heads: int) -> Matrix:
    columns = span.shape[-1] if len(span.shape) > 1 else 1
    size = int(np.prod(span.shape, dtype=np.int64)) if span.shape else 1
    rows = size // columns if columns else 0
    if heads and rows % (2 * heads):
        heads = 0
    return Matrix(role, file, span, rows, columns, heads=heads)


def _parts(fused: Matrix, all_: dict[Role, Matrix]) -> Iterator[Matrix]:
    """The matrices that one stored tensor holds: itself, or those it joins end to end."""
    kind, _, bias = fused.role.kind.partition(".")
    rows: tuple[tuple[str, int], ...] = ()
    if kind == GATE_UP and fused.rows % 2 == 0:
        rows = (("gate", fused.rows // 2), ("up", fused.rows // 2))
    elif kind == QKV:
        out = all_.get(fused.role._replace(kind="o"))
        wide = out.columns if out is not None else fused.columns
        rest = fused.rows - wide
        if rest > 0 and rest % 2 == 0:
            rows = (("q", wide), ("k", rest // 2), ("v", rest // 2))
    if not rows:
        yield fused
        return
    at = 0
    for name, count in rows:
        role = fused.role._replace(kind=f"{name}.{bias}" if bias else name)
        yield replace(fused, role=role, rows=count, first_row=at)
        at += count


def _tensors(file: File) -> tuple[tuple[int, int], list[Span]]:
    """Heads of q and of k whose rows GGUF interleaved, zeros when it did not; and the spans."""
    if file.size_bytes < 4 or file.read(0, 4) != b"GGUF":
        return (0, 0), spans(file.read, file.size_bytes)
    try:
        said = read_gguf(file.read, file.size_bytes)
    except (Malformed, TooLarge):
        return (0, 0), []
    heads = (0, 0)
    if said.architecture in _ROPE_INTERLEAVED and said.heads:
        heads = said.heads, said.kv_heads or said.heads
    return heads, gguf_spans(said)
