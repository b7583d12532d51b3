"""A tensor on its way in: its frames coded one by one, written aside, published whole.

    Source(...)                      where its raw bytes are read, and what they are
    write_tensor(layout, tensors, source, name, plan)   durable when it returns

`plan` says what it may be coded against; each frame takes the prediction only where that is the
smaller form. A tensor that is there already stays as it is unless `replace`: two that write the
same one at the same moment leave whichever came first, so no chain of parents can become a ring.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import msgspec
import numpy as np
import xxhash
from blake3 import blake3

from headwater.codec import frames
from headwater.codec.elements import Element
from headwater.errors import Corrupt
from headwater.names import TensorId
from headwater.store.containers import TENSOR, Container, Footer
from headwater.store.files import Temp, writing
from headwater.store.layout import Layout
from headwater.store.local_shelf import open_file
from headwater.store.tensors import ROW, Head, OpenTensor, Tensors, predicted

# Bytes `start` to `stop`, in pieces of any size.
Reader = Callable[[int, int], Iterator[bytes | memoryview]]


@dataclass(frozen=True, slots=True)
class Source:
    """The raw bytes of one tensor and what is known of them."""

    dtype: str
    shape: tuple[int, ...]
    raw_bytes: int
    read: Reader = field(repr=False)

    @property
    def element(self) -> Element:
        """By its dtype; plain bytes when they are not a whole number of that."""
        element = Element.of(self.dtype)
        return Element(1, False) if self.raw_bytes % element.width else element

    def frames(self) -> Iterator[memoryview]:
        """All of it, a frame at a time, one in memory."""
        return regroup(self.read(0, self.raw_bytes), self.element.frame_bytes)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a tensor may be coded against."""

    prediction: dict[str, object]
    parents: tuple[TensorId, ...]


def regroup(pieces: Iterator[bytes | memoryview], size: int) -> Iterator[memoryview]:
    """The same bytes in pieces of `size`, the last one perhaps shorter."""
    held: list[bytes | memoryview] = []
    held_bytes = 0
    for piece in pieces:
        view = memoryview(piece)
        while held_bytes + len(view) >= size:
            take = size - held_bytes
            yield memoryview(b"".join([*held, view[:take]])) if held else view[:take]
            held, held_bytes, view = [], 0, view[take:]
        if len(view):
            held.append(view)
            held_bytes += len(view)
    if held:
        yield memoryview(b"".join(held))


def write_tensor(
    layout: Layout,
    tensors: Tensors,
    source: Source,
    name: TensorId,
    plan: Plan | None = None,
    sketch: bytes = b"",
    *,
    small: bool = False,
    replace: bool = False,
    below_bytes: int = sys.maxsize,
) -> int:
    """Keep the tensor; bytes that it takes, 0 when it was kept already. `small`: in the smallest
    forms, for what is seldom read. With `replace` it takes the
    place of what is there, if it is smaller than `below_bytes`; else that is returned. `name` is
    the hash of the very bytes that `source` gives: who calls has hashed them, and decodes the whole
    file again before it counts."""
    element = source.element
    parents = _open(tensors, plan)
    dtype = source.dtype if element == Element.of(source.dtype) else "U8"
    head = Head(
        dtype=dtype,
        shape=source.shape,
        frame_bytes=element.frame_bytes,
        parents=tuple(map(str, plan.parents)) if plan and parents else (),
        prediction=plan.prediction if plan and parents else None,
        small=small,
        sketch=sketch,
    )
    try:
        with Temp(layout.tmp, ".tensor", f"tensor {name}") as temp:
            raw_head = msgspec.json.encode(head)
            rows = [(len(raw_head), frames.RAW, 0, *[xxhash.xxh3_64_intdigest(raw_head)] * 2)]
            temp.write(raw_head)
            at = 0
            for raw in source.frames():
                base = predicted(head, parents, at, at + len(raw)) if parents else None
                codec, payload = frames.encode(raw, element, base, small=small)
                sums = (xxhash.xxh3_64_intdigest(payload), xxhash.xxh3_64_intdigest(raw))
                rows.append((len(payload), codec, 0, *sums))
                temp.write(payload)
                at += len(raw)
            index = np.array(rows, ROW).tobytes()
            footer = Footer.of(
                TENSOR, index, name.raw, body_bytes=temp.size_bytes, raw_bytes=source.raw_bytes
            )
            temp.write(index, footer.pack())
            if replace and temp.size_bytes >= below_bytes:
                return below_bytes
            if replace:  # what is there goes at once, and may be all there is
                _prove(layout, name, temp)
                temp.publish(layout.shelf, layout.tensor(name))
            elif not temp.publish_new(layout.shelf, layout.tensor(name)):
                return 0  # someone was first: those are the same bytes
            return temp.size_bytes
    finally:
        for parent in parents:
            parent.close()


def _prove(layout: Layout, name: TensorId, temp: Temp) -> None:
    """Corrupt unless what was written decodes to the bytes of that name, with nothing cached."""
    what = f"tensor {name}"
    with writing(what):
        source = open_file(temp.path)
    box, hasher = Container.of(source, TENSOR, name.raw, what), blake3()
    with closing(OpenTensor(Tensors(layout), name, box, 0)) as tensor:
        for piece in tensor.read(0, tensor.raw_bytes):
            hasher.update(piece)
    if hasher.hexdigest() != name:
        raise Corrupt(f"{what} did not come out of coding as it went in; left as it is")


def _open(tensors: Tensors, plan: Plan | None) -> Sequence[OpenTensor]:
    """The parents of a plan; none when one of them has gone: the plan is then dropped."""
    opened: list[OpenTensor] = []
    for name in plan.parents if plan else ():
        parent = tensors.open(name)
        if parent is None:
            return ()
        opened.append(parent)
    return opened
