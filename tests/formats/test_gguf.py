"""GGUF headers: what the reference writes is read alike; what is hostile is refused, cheaply."""

import io
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from effort import examples
from headwater.errors import Malformed, TooLarge
from headwater.formats.gguf import (
    DEPTH_MAX,
    HEADER_BYTES_MAX,
    STEPS_MAX,
    WINDOW_BYTES,
    GgufHeader,
    read_gguf,
)
from headwater.formats.gguf_types import FILE_TYPES, TENSOR_TYPES

U32, STRING, ARRAY, U64, BOOL = 4, 8, 9, 10, 7
F32 = 0


class Watch:
    """A file that notes how much of it was asked for."""

    def __init__(self, data: bytes, size_bytes: int | None = None) -> None:
        self.data = data
        self.size_bytes = len(data) if size_bytes is None else size_bytes
        self.read_bytes = 0
        self.largest = 0

    def __call__(self, start: int, stop: int) -> bytes:
        assert 0 <= start <= stop <= self.size_bytes
        self.read_bytes += stop - start
        self.largest = max(self.largest, stop - start)
        return self.data[start:stop].ljust(stop - start, b"\0")


def read(data: bytes) -> GgufHeader:
    return read_gguf(Watch(data), len(data))


def text(value: str | bytes, order: str = "<") -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(order + "Q", len(raw)) + raw


