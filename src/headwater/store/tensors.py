"""Tensors: each kept once, named by the BLAKE3 of its bytes, in frames that decode by themselves.

    Tensors.open(name)          head and rows verified; None when absent
    OpenTensor.frame(n)         raw bytes of frame n: coded form and raw bytes match their checksums
    OpenTensor.read(start,stop) raw bytes, frame by frame
    Tensors.touch / publish     grace time anew; a new tensor, or one in another form

A tensor may be coded against a prediction: bytes computed from other tensors, its parents; of a
`copy` they are the parent's own. So a frame costs one frame of each parent, and theirs. Parents are
never coded against their children. A tensor that is open stays readable when it is replaced:
another form of it has the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import xxhash
from blake3 import blake3

from headwater.codec import frames
from headwater.codec.elements import Element
from headwater.codec.predict import TensorKind, from_json, needs, predict
from headwater.errors import Corrupt, HeadwaterError, Malformed, NotFound
from headwater.names import TensorId
from headwater.store.cache import Cache
from headwater.store.containers import ROW_BYTES, TENSOR, Container
from headwater.store.files import writing
from headwater.store.layout import Layout

DEPTH_MAX = 16  # of any chain of parents; who packs stops far earlier: this is against damage
COPY = "copy"  # the prediction that is the parent itself; the others are formulas of the codec
HEAD_BYTES_MAX = 2**20  # parents, a shape, a sketch: some kilobytes
# Decoded frames of parents: consecutive frames of a child may need the same one. More than fits the
# processor's cache would cost more than it saves: every frame would be written to cold memory.
FRAME_CACHE_BYTES_MAX = 4 * 2**20

ROW = np.dtype(
    [("bytes", "<u4"), ("codec", "<u2"), ("zero", "<u2"), ("sum", "<u8"), ("raw_sum", "<u8")]
)
assert ROW.itemsize == ROW_BYTES[TENSOR]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a tensor says of itself, as JSON in its first row."""

    dtype: str
    shape: tuple[int, ...]
    frame_bytes: int  # raw bytes of each frame but the last
    parents: tuple[str, ...] = ()
    prediction: dict[str, object] | None = None  # how parents make it; None: not at all
    small: bool = False  # coded in the smallest forms, whatever they cost to read
    sketch: bytes = b""  # some of its values, for choosing a base (see `sketch`)


