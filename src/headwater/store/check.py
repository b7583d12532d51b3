"""Check: does everything that is stored still match its name?

    Checker(layout).run(data=False)   footers, indexes, names, recipes against their xorbs
    Checker(layout).run(data=True)    every byte as well: checksums, chunk hashes, SHA-256

Reports and never repairs: what to do about a finding is for a person, or for an upload of the same
bytes, which takes the place of what is damaged.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from headwater.errors import BadRequest, HeadwaterError
from headwater.formats.xet_hash import chunk_hash, xorb_hash
from headwater.names import Digest, TensorId, XetHash
from headwater.store.chunked import Recipes
from headwater.store.hashing import Sha256
from headwater.store.layout import Layout
from headwater.store.plain import open_plain, read_plain
from headwater.store.solid import Solid
from headwater.store.virtual import open_virtual
from headwater.store.xorbs import OpenXorb, Xorbs

_WORDS: dict[str, Literal["xorb", "tensor"]] = {
    "xorb": "xorb",
    "virtual": "xorb",
    "tensor": "tensor",
}
LEFTOVER_AGE_S = 86_400.0  # uploads take hours; nothing in tmp is of use after a day


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `name` is a digest, a Xet hash, or a key or path in the store."""

    kind: Literal["blob", "xorb", "tensor", "stray", "leftover"]
    name: str
    problem: str


class Checker:
    """One pass over a store, with caches of its own: none may hide what is on disk."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._solid = Solid(layout)
        self._xorbs = Xorbs(layout, self._solid)
        self._recipes = Recipes(layout, self._xorbs)

    def run(self, data: bool) -> Iterator[Finding]:
        """Everything that is wrong: tensors, xorbs, blobs, then what should not be there."""
        checks: dict[str, Callable[[str, bool], str | None]] = {
            "tensor": self._tensor,
            "xorb": self._xorb,
            "virtual": self._virtual,
            "plain": self._plain,
            "chunked": self._chunked,
            "packed": self._packed,
            "held": lambda name, data: None,
        }
        unreadable: list[OSError] = []
        files = self._layout
        for walk in (files.tensor_files, files.xorb_files, files.blob_files):
            for key, name, kind in walk(unreadable.append):
                if not name:
                    yield Finding("stray", key, "not a name the store gives")
                    continue
                try:
                    problem = checks[kind](name, data)
                except HeadwaterError as error:
                    problem = error.message
                if problem:
                    yield Finding(_WORDS.get(kind, "blob"), name, problem)
                if kind in ("chunked", "packed") and self._twice(Digest(name), kind):
                    yield Finding("stray", key, "the blob lies here as plain, too")
        for failed in unreadable:
            problem = f"cannot be read: {failed.strerror}"
            yield Finding("stray", self._below(failed.filename), problem)
        yield from self._leftovers()

    def _plain(self, name: str, data: bool) -> str | None:
        box = open_plain(self._layout, Digest(name))
        if box is None:
            return None  # deleted a moment ago
        with box:
            box.index()
            if data:
                pieces = read_plain(box, 0, box.footer.body_bytes)
                return _other_sha256(name, pieces)
        return None

    def _chunked(self, name: str, data: bool) -> str | None:
        file = self._recipes.find(Digest(name))
        if file is None:
            return None
        try:
            got = self._recipes.hash_of(file.terms)
        except BadRequest as error:
            return f"its recipe cannot be followed: {error.message}"
        if got != file.file_hash:
            return f"its terms make the Xet file {got}, not {file.file_hash}"
        if data:
            return _other_sha256(name, self._recipes.read(file, 0, file.size_bytes))
        return None

    def _twice(self, oid: Digest, kind: str) -> bool:
        """Whether a plain file makes this one needless. A recipe beside a plain file that a virtual
        xorb is read out of is its Xet name."""
        held = kind == "chunked" and self._on_shelf(self._layout.held(oid))
        return not held and self._on_shelf(self._layout.plain(oid))

    def _tensor(self, name: str, data: bool) -> str | None:
        if data:
            return self._solid.tensors.problem(TensorId(name))
        head = self._solid.tensors.head(TensorId(name))
        for parent in head.parents if head is not None else ():
            if self._solid.tensors.head(TensorId(parent)) is None:
                return f"its parent {parent} is missing"
        return None

    def _packed(self, name: str, data: bool) -> str | None:
        if data:
            return self._solid.packed.problem(Digest(name)) or None
        file = self._solid.packed.find(Digest(name))
        if file is None:
            return None
        with file.box:
            for span in file.spans():
                tensor = self._solid.tensors.open(span.tensor) if span.tensor is not None else None
                if span.tensor is not None and tensor is None:
                    return f"its tensor {span.tensor} is missing"
                if tensor is not None:
                    tensor.close()
                    if tensor.raw_bytes != span.stop - span.start:
                        return f"its span is not as long as tensor {span.tensor}"
        return None

    def _virtual(self, name: str, data: bool) -> str | None:
        xorb = open_virtual(self._layout, XetHash(name), self._solid)
        if xorb is None:
            return None
        for source in xorb.sources:
            solid = self._solid.open(source)
            if solid is None:
                return f"its source, blob {source}, is missing"
            solid.close()
        return self._chunks(name, xorb, data)

    def _xorb(self, name: str, data: bool) -> str | None:
        xorb = self._xorbs.stored(XetHash(name))
        return None if xorb is None else self._chunks(name, xorb, data)

    @staticmethod
    def _chunks(name: str, xorb: OpenXorb, data: bool) -> str | None:
        index = xorb.index
        got = xorb_hash(index.hash_bytes, index.raw_lengths)
        if got != name:
            return f"its chunks make the xorb {got}"
        return _other_chunk(xorb) if data else None

    def _leftovers(self) -> Iterator[Finding]:
        for path, age_s in leftovers(self._layout):
            if age_s > LEFTOVER_AGE_S:
                days = age_s / 86_400
                yield Finding("leftover", self._below(path), f"unfinished for {days:.1f} days")

    def _on_shelf(self, key: str) -> bool:
        return self._layout.shelf.stat(key) is not None

    def _below(self, path: str) -> str:
        return os.path.relpath(path, self._layout.root)


def leftovers(layout: Layout) -> Iterator[tuple[str, float]]:
    """Each unfinished file, or folder of parts, and the seconds since it was last written to."""
    now_s = time.time()
    paths = [entry.path for entry in os.scandir(layout.tmp) if entry.path != layout.parts]
    if os.path.isdir(layout.parts):
        paths += [entry.path for entry in os.scandir(layout.parts)]
    for path in sorted(paths):
        try:
            inside = (
                [entry.stat().st_mtime for entry in os.scandir(path)] if os.path.isdir(path) else []
            )
            yield path, now_s - max([os.stat(path).st_mtime, *inside])
        except FileNotFoundError:
            continue  # finished a moment ago


def _other_sha256(name: str, pieces: Iterator[bytes | memoryview]) -> str | None:
    sha256 = Sha256()
    for piece in pieces:
        sha256.update(piece)
    got = sha256.digest()
    return None if got == name else f"its bytes have the SHA-256 {got}"


def _other_chunk(xorb: OpenXorb) -> str | None:
    """Decode every chunk and hash it again."""
    hashes = xorb.index.hashes
    for start, stop in xorb.index.windows(0, len(hashes)):
        for number, chunk in enumerate(xorb.chunks(start, stop), start):
            if chunk_hash(chunk) != hashes[number]:
                return f"its chunk {number} is not what its index says"
    return None
