"""BitX as ZipLLM (NSDI 2026) keeps a hub: written from its description, with its own parts.

A tensor is kept once, by its xxh3. One that has a tensor of the same name, dtype and shape in the
root of its family (a star: always the root, never a sibling) is XORed with that; the sign goes next
to the mantissa, the exponents become one stream and the rest another, and each passes through
zstd -3. Any other float tensor passes through ZipNN, what is not a float through zstd -3.

`tensors` holds the coded forms one after another, `index` the tables as JSON through zstd.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xxhash
import zstandard
from peers import Source, zipnn_of
from spans import Span, spans

LEVEL = 3
FLOATS = ("BF16", "F16", "F32")
WORDS = {"BF16": np.dtype("<u2"), "F32": np.dtype("<u4")}  # the exponent is a byte in both
BLOCK = 2**16  # words: what is computed on stays in the core's cache


def apart(words: np.ndarray, base: np.ndarray) -> list[bytes]:
    """The exponents of the XOR, and its signs with its mantissas."""
    width = words.dtype.itemsize
    exponent = np.empty(len(words), np.uint8)
    rest = np.empty((len(words), width - 1), np.uint8)
    for at in range(0, len(words), BLOCK):
        mixed = words[at : at + BLOCK] ^ base[at : at + BLOCK]
        turned = ((mixed << 1) | (mixed >> (8 * width - 1))).view(np.uint8).reshape(-1, width)
        exponent[at : at + BLOCK] = turned[:, -1]
        rest[at : at + BLOCK] = turned[:, :-1]
    return [exponent.tobytes(), rest.tobytes()]


def together(exponent: bytes, rest: bytes, base: np.ndarray) -> np.ndarray:
    """What `apart` took apart."""
    width = base.dtype.itemsize
    tops = np.frombuffer(exponent, np.uint8)
    rests = np.frombuffer(rest, np.uint8).reshape(-1, width - 1)
    out = np.empty(len(base), base.dtype)
    turned = np.empty((BLOCK, width), np.uint8)
    for at in range(0, len(base), BLOCK):
        count = min(BLOCK, len(base) - at)
        turned[:count, -1] = tops[at : at + count]
        turned[:count, :-1] = rests[at : at + count]
        mixed = turned[:count].view(base.dtype).ravel()
        np.bitwise_xor(
            (mixed >> 1) | (mixed << (8 * width - 1)), base[at : at + count], out[at : at + count]
        )
    return out


class Bitx:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        zipnn_of("BF16")
        index = folder / "index"
        # tensors: key -> [how, at, sizes, key of the base]; files: name -> [key or text, size] rows
        held = {"tensors": {}, "files": {}, "named": {}}
        if index.exists():
            held = json.loads(zstandard.ZstdDecompressor().decompress(index.read_bytes()))
        self.tensors, self.files, self.named = held["tensors"], held["files"], held["named"]
        self.more = (folder / "tensors").open("ab")
        self.held = os.open(folder / "tensors", os.O_RDONLY)

    def put(self, source: Source) -> None:
        rows: list[list[object]] = []
        with source.path.open("rb") as file:
            at = 0
            for span in spans(source.path):
                rows += [["gap", *self._keep([file.read(span.start - at)])]]
                rows += [["tensor", self._tensor(source, span, file.read(span.stop - span.start))]]
                at = span.stop
            rows += [["gap", *self._keep([file.read()])]]
        self.files[source.name] = rows

    def _keep(self, parts: list[bytes]) -> tuple[int, list[int]]:
        at = self.more.tell()
        sizes = []
        for part in parts:
            coded = zstandard.ZstdCompressor(level=LEVEL).compress(part)
            self.more.write(coded)
            sizes.append(len(coded))
        return at, sizes

    def _tensor(self, source: Source, span: Span, raw: bytes) -> str:
        key = xxhash.xxh3_128_hexdigest(raw)
        sort = f"{span.name} {span.dtype} {span.shape}"
        if source.name == source.root:
            self.named[f"{source.root} {sort}"] = key
        if key in self.tensors:
            return key
        base = self.named.get(f"{source.root} {sort}")
        if span.dtype not in FLOATS:
            self.tensors[key] = ["zstd", *self._keep([raw]), span.dtype, None]
        elif span.dtype in WORDS and base in self.tensors:
            self.more.flush()
            kind = WORDS[span.dtype]
            parent = np.frombuffer(self._decoded(base), kind)
            coded = self._keep(apart(np.frombuffer(raw, kind), parent))
            self.tensors[key] = ["bitx", *coded, span.dtype, base]
        else:
            at = self.more.tell()
            coded_bytes = zipnn_of(span.dtype).compress(raw)
            self.more.write(coded_bytes)
            self.tensors[key] = ["zipnn", at, [len(coded_bytes)], span.dtype, None]
        return key

    def close(self) -> None:
        self.more.flush()
        held = {"tensors": self.tensors, "files": self.files, "named": self.named}
        text = json.dumps(held, separators=(",", ":")).encode()
        (self.folder / "index").write_bytes(zstandard.ZstdCompressor(level=LEVEL).compress(text))

    def _parts(self, at: int, sizes: list[int]) -> Iterator[bytes]:
        for size in sizes:
            yield os.pread(self.held, size, at)
            at += size

    def _decoded(self, key: str) -> bytes | bytearray | memoryview:
        how, at, sizes, dtype, base = self.tensors[key]
        if how == "zipnn":
            return zipnn_of(dtype).decompress(next(self._parts(at, sizes)))
        parts = [zstandard.ZstdDecompressor().decompress(p) for p in self._parts(at, sizes)]
        if how == "zstd":
            return parts[0]
        parent = np.frombuffer(self._decoded(base), WORDS[dtype])
        return memoryview(together(*parts, parent)).cast("B")

    def read(self, source: Source) -> Iterator[bytes | bytearray | memoryview]:
        for kind, *row in self.files[source.name]:
            if kind == "tensor":
                yield self._decoded(row[0])
            else:
                part = next(self._parts(*row))
                yield zstandard.ZstdDecompressor().decompress(part)