def pair(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(
    name: str = "w", shape: tuple[int, ...] = (8,), kind: int = F32, offset: int = 0, dims: int = -1
) -> bytes:
    count = len(shape) if dims < 0 else dims
    sides = b"".join(struct.pack("<Q", side) for side in shape)
    return text(name) + struct.pack("<I", count) + sides + struct.pack("<IQ", kind, offset)


def made(
    pairs: list[bytes] | None = None,
    tensors: list[bytes] | None = None,
    *,
    data: int = 32,
    version: int = 3,
    counts: tuple[int, int] | None = None,
    alignment: int = 32,
) -> bytes:
    pairs, tensors = pairs or [], [tensor()] if tensors is None else tensors
    head = b"GGUF" + struct.pack("<I", version)
    head += struct.pack("<QQ", *(counts or (len(tensors), len(pairs))))
    head += b"".join(pairs) + b"".join(tensors)
    return head + b"\0" * (-len(head) % alignment) + b"\0" * data


def written(folder: Path, endianess: Any = gguf.GGUFEndian.LITTLE) -> bytes:
    """A file by the reference's own writer."""
    path = folder / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama", endianess=endianess)
    writer.add_name("ünïcode")
    writer.add_context_length(4096)
    writer.add_file_type(15)
    writer.add_chat_template("{{ messages }}")
    writer.add_token_list([f"token{i}" for i in range(1000)])
    writer.add_array("nested.numbers", [1, 2, 3])
    writer.add_tensor("a", np.ones((4, 32), np.float32))
    writer.add_tensor("b", np.ones((3,), np.float16))
    writer.add_tensor(
        "c", np.zeros((2, 34 * 4), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
def test_what_the_reference_writes(tmp_path: Path, order: str) -> None:
    header = read(written(tmp_path, gguf.GGUFEndian[order]))
    assert (header.version, header.order) == (3, order.lower())
    assert (header.architecture, header.name) == ("llama", "ünïcode")
    assert (header.context_length, header.file_type) == (4096, "Q4_K_M")
    assert header.chat_template == "{{ messages }}"
    assert header.parameters == 4 * 32 + 3 + 2 * 128


def test_places_are_those_of_the_reference(tmp_path: Path) -> None:
    header = read(written(tmp_path))
    reference = gguf.GGUFReader(tmp_path / "m.gguf")
    theirs = {t.name: (t.data_offset, t.data_offset + t.n_bytes) for t in reference.tensors}
    assert {t.name: (t.start, t.stop) for t in header.tensors} == theirs
    shapes = {t.name: tuple(int(side) for side in t.shape) for t in reference.tensors}
    assert {t.name: t.shape for t in header.tensors} == shapes


def test_every_type_has_the_reference_s_blocks() -> None:
    """But for Q8_1, which no file holds: the package counts two more halves than the loader."""
    for number, kind in TENSOR_TYPES.items():
        if kind.name == "Q8_1":
            continue
        theirs = gguf.GGMLQuantizationType(number)
        assert (kind.name, (kind.block, kind.block_bytes)) == (
            theirs.name,
            gguf.GGML_QUANT_SIZES[theirs],
        )
    names = {t.value: t.name.removeprefix("MOSTLY_") for t in gguf.LlamaFileType}
    names[0] = "F32"
    assert {n: name for n, name in FILE_TYPES.items() if n in names} == {
        n: names[n] for n in FILE_TYPES if n in names
    }


def test_the_first_version_had_narrow_counts() -> None:
    head = b"GGUF" + struct.pack("<III", 1, 1, 1)
    head += struct.pack("<I", 20) + b"general.architecture" + struct.pack("<I", STRING)
    head += struct.pack("<I", 5) + b"gptj!" + struct.pack("<I", 1) + b"w"
    head += struct.pack("<IIIQ", 1, 8, F32, 0)
    header = read(head + b"\0" * (-len(head) % 32 + 32))
    assert (header.version, header.architecture, header.parameters) == (1, "gptj!", 8)


def array(kind: int, count: int, values: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + values


def deep(levels: int) -> bytes:
    return array(ARRAY, 1) * (levels - 1) + array(U32, 1, b"\0\0\0\0")


ALIGN = "general.alignment"
HOSTILE: dict[str, Callable[[], bytes]] = {
    "an array of 2^60 strings": lambda: made([pair("k", ARRAY, array(STRING, 2**60))]),
    "an array of 10^8 strings": lambda: made([pair("k", ARRAY, array(STRING, 10**8))]),
    "an array of 2^60 numbers": lambda: made([pair("k", ARRAY, array(U32, 2**60))]),
    "an array of 2^60 arrays": lambda: made([pair("k", ARRAY, array(ARRAY, 2**60))]),
    "2^63 pairs": lambda: made(counts=(1, 2**63)),
    "2^63 tensors": lambda: made(counts=(2**63, 0)),
    "more tensors than there are": lambda: made(counts=(3, 0), data=0),
    "a key of 2^64-1 bytes": lambda: made([struct.pack("<Q", 2**64 - 1) + b"k"]),
    "a string of 2^62 bytes": lambda: made([pair("k", STRING, struct.pack("<Q", 2**62))]),
    "arrays in arrays in arrays": lambda: made([pair("k", ARRAY, deep(DEPTH_MAX + 1))]),
    "type 99": lambda: made([pair("k", 99, b"")]),
    "an array of type 99": lambda: made([pair("k", ARRAY, array(99, 0))]),
    "a truth that is 2": lambda: made([pair("k", BOOL, b"\x02")]),
    "2^31 dimensions": lambda: made([], [tensor(dims=2**31)]),
    "no dimension": lambda: made([], [tensor(shape=())]),
    "a side of 0": lambda: made([], [tensor(shape=(0,))]),
    "sides whose product overflows": lambda: made([], [tensor(shape=(2**40, 2**40))]),
    "a tensor of type 99": lambda: made([], [tensor(kind=99)]),
    "half a block": lambda: made([], [tensor(shape=(31,), kind=2)]),
    "an offset past the end": lambda: made([], [tensor(offset=2**40)]),
    "an offset below zero": lambda: made([], [tensor(offset=2**64 - 32)]),
    "an offset that is not aligned": lambda: made([], [tensor(offset=4)], data=64),
    "tensors that overlap": lambda: made([], [tensor("a"), tensor("b")]),
    "two tensors of one name": lambda: made([], [tensor("a"), tensor("a", offset=32)], data=64),
    "an alignment of 0": lambda: made([pair(ALIGN, U32, struct.pack("<I", 0))]),
    "an alignment of 3": lambda: made([pair(ALIGN, U32, struct.pack("<I", 3))]),
    "an alignment that is text": lambda: made([pair(ALIGN, STRING, text("32"))]),
    "an alignment of 64 bits": lambda: made([pair(ALIGN, U64, struct.pack("<Q", 32))]),
    "a key twice": lambda: made([pair("k", U32, b"abcd"), pair("k", U32, b"abcd")]),
    "a key that is no text": lambda: made([pair(b"\xff\xfe", U32, b"abcd")]),
    "a value that is no text": lambda: made([pair("k", STRING, text(b"\xc3\x28"))]),
    "a name that is no text": lambda: made([], [tensor().replace(b"w", b"\xff", 1)]),
    "version 0": lambda: made(version=0),
    "version 4": lambda: made(version=4),
    "no magic": lambda: b"GGML" + made()[4:],
    "no bytes": lambda: b"",
    "only the magic": lambda: b"GGUF",
    "data cut off": lambda: made()[:-1],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_for_what_they_are(name: str) -> None:
    data = HOSTILE[name]()
    watch = Watch(data)
    with pytest.raises(Malformed):
        read_gguf(watch, len(data))
    assert watch.read_bytes <= len(data) + 24


def test_the_well_formed_neighbour_of_them_all_is_read() -> None:
    assert read(made()).parameters == 8
    two = [tensor("a"), tensor("b", offset=64)]
    assert read(made([pair("k", ARRAY, deep(DEPTH_MAX))], two, data=96)).parameters == 16
    aligned = made([pair(ALIGN, U32, struct.pack("<I", 64))], alignment=64)
    assert read(aligned).tensors[0].start % 64 == 0


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, cut: int) -> None:
    with pytest.raises(Malformed):
        read(written(tmp_path)[:cut])


def test_a_very_long_header_is_not_walked() -> None:
    """The file is as large as it says, so that only the bounds stop the reader."""
    size = 2**40
    strings = made([pair("k", ARRAY, array(STRING, STEPS_MAX + 1))])
    watch = Watch(strings, size)
    with pytest.raises(TooLarge):
        read_gguf(watch, size)
    assert watch.read_bytes <= WINDOW_BYTES
    numbers = Watch(made([pair("k", ARRAY, array(U32, HEADER_BYTES_MAX))]), size)
    with pytest.raises(TooLarge):
        read_gguf(numbers, size)
    assert numbers.read_bytes <= WINDOW_BYTES


def test_no_more_than_a_window_is_ever_held(tmp_path: Path) -> None:
    watch = Watch(written(tmp_path))
    read_gguf(watch, watch.size_bytes)
    assert watch.largest <= WINDOW_BYTES


@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_mutations_end_in_an_answer(data: st.DataObject) -> None:
    """Any change of a valid file: read, or refused with a reason; never another error."""
    base = bytearray(
        made(
            [
                pair("general.architecture", STRING, text("llama")),
                pair("llama.context_length", U32, struct.pack("<I", 7)),
                pair("k", ARRAY, array(STRING, 2, text("a") + text("b"))),
            ],
            [tensor("a"), tensor("b", (2, 4), offset=32)],
            data=64,
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(base) - 1))
        base[at] = data.draw(st.integers(0, 255))
    mutated = bytes(base[: data.draw(st.integers(0, len(base)))])
    watch = Watch(mutated)
    try:
        header = read_gguf(watch, len(mutated))
    except (Malformed, TooLarge):
        return
    spans = sorted((t.start, t.stop) for t in header.tensors)
    assert all(stop <= len(mutated) for _, stop in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))


@given(junk=st.binary(max_size=300))
def test_junk_ends_in_an_answer(junk: bytes) -> None:
    for data in (junk, b"GGUF" + junk, made()[:24] + junk):
        try:
            read_gguf(Watch(data), len(data))
        except (Malformed, TooLarge):
            continue


def test_the_reader_takes_what_io_gives() -> None:
    """A short read is a truncated file, not an endless loop."""
    short = io.BytesIO(made())
    with pytest.raises(Malformed):
        read_gguf(lambda start, stop: short.getvalue()[start : min(stop, 30)], len(made()))