class OpenTensor:
    """One stored tensor, open."""

    __slots__ = (
        "_box",
        "_ends",
        "_level",
        "_parents",
        "_rows",
        "_tensors",
        "element",
        "head",
        "name",
    )

    def __init__(self, tensors: Tensors, name: TensorId, box: Container, level: int) -> None:
        self._tensors, self.name, self._box, self._level = tensors, name, box, level
        self._rows = np.frombuffer(box.index(), ROW)
        self._ends = np.cumsum(self._rows["bytes"], dtype=np.int64)
        self.head = self._parse_head()
        self.element = Element.of(self.head.dtype)
        frame = self.head.frame_bytes
        if (
            frame < 1
            or frame % self.element.width
            or self.raw_bytes % self.element.width
            or len(self._rows) != 1 + -(-self.raw_bytes // frame)
            or int(self._ends[-1]) != box.footer.body_bytes
            or bool(self.head.parents) != (self.head.prediction is not None)
            or level > DEPTH_MAX
        ):
            raise box.corrupt("its head contradicts its index")
        self._parents: list[OpenTensor] | None = None

    @property
    def raw_bytes(self) -> int:
        return self._box.footer.raw_bytes

    @property
    def stored_bytes(self) -> int:
        footer = self._box.footer
        return footer.body_bytes + footer.index_bytes + 128

    def means(self) -> dict[str, int]:
        """Raw bytes of its frames by the means they are coded by."""
        made: dict[str, int] = {}
        for number, codec in enumerate(self._rows["codec"][1:].tolist()):
            start, stop = self._bounds(number)
            word = frames.MEANS.get(codec, "unknown")
            made[word] = made.get(word, 0) + stop - start
        return made

    def parents(self) -> list[OpenTensor]:
        """The tensors that it is coded against, open."""
        if self._parents is None:
            opened = []
            for text in self.head.parents:
                parent = self._tensors.open(TensorId(text), self._level + 1)
                if parent is None:
                    raise self.corrupt(f"its parent {text} is missing")
                opened.append(parent)
            self._parents = opened
        return self._parents

    def ancestors(self) -> Iterator[OpenTensor]:
        """Its parents and theirs, open; some perhaps twice."""
        for parent in self.parents():
            yield parent
            yield from parent.ancestors()

    def frame(self, number: int) -> memoryview:
        """Raw bytes of frame `number`, verified. Corrupt when they are not what was kept."""
        start, stop = self._bounds(number)
        stored_bytes, codec, _, sum_, raw_sum = self._rows[number + 1].item()
        payload = self._box.read(stored_bytes, int(self._ends[number]))
        base = self._predicted(start, stop) if codec >= frames.SAME else None
        try:
            raw = frames.decode(codec, memoryview(payload), self.element, stop - start, base)
            if xxhash.xxh3_64_intdigest(raw) == raw_sum:
                return raw
            problem = "decodes to other bytes"
        except Malformed as error:
            problem = f"cannot be decoded: {error.message}"
        if xxhash.xxh3_64_intdigest(payload) != sum_:  # else it is what was written: a base is not
            problem = "does not match its checksum"
        raise self.corrupt(f"its frame {number} {problem}")

    def read(self, start: int, stop: int) -> Iterator[memoryview]:
        """Raw bytes `start` to `stop`, at most a frame at a time."""
        size = self.head.frame_bytes
        for number in range(start // size, -(-stop // size)):
            at = number * size
            yield self.frame(number)[max(start - at, 0) : stop - at]

    def part(self, start: int, stop: int) -> memoryview:
        """Raw bytes `start` to `stop` at once, by way of the cache of frames."""
        size = self.head.frame_bytes
        parts = []
        for number in range(start // size, -(-stop // size)):
            key = (self.name, self._box.footer.index_sum, number)
            raw = self._tensors.cache.get(key)
            if raw is None:
                raw = self.frame(number)
                self._tensors.cache.put(key, raw, len(raw))
            at = number * size
            parts.append(raw[max(start - at, 0) : stop - at])
        return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))

    def corrupt(self, problem: str) -> Corrupt:
        return self._box.corrupt(problem)

    def close(self) -> None:
        self._box.close()
        for parent in self._parents or ():
            parent.close()

    def _predicted(self, start: int, stop: int) -> memoryview | None:
        try:
            return predicted(self.head, self.parents(), start, stop)
        except Malformed as error:
            raise self.corrupt(error.message) from error

    def _bounds(self, number: int) -> tuple[int, int]:
        start = number * self.head.frame_bytes
        return start, min(start + self.head.frame_bytes, self.raw_bytes)

    def _parse_head(self) -> Head:
        if not len(self._rows) or int(self._rows[0]["bytes"]) > HEAD_BYTES_MAX:
            raise self._box.corrupt("it has no head")
        raw = self._box.read(int(self._rows[0]["bytes"]), 0)
        if xxhash.xxh3_64_intdigest(raw) != int(self._rows[0]["sum"]):
            raise self._box.corrupt("its head does not match its checksum")
        try:
            return msgspec.json.decode(raw, type=Head)
        except msgspec.DecodeError as error:
            raise self._box.corrupt(f"its head cannot be read: {error}") from error


def kind_of(head: Head) -> TensorKind:
    """What a formula is told of a tensor."""
    return TensorKind(head.dtype, head.shape)


def predicted(
    head: Head, parents: Sequence[OpenTensor], start: int, stop: int
) -> memoryview | None:
    """What the parents make of bytes `start` to `stop`; None where they say nothing. Malformed when
    the prediction does not fit them."""
    if head.prediction is None:
        return None
    if head.prediction.get("op") == COPY:
        if len(parents) != 1:
            raise Malformed("a copy has one parent")
        return parents[0].part(start, stop) if stop <= parents[0].raw_bytes else None
    prediction = from_json(msgspec.json.encode(head.prediction))
    target, kinds = kind_of(head), [kind_of(parent.head) for parent in parents]
    ranges = needs(prediction, target, kinds, start, stop)
    if any(to > parent.raw_bytes for (_, to), parent in zip(ranges, parents, strict=True)):
        raise Malformed("a prediction needs more than its parent has")
    parts = [
        parent.part(*range) if range[0] < range[1] else memoryview(b"")
        for range, parent in zip(ranges, parents, strict=True)
    ]
    return memoryview(predict(prediction, target, kinds, start, stop, parts))


class Tensors:
    """All tensors of a store."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.cache: Cache[tuple[TensorId, int, int], memoryview] = Cache(FRAME_CACHE_BYTES_MAX)

    def open(self, name: TensorId, level: int = 0) -> OpenTensor | None:
        """The stored tensor; None when absent. Corrupt when its head or index is damaged.
        `level`: how many children it is opened for."""
        key, what = self._layout.tensor(name), f"tensor {name}"
        box = Container.open(self._layout.shelf, key, TENSOR, name.raw, what)
        if box is None:
            return None
        try:
            return OpenTensor(self, name, box, level)
        except BaseException:
            box.close()
            raise

    def touch(self, name: TensorId) -> None:
        """Begin its grace time anew. NotFound when it is not stored."""
        with writing(f"tensor {name}"):
            if not self._layout.shelf.touch(self._layout.tensor(name)):
                raise NotFound(f"tensor {name} is not stored")

    def head(self, name: TensorId) -> Head | None:
        """What the tensor says of itself; None when it is not stored."""
        tensor = self.open(name)
        if tensor is None:
            return None
        tensor.close()
        return tensor.head

    def depth(self, name: TensorId) -> int:
        """How long its longest chain of parents is; 0 when it is coded by itself."""
        head = self.head(name)
        parents = head.parents if head is not None else ()
        return 1 + max(self.depth(TensorId(text)) for text in parents) if parents else 0

    def ancestors(self, names: Sequence[TensorId]) -> set[TensorId]:
        """These tensors and everything they are coded against, however far."""
        found: set[TensorId] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                head = self.head(name)
                todo += [TensorId(text) for text in head.parents] if head is not None else []
        return found

    def problem(self, name: TensorId) -> str | None:
        """Decode every frame; what is wrong, if anything is."""
        try:
            tensor = self.open(name)
            if tensor is None:
                return None
            hasher = blake3()
            for piece in tensor.read(0, tensor.raw_bytes):
                hasher.update(piece)
        except HeadwaterError as error:
            return error.message
        tensor.close()
        got = hasher.hexdigest()
        return None if got == name else f"its bytes have the BLAKE3 {got}"
