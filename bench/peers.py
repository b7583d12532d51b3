"""Ways of keeping files, each as a shop of bytes: put them in, read them out, look at the folder.

    Peer(folder)       opens what is there; one process puts, another reads
    put(source)        keep a file; `close()` after the last
    read(source)       its bytes in pieces

    raw      the files as they are
    zstd     level 3, a stream for each file
    dedup    chunks of 64 KB on average cut by content (Xet's class), each kept once, raw
    zipnn    0.5.4, each file by itself, in the mode of its most frequent dtype
    lmzip    1.3.0, all files in one archive: so it finds duplicates and near ones among them
    bitx     peer_bitx.py: ZipLLM's tensor dedup, XOR with the base, ZipNN for the rest
    headwater    the store of this project, packed

All run in one thread. A peer imports what it needs when it is made: what is not installed costs its
own rows only, and importing is no part of any measurement.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PIECE_BYTES = 2**20
CHUNK_BYTES = 64 * 2**10


@dataclass(frozen=True, slots=True)
class Source:
    """A file to keep. `bases` are sources put before it that it may come from; `root` is the first
    of its family."""

    name: str
    path: Path
    bases: tuple[str, ...]
    root: str


class Peer(Protocol):
    def __init__(self, folder: Path) -> None: ...
    def put(self, source: Source) -> None: ...
    def close(self) -> None: ...
    def read(self, source: Source) -> Iterator[bytes | bytearray | memoryview]: ...


def pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


class Raw:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, source: Source) -> None:
        with (self.folder / source.name).open("wb") as out:
            for piece in pieces(source.path):
                out.write(piece)

    def close(self) -> None:
        pass

    def read(self, source: Source) -> Iterator[bytes]:
        return pieces(self.folder / source.name)


class Zstd(Raw):
    def __init__(self, folder: Path) -> None:
        import zstandard

        super().__init__(folder)
        self.zstandard = zstandard

    def put(self, source: Source) -> None:
        with (self.folder / source.name).open("wb") as out, source.path.open("rb") as file:
            size = source.path.stat().st_size
            self.zstandard.ZstdCompressor(level=3).copy_stream(file, out, size=size)

    def read(self, source: Source) -> Iterator[bytes]:
        with (self.folder / source.name).open("rb") as file:
            yield from self.zstandard.ZstdDecompressor().read_to_iter(file, write_size=PIECE_BYTES)


class Dedup:
    """`chunks` holds each chunk once; `index`, 44 bytes a chunk: its hash, where, how long; a file
    is a list of rows of the index, 4 bytes each."""

    def __init__(self, folder: Path) -> None:
        from blake3 import blake3
        from pyfastcdc import FastCDC

        self.hash = blake3
        self.cutter = FastCDC(avg_size=CHUNK_BYTES, min_size=8 * 2**10, max_size=128 * 2**10)
        self.folder = folder
        self.rows: list[tuple[bytes, int, int]] = []
        index = folder / "index"
        data = index.read_bytes() if index.exists() else b""
        for at in range(0, len(data), 44):
            start, size = int.from_bytes(data[at + 32 : at + 40]), data[at + 40 : at + 44]
            self.rows.append((data[at : at + 32], start, int.from_bytes(size)))
        self.known = {row[0]: number for number, row in enumerate(self.rows)}

    def put(self, source: Source) -> None:
        recipe = bytearray()
        with (self.folder / "chunks").open("ab") as out, source.path.open("rb") as file:
            for chunk in self.cutter.cut_stream(file):
                key = self.hash(chunk.data).digest()
                if key not in self.known:
                    self.known[key] = len(self.rows)
                    self.rows.append((key, out.tell(), len(chunk.data)))
                    out.write(chunk.data)
                recipe += self.known[key].to_bytes(4)
        (self.folder / source.name).write_bytes(recipe)

    def close(self) -> None:
        rows = (k + start.to_bytes(8) + size.to_bytes(4) for k, start, size in self.rows)
        (self.folder / "index").write_bytes(b"".join(rows))

    def read(self, source: Source) -> Iterator[bytes]:
        recipe = (self.folder / source.name).read_bytes()
        with (self.folder / "chunks").open("rb") as file:
            for at in range(0, len(recipe), 4):
                _, start, size = self.rows[int.from_bytes(recipe[at : at + 4])]
                yield os.pread(file.fileno(), size, start)


def zipnn_of(dtype: str):  # type: ignore[no-untyped-def]  # it has no types
    from zipnn import ZipNN

    mode = {"F32": "float32", "F16": "float16"}.get(dtype, "bfloat16")
    return ZipNN(input_format="byte", bytearray_dtype=mode, threads=1)


class Zipnn(Raw):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        zipnn_of("BF16")  # imports torch

    def _coder(self, path: Path):  # type: ignore[no-untyped-def]
        from spans import spans

        held: dict[str, int] = {}
        for span in spans(path):
            held[span.dtype] = held.get(span.dtype, 0) + span.stop - span.start
        return zipnn_of(max(held, key=lambda dtype: held[dtype]))

    def put(self, source: Source) -> None:
        coder = self._coder(source.path)
        (self.folder / source.name).write_bytes(coder.compress(source.path.read_bytes()))

    def read(self, source: Source) -> Iterator[bytearray]:
        yield self._coder(source.path).decompress((self.folder / source.name).read_bytes())


class Lmzip:
    """One archive of all files, in order of their names; made anew when files are added. It writes
    files, not pieces, so whoever measures calls `stage` and `unpack`."""

    dedup = True

    def __init__(self, folder: Path) -> None:
        import lmz

        lmz.backends()  # builds its C part at the very first call
        self.archive = folder / "all.lmz"
        self.inputs = folder.with_name(f"{folder.name}.inputs")
        self.outputs = folder.with_name(f"{folder.name}.outputs")
        self.inputs.mkdir(exist_ok=True)

    def stage(self, source: Source) -> None:
        """A copy, since lmz passes links over."""
        number = len(list(self.inputs.iterdir()))
        shutil.copyfile(source.path, self.inputs / f"{number:02}-{source.name}")

    def put(self, source: Source) -> None:
        pass  # with all others, by `close`

    def close(self) -> None:
        import lmz

        self.archive.unlink(missing_ok=True)
        lmz.compress(str(self.inputs), str(self.archive), workers=1, dedup=self.dedup)

    def unpack(self, sources: list[Source]) -> list[Path]:
        """The sources, written out: all at once where they are the whole archive."""
        import lmz

        shutil.rmtree(self.outputs, ignore_errors=True)
        staged = {path.name[3:]: path.name for path in self.inputs.iterdir()}
        if len(staged) == len(sources):
            # Of an archive of one file it makes that file, of more a folder.
            self.outputs.mkdir()
            out = self.outputs if len(staged) > 1 else self.outputs / staged[sources[0].name]
            lmz.decompress(str(self.archive), str(out), workers=1, overwrite=True)
        else:
            for name in (staged[source.name] for source in sources):
                lmz.extract(str(self.archive), name, str(self.outputs / name), workers=1)
        return [self.outputs / staged[source.name] for source in sources]

    def read(self, source: Source) -> Iterator[bytes]:
        return pieces(self.unpack([source])[0])


class LmzipNoDedup(Lmzip):
    """lmzip 1.3.0 refuses to read an archive of its own when a tensor in it equals one that is kept
    as a difference. This one does not look for equals."""

    dedup = False


class Headwater:
    """Each file comes plain and is packed at once, its bases named. Which blob a name is lies
    beside the folder: a hub has that in its catalog."""

    small = False

    def __init__(self, folder: Path) -> None:
        from headwater.names import Digest
        from headwater.store.store import Store

        self.folder = folder
        # No decoded copies beside: a file that is read often would be read from its copy.
        self.store = Store.open(folder, hot_bytes_max=0)
        self.names = folder.with_name(f"{folder.name}.names")
        known = json.loads(self.names.read_text()) if self.names.exists() else {}
        self.oids = {name: Digest(oid) for name, oid in known.items()}

    def put(self, source: Source) -> None:
        with self.store.write_plain(source.path.stat().st_size) as writer:
            for piece in pieces(source.path):
                writer.write(piece)
            oid = writer.finish().oid
        self.oids[source.name] = oid
        self.store.pack(oid, [self.oids[name] for name in source.bases], small=self.small)

    def close(self) -> None:
        self.names.write_text(json.dumps({name: str(oid) for name, oid in self.oids.items()}))

    def read(self, source: Source) -> Iterator[bytes | memoryview]:
        return self.store.read(self.oids[source.name])


class HeadwaterSmall(Headwater):
    """As files lie that nobody has asked for in `pack_small_after_s`."""

    small = True
