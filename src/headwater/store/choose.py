"""Choosing what a tensor is coded against, among the tensors of files that are named as its bases.

    Bases(tensors, packed, oids, read).plan(span, source, sketch, name)   a Plan, or None

The store is told the bases; it does not look for relatives by itself. Among them a tensor of the
same name and shape is the first guess, a better sketch beats it, and a file of other names is still
compared by shape. When nothing is very near, formulas are tried on samples: a merge, a LoRA
merge, a quantization, a cast. Deep chains are left out: reading through one costs a frame at each
step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from headwater.codec.predict import Candidate, Reader, TensorKind, search
from headwater.formats.span import Span
from headwater.formats.spans import spans
from headwater.names import Digest, TensorId
from headwater.store.packed import Packed
from headwater.store.sketch import distance
from headwater.store.tensor_writer import Plan, Source
from headwater.store.tensors import COPY, OpenTensor, Tensors

DEPTH_MAX = 2  # of a tensor packed here: it may lean on one that leans on one
COMPARED_MAX = 512  # sketches looked at for one tensor
DISTANCE_MAX = 0.85  # of the bits of a value; above it no delta has been seen to pay
NEAR_BITS = 0.5  # a value; nearer than this a difference costs less than looking for a formula
CANDIDATES_MAX = 96  # tensors that formulas are tried on, for one tensor
ADAPTER = "lora"  # in the name of a tensor of an adapter


@dataclass(frozen=True, slots=True)
class _Known:
    """A tensor of a base."""

    base: int  # which base
    span: Span
    name: TensorId
    sketch: bytes
    depth: int


class Bases:
    """The tensors of some packed files. Close it: it holds open what formulas were tried on."""

    def __init__(
        self,
        tensors: Tensors,
        packed: Packed,
        oids: Sequence[Digest],
        read: Callable[[Digest, int, int], Iterator[bytes | memoryview]],
    ) -> None:
        self._tensors = tensors
        self._packed = packed
        self._read = read
        self._oids = oids
        self._known: list[_Known] | None = None
        self._open: dict[TensorId, OpenTensor] = {}

    def plan(self, span: Span, source: Source, sketch: bytes, name: TensorId) -> Plan | None:
        """What to code this tensor against; None when nothing among the bases is near."""
        best, bits = self._nearest(span, source, sketch, name)
        if best is None or bits > NEAR_BITS:
            made = self._formula(span, source, name)
            if made is not None:
                return made
        return None if best is None else Plan({"op": COPY}, (best.name,))

    def close(self) -> None:
        for tensor in self._open.values():
            tensor.close()
        self._open.clear()

    def _nearest(
        self, span: Span, source: Source, sketch: bytes, name: TensorId
    ) -> tuple[_Known | None, float]:
        element = source.element
        best, best_bits = None, DISTANCE_MAX * 8 * element.width
        compared = 0
        for known in self._usable(name):
            alike = known.span.dtype == span.dtype and known.span.shape[1:] == span.shape[1:]
            if not alike or compared == COMPARED_MAX:
                continue
            compared += 1
            if known.span.shape == span.shape:
                bits = distance(sketch, known.sketch, element)
            elif known.span.name == span.name:
                bits = best_bits / 2  # rows were added or cut: only the frames themselves can tell
            else:
                continue
            if bits < best_bits and name not in self._tensors.ancestors([known.name]):
                best, best_bits = known, bits
        return best, best_bits

    def _formula(self, span: Span, source: Source, name: TensorId) -> Plan | None:
        """A formula that makes the tensor out of some of the bases', if samples bear it out."""
        known = self._candidates(span, name)
        if not known:
            return None
        candidates = [
            Candidate(one.span.name, TensorKind(one.span.dtype, one.span.shape), self._reader(one))
            for one in known
        ]

        def read(start: int, stop: int) -> bytes:
            return b"".join(source.read(start, stop))

        for found in search(TensorKind(source.dtype, source.shape), read, candidates):
            parents = tuple(known[index].name for index in found.parents)
            if found.prediction.op != "rows" and name not in self._tensors.ancestors(parents):
                return Plan(msgspec.json.decode(found.prediction.to_json()), parents)
        return None

    def _candidates(self, span: Span, name: TensorId) -> list[_Known]:
        """Of each base the tensor of that name; where there is none, those of its size; and what
        belongs to an adapter."""
        named, alike, adapters = [], [], []
        for known in self._usable(name):
            same_shape = sorted(known.span.shape) == sorted(span.shape)
            if same_shape and known.span.name == span.name:
                named.append(known)
            elif same_shape:
                alike.append(known)
            elif ADAPTER in known.span.name.lower() and set(known.span.shape) & set(span.shape):
                adapters.append(known)
        bases = {known.base for known in named}
        alike = [known for known in alike if known.base not in bases]
        return [*named, *_of_layer(adapters, span.name), *alike][:CANDIDATES_MAX]

    def _reader(self, known: _Known) -> Reader:
        def read(start: int, stop: int) -> memoryview:
            tensor = self._open.get(known.name)
            if tensor is None:
                tensor = self._tensors.open(known.name)
                assert tensor is not None, "no tensor goes while something is packed"
                self._open[known.name] = tensor
            return tensor.part(start, stop) if start < stop else memoryview(b"")

        return read

    def _usable(self, name: TensorId) -> Iterator[_Known]:
        """All tensors of the bases that one may be coded against, in the order of the bases."""
        if self._known is None:
            self._known = [
                known for base, oid in enumerate(self._oids) for known in self._of(base, oid)
            ]
        return (one for one in self._known if one.depth < DEPTH_MAX and one.name != name)

    def _of(self, base: int, oid: Digest) -> Iterator[_Known]:
        file = self._packed.find(oid)
        if file is None:
            return
        with file.box:
            names = {span.start: span.tensor for span in file.spans()}
            found = spans(lambda a, b: b"".join(self._read(oid, a, b)), file.size_bytes)
        for span in found:
            name = names.get(span.start)
            head = self._tensors.head(name) if name is not None else None
            if name is not None and head is not None:
                yield _Known(base, span, name, head.sketch, self._tensors.depth(name))


def _of_layer(adapters: list[_Known], name: str) -> list[_Known]:
    """Those of an adapter that say they belong to the tensor of that name, if any do."""
    stem = name.removesuffix(".weight")
    return [known for known in adapters if stem and stem in known.span.name] or adapters
