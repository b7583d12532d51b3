"""A sketch: some kilobytes that tell a model's relatives among all others.

    sketch_of(model) -> Sketch      reads a few thousand places of each file, however large
    Sketch.pack() / Sketch.unpack(raw)

Of each of the seven matrices of a layer 64 numbers, of the embedding 512, at places that depend on
role and shape alone; and how the embeddings of 128 words lie to each other, which neither a
permuted nor a rotated model changes. 38 kB for 32 layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import msgspec
import numpy as np
import numpy.typing as npt

from headwater.errors import Malformed
from headwater.lineage.model import Matrix, Model
from headwater.lineage.roles import EMBED, MATRICES, Role
from headwater.lineage.sampling import places, read_rows, read_values
from headwater.lineage.values import Floats

VERSION = 1
SAMPLES = 64  # of a matrix of a layer
EMBED_SAMPLES = 512
WORDS = 128  # whose embeddings are held against each other
BYTES_MAX = 2 * 2**20  # of a packed one: of more layers than any model has
_F16_MAX = 65504.0


@dataclass(frozen=True, slots=True)
class Sketch:
    """`samples` (layers, 7, 64) as stored, NaN where a layer has no such matrix; `embed` 512 or
    none; `gram` the cosines of 128 words, -127 to 127, row by row above the diagonal, or none."""

    signature: tuple[tuple[str, int, int], ...]  # kinds of the layers' matrices: rows, columns
    vocabulary: int
    samples: npt.NDArray[np.float16]
    embed: npt.NDArray[np.float16]
    gram: npt.NDArray[np.int8]

    @property
    def layers(self) -> int:
        return len(self.samples)

    def pack(self) -> bytes:
        """As it is stored."""
        return msgspec.msgpack.encode(
            _Wire(
                VERSION,
                self.signature,
                self.vocabulary,
                self.layers,
                self.samples.tobytes(),
                self.embed.tobytes(),
                self.gram.tobytes(),
            )
        )

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        """What was packed; Malformed when it is no sketch of this version."""
        if len(raw) > BYTES_MAX:
            raise Malformed(f"a sketch of {len(raw)} bytes")
        try:
            wire = msgspec.msgpack.decode(raw, type=_Wire)
            samples, embed = (np.frombuffer(part, "<f2") for part in (wire.samples, wire.embed))
        except (ValueError, RecursionError) as error:
            raise Malformed(f"a sketch cannot be read: {error}") from None
        if wire.version != VERSION or len(samples) != wire.layers * len(MATRICES) * SAMPLES:
            raise Malformed(f"a sketch of version {wire.version}, or of another size")
        return cls(
            wire.signature,
            wire.vocabulary,
            samples.reshape(wire.layers, len(MATRICES), SAMPLES),
            embed,
            np.frombuffer(wire.gram, np.int8),
        )


class _Wire(msgspec.Struct, array_like=True):
    version: int
    signature: tuple[tuple[str, int, int], ...]
    vocabulary: int
    layers: int
    samples: bytes
    embed: bytes
    gram: bytes


def sketch_of(model: Model) -> Sketch:
    """The sketch; of no layers when the model has none that are known."""
    layers = model.layers
    samples = np.full((layers, len(MATRICES), SAMPLES), np.nan, np.float16)
    shapes: dict[str, tuple[int, int]] = {}
    for layer in range(layers):
        for number, kind in enumerate(MATRICES):
            matrix = model.matrices.get(Role(layer, kind))
            if matrix is None or not matrix.readable or matrix.rows * matrix.columns < SAMPLES:
                continue
            shapes.setdefault(kind, (matrix.rows, matrix.columns))
            samples[layer, number] = _f16(_sampled(model, matrix, SAMPLES))
    embed, gram, words = np.zeros(0, np.float16), np.zeros(0, np.int8), 0
    table = model.matrices.get(Role(-1, EMBED))
    if table is not None and table.readable and table.rows >= WORDS:
        embed, words = _f16(_sampled(model, table, EMBED_SAMPLES)), table.rows
        gram = _gram(model, table)
    signature = tuple((kind, *shape) for kind, shape in sorted(shapes.items()))
    return Sketch(signature, words, samples, embed, gram)


def _sampled(model: Model, matrix: Matrix, count: int) -> Floats:
    return read_values(model, matrix, matrix.elements(*places(matrix, count, "sketch")))


def _f16(values: Floats) -> npt.NDArray[np.float16]:
    """As half floats; what is too large for one, as the nearest that is not."""
    return np.clip(values, -_F16_MAX, _F16_MAX).astype(np.float16)


def _gram(model: Model, table: Matrix) -> npt.NDArray[np.int8]:
    """Cosines of some words' embeddings, as parts of 127."""
    chosen, _ = places(table, WORDS, "words")
    rows = np.unique(chosen)
    values = read_rows(model, table, rows).astype(np.float64)
    norms = np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-30)
    unit = values / norms
    cosines = np.clip(unit @ unit.T, -1, 1)[np.triu_indices(len(rows), 1)]
    return np.asarray(np.rint(127 * cosines), np.int8)
