"""Spans: what the libraries write is found to the byte; what is hostile has none, and ends soon."""

from __future__ import annotations

import json
import random
import struct
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import weights as kit
from effort import examples
from headwater.errors import Malformed
from headwater.formats.safetensors import DTYPE_BITS
from headwater.formats.span import BLOCK_BYTES, NAME_BYTES_MAX, SPANS_MAX, Span, bytes_of
from headwater.formats.spans import READ_BYTES_MAX, SAFETENSORS_HEADER_BYTES_MAX, spans
from headwater.formats.torch_pickle import storages
from headwater.formats.zip_members import DIRECTORY_BYTES_MAX

NUMPY = {
    "F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1",
    "U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
ONNX = {
    "F32": 1, "U8": 2, "I8": 3, "U16": 4, "I16": 5, "I32": 6, "I64": 7, "BOOL": 9, "F16": 10,
    "F64": 11, "U32": 12, "U64": 13, "BF16": 16, "F8_E4M3": 17, "F8_E5M2": 19,
}  # fmt: skip
TORCH = {
    "F32": "FloatStorage", "F64": "DoubleStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage",
    "I64": "LongStorage", "I32": "IntStorage", "I16": "ShortStorage", "I8": "CharStorage",
    "U8": "ByteStorage", "BOOL": "BoolStorage",
}  # fmt: skip


def checked(found: list[Span], size_bytes: int) -> list[Span]:
    """The promises that hold for every file, whatever it is."""
    assert all(span.start < span.stop for span in found)
    assert all(a.stop <= b.start for a, b in pairwise(found))
    assert not found or (found[0].start >= 0 and found[-1].stop <= size_bytes)
    assert all(bytes_of(span.dtype, span.shape) == span.stop - span.start for span in found)
    assert all(len(span.name.encode()) <= NAME_BYTES_MAX for span in found)
    assert len(found) <= SPANS_MAX
    return found


def found_in(data: bytes) -> list[Span]:
    def read(start: int, stop: int) -> bytes:
        assert 0 <= start <= stop <= len(data), "nothing is read outside the file"
        return data[start:stop]

    return checked(spans(read, len(data)), len(data))


def held(data: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {s.name: (s.dtype, s.shape, data[s.start : s.stop]) for s in found_in(data)}


@st.composite
def arrays(draw: st.DrawFn, dtypes: list[str]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Named tensors with bytes of their own, none of them empty."""
    names = draw(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
                          unique=True, max_size=6))  # fmt: skip
    made = {}
    for name in names:
        dtype = draw(st.sampled_from(dtypes))
        shape = tuple(draw(st.lists(st.integers(1, 5), max_size=4)))
        size = int(np.prod(shape, dtype=int)) * DTYPE_BITS[dtype] // 8
        made[name] = (dtype, shape, draw(st.binary(min_size=size, max_size=size)))
    return made


# --- what the libraries write ----------------------------------------------------------------


@given(tensors=arrays(list(NUMPY)))
def test_safetensors_of_the_library(tensors: dict[str, Any]) -> None:
    tensors.pop("__metadata__", None)
    data = safetensors.numpy.save(
        {n: np.frombuffer(raw, NUMPY[d]).reshape(s) for n, (d, s, raw) in tensors.items()}
    )
    got = {n: (d, s, np.frombuffer(r, NUMPY[d]).tobytes()) for n, (d, s, r) in held(data).items()}
    assert got == tensors
    assert sum(span.stop - span.start for span in found_in(data)) == sum(
        len(raw) for _, _, raw in tensors.values()
    )


def test_an_empty_tensor_has_no_span() -> None:
    data = safetensors.numpy.save({"none": np.zeros((0, 3), "f4"), "some": np.zeros(2, "f4")})
    assert [span.name for span in found_in(data)] == ["some"]


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_gguf_of_the_library(tmp_path: Path, kind: str) -> None:
    values = np.random.default_rng(0).normal(0, 1, (6, 64)).astype(np.float32)
    type_ = gguf.GGMLQuantizationType[kind]
    coded = gguf.quants.quantize(values, type_)
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list([f"token{i}" for i in range(100)])
    writer.add_tensor("blk.0.weight", coded, raw_dtype=type_)
    writer.add_tensor("norm.weight", values[0])
    writer.add_tensor("half.weight", values[:2].astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert (
        held(path.read_bytes())
        == {
            "blk.0.weight": (
                kind,
                (6, 64),
                coded.tobytes(),
            ),  # slowest side first, as in safetensors
            "norm.weight": ("F32", (64,), values[0].tobytes()),
            "half.weight": ("F16", (2, 64), values[:2].astype(np.float16).tobytes()),
        }
    )


def test_gguf_of_the_other_byte_order_is_bytes_and_nothing_more(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", endianess=gguf.GGUFEndian.BIG)
    writer.add_tensor("w", np.ones(8, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    data = (tmp_path / "m.gguf").read_bytes()
    assert held(data) == {"w": ("U8", (32,), np.ones(8, ">f4").tobytes())}


def test_block_types_are_those_of_the_library() -> None:
    for name, sizes in BLOCK_BYTES.items():
        if name != "Q8_1":  # no file holds it: the package counts it otherwise than the loader
            assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]] == sizes
    assert "F32" not in BLOCK_BYTES
    assert bytes_of("Q4_K", (3, 256)) == 3 * 144
    assert bytes_of("Q4_K", (256, 3)) is None
    assert bytes_of("unheard of", (1,)) is None


# --- what is made by hand --------------------------------------------------------------------


@given(tensors=arrays(list(ONNX)), packed=st.booleans())
def test_onnx(tensors: dict[str, Any], packed: bool) -> None:
    parts = [
        kit.initializer(name, ONNX[dtype], shape, raw, packed=packed)
        for name, (dtype, shape, raw) in tensors.items()
    ]
    assert held(kit.onnx_model(*parts)) == tensors


def test_onnx_keeps_floats_in_two_places() -> None:
    raw = np.arange(6, dtype="f4").tobytes()
    floats = kit.number(1, 6) + kit.number(2, 1) + kit.block(4, raw) + kit.block(8, b"floats")
    doubles = kit.number(1, 3) + kit.number(2, 11) + kit.block(8, b"doubles") + kit.block(10, raw)
    whole = kit.number(1, 3) + kit.number(2, 7) + kit.block(7, b"\x01\x02\x03") + kit.block(8, b"n")
    assert held(kit.onnx_model(floats, doubles, whole)) == {
        "floats": ("F32", (6,), raw),
        "doubles": ("F64", (3,), raw),
    }


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (kit.initializer("w", 1, (3,), b"12345678"), ("U8", (8,), b"12345678")),
        (kit.initializer("w", 8, (2,), b"12345678"), ("U8", (8,), b"12345678")),
        (kit.initializer("w", 22, (4,), b"12"), ("U8", (2,), b"12")),
        (kit.initializer("w", 1, (2**63, 2**63), b"1234"), ("U8", (4,), b"1234")),
        (kit.initializer("w", 1, (), b"1234"), ("F32", (), b"1234")),
        (kit.initializer("w", 1, (1,), b"1234", extra=kit.block(13, b"where")), None),
        (kit.initializer("w", 1, (1,), b"1234", extra=kit.number(14, 1)), None),
        (kit.initializer("w", 1, (0,), b""), None),
    ],
    ids=["not its size", "texts", "four bits", "sides that overflow", "no side", "external",
         "external by its place", "empty"],
)  # fmt: skip
def test_onnx_tensors_that_are_not_as_usual(tensor: bytes, expected: Any) -> None:
    assert held(kit.onnx_model(tensor)).get("w") == expected


@given(tensors=arrays(list(TORCH)), nested=st.booleans(), as_parameter=st.booleans())
def test_torch(tensors: dict[str, Any], nested: bool, as_parameter: bool) -> None:
    items = {}
    for key, (name, (dtype, shape, raw)) in enumerate(tensors.items()):
        elements = len(raw) * 8 // DTYPE_BITS[dtype]
        items[name] = kit.tensor(TORCH[dtype], str(key), elements, shape)
        items[name] = kit.parameter(items[name]) if as_parameter else items[name]
    value = kit.mapping(items)
    value = kit.mapping({"epoch": kit.whole(3), "model": value}) if nested else value
    raws = {str(key): raw for key, (_, _, raw) in enumerate(tensors.values())}
    data = kit.torch_zip(kit.pickled(value), raws)
    prefix = "model." if nested else ""
    inside = {"_parameters", "_buffers", "_modules"}
    expected = {prefix + n: t for n, t in tensors.items() if n not in inside}
    assert held(data) == expected


RAW = np.arange(6, dtype="f4").tobytes()


def torch_of(value: bytes, **kind: Any) -> dict[str, Any]:
    return held(kit.torch_zip(kit.pickled(value), {"0": RAW}, **kind))


def test_torch_says_what_it_can_of_a_storage() -> None:
    part = kit.tensor("FloatStorage", "0", 6, (2,), offset=2)
    turned = kit.tensor("FloatStorage", "0", 6, (2, 3), steps=(1, 2))
    full = kit.tensor("FloatStorage", "0", 6, (2, 3))
    assert torch_of(kit.mapping({"p": part})) == {"p": ("F32", (6,), RAW)}
    assert torch_of(kit.mapping({"t": turned})) == {"t": ("F32", (6,), RAW)}
    both = kit.mapping({"p": part, "f": full, "again": full})
    assert torch_of(both) == {"f": ("F32", (2, 3), RAW)}, "who covers it all gives it its name"
    assert torch_of(b"]" + full + b"a" + full + b"a") == {"0": ("F32", (2, 3), RAW)}
    young = kit.tensor("UntypedStorage", "0", 24, (4, 6), young="float8_e4m3fn")
    assert torch_of(kit.mapping({"y": young})) == {"y": ("F8_E4M3", (4, 6), RAW)}


def test_torch_s_modules_are_named_as_their_state_dict() -> None:
    weight = kit.parameter(kit.tensor("FloatStorage", "0", 6, (2, 3)))
    inner = b"c__main__\nInner\n)\x81" + kit.mapping({"_parameters": kit.mapping({"w": weight})})
    outer = b"c__main__\nOuter\n)\x81" + kit.mapping(
        {"_modules": kit.mapping({"fc": inner + b"b"})}
    )
    assert torch_of(outer + b"b") == {"fc.w": ("F32", (2, 3), RAW)}


NAMELESS = {"data/0": ("U8", (24,), RAW)}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"N",
        b"garbage",
        b"}" * 1_000,
        kit.tensor("FloatStorage", "1", 6, (2, 3)),
        kit.tensor("FloatStorage", "0", 7, (7,)),
        kit.tensor("FloatStorage", "0", 6, (2, 3)).replace(b"_rebuild", b"_demolish"),
        kit.tensor("FloatStorage", "0", 6, (2, 3)).replace(b"tQ", b"t0"),
        kit.tensor("NoStorage", "0", 6, (2, 3)),
    ],
)
def test_a_torch_pickle_that_says_nothing_leaves_the_bytes(value: bytes) -> None:
    (found,) = torch_of(value).values()
    assert found == NAMELESS["data/0"]


def test_a_name_that_cannot_be_written_is_not_taken() -> None:
    full = kit.tensor("FloatStorage", "0", 6, (2, 3))
    for name in ("\ud800", "x" * (NAME_BYTES_MAX + 1), ""):
        assert set(torch_of(kit.mapping({name: full}))) == {"data/0"}
    number = b"\x8b" + struct.pack("<I", 3_000) + b"\x7f" * 3_000  # of 7,000 digits
    assert set(torch_of(b"}(" + number + full + b"u")) == {"data/0"}


def test_torch_of_the_other_byte_order_is_bytes_and_nothing_more() -> None:
    full = kit.mapping({"w": kit.tensor("FloatStorage", "0", 6, (2, 3))})
    assert torch_of(full, order=b"big") == NAMELESS


def test_only_what_lies_there_as_it_is_counts() -> None:
    full = kit.mapping({"w": kit.tensor("FloatStorage", "0", 6, (2, 3))})
    assert torch_of(full, method=zipfile.ZIP_DEFLATED) == {}


# --- what is wrong ---------------------------------------------------------------------------


def a_safetensors() -> bytes:
    return safetensors.numpy.save({"a": np.ones((2, 3), "f4"), "b": np.ones(5, "i2")})


def a_gguf() -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, 2, 1)
    head += struct.pack("<Q", 1) + b"k" + struct.pack("<II", 4, 7)
    for name, offset in ((b"a", 0), (b"b", 32)):
        head += struct.pack("<Q", 1) + name + struct.pack("<IQIQ", 1, 8, 0, offset)
    return head + bytes(-len(head) % 32) + bytes(64)


def an_onnx() -> bytes:
    return kit.onnx_model(
        kit.initializer("a", 1, (2, 3), RAW), kit.initializer("b", 3, (5,), b"bytes", packed=True)
    )


def a_torch() -> bytes:
    items = {n: kit.tensor("FloatStorage", k, 6, (2, 3)) for n, k in (("a", "0"), ("b", "1"))}
    return kit.torch_zip(kit.pickled(kit.mapping(items)), {"0": RAW, "1": RAW[::-1]})


KINDS: dict[str, Callable[[], bytes]] = {
    "safetensors": a_safetensors, "gguf": a_gguf, "onnx": an_onnx, "torch": a_torch,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_has_no_span_past_its_end(kind: str) -> None:
    data = KINDS[kind]()
    assert [span.name for span in found_in(data)] == ["a", "b"]
    whole = held(data)
    for length in range(len(data)):
        # Of a protobuf, what is left of it may be a message by itself; of the others, never.
        rest = held(data[:length])
        assert rest in ({}, whole) if kind == "onnx" else rest == {}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_a_damaged_file_ends_in_an_answer(kind: str, seed: int) -> None:
    draw = random.Random(seed)
    data = bytearray(KINDS[kind]())
    for _ in range(draw.randint(1, 5)):
        at = draw.randrange(len(data))
        match draw.randrange(4):
            case 0:
                data[at] = draw.randrange(256)
            case 1:
                data[at : at + 4] = draw.randbytes(draw.randint(0, 8))
            case 2:
                data[at:at] = data[draw.randrange(len(data)) :][:40]
            case _:
                data[at : at + 1] = draw.choice((b"\xff", b"\x7f", b"\x80", b"\0")) * 2
    found_in(bytes(data))


@pytest.mark.parametrize("kind", KINDS)
def test_each_byte_changed_ends_in_an_answer(kind: str) -> None:
    data = KINDS[kind]()
    for at in range(len(data)):
        for value in (0, 0x7F, 0x80, 0xFF, data[at] ^ 1):
            found_in(data[:at] + bytes([value]) + data[at + 1 :])


@given(junk=st.binary(max_size=400))
def test_junk_ends_in_an_answer(junk: bytes) -> None:
    for data in (junk, b"GGUF\3\0\0\0" + junk, b"PK\3\4" + junk, b"\x08\x0a\x3a" + junk):
        found_in(data)
    found_in(struct.pack("<Q", len(junk)) + junk)
    found_in(kit.torch_zip(junk, {"0": RAW}))
    assert isinstance(storages(junk), dict)


def safetensors_of(header: object, data: bytes) -> bytes:
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def f32(start: int, stop: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": [(stop - start) // 4], "data_offsets": [start, stop]}


def moved(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) >= 1
    return data.replace(old, new)


def directory_entry(data: bytes, member: bytes) -> int:
    """Where the directory's entry for a member begins."""
    return data.rindex(member) - 46


def with_field(data: bytes, at: int, code: str, value: int) -> bytes:
    packed = struct.pack(code, value)
    return data[:at] + packed + data[at + len(packed) :]


def overlapping_zip() -> bytes:
    """Two entries of the directory that share a member's bytes, by a header inside the other."""
    inner = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 8, 8, 14, 0) + b"archive/data/1"
    data = kit.torch_zip(kit.pickled(b"N"), {"0": inner + b"abcdefgh", "1": b"12345678"})
    return with_field(data, directory_entry(data, b"archive/data/1") + 42, "<I", data.index(inner))


HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "one byte": lambda: b"P",
    "a text": lambda: b"The quick brown fox jumps over the lazy dog" * 10,
    "zeros": lambda: bytes(1_000),
    "safetensors that overlap": lambda: safetensors_of(
        {"a": f32(0, 8), "b": f32(4, 12)}, bytes(12)
    ),
    "safetensors with a hole": lambda: safetensors_of({"a": f32(0, 4), "b": f32(8, 12)}, bytes(12)),
    "a safetensors of a very long name": lambda: safetensors_of({"a" * 2_000: f32(0, 8)}, bytes(8)),
    "a safetensors nested deep": lambda: struct.pack("<Q", 10**5) + b"[" * 10**5,
    "gguf that overlap": lambda: moved(a_gguf(), struct.pack("<IQ", 0, 32), bytes(12)),
    "gguf of 2^63 tensors": lambda: b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0) + bytes(99),
    "an onnx without a version": lambda: an_onnx()[2:],
    "an onnx of groups": lambda: kit.number(1, 10) + b"\x3b" * 100,
    "an onnx nested past its end": lambda: kit.number(1, 10)
    + kit.block(7, bytes(20), says=2**63),
    "an onnx tensor past its graph": lambda: kit.number(1, 10)
    + kit.block(7, kit.block(5, b"", says=40))
    + bytes(60),
    "onnx sides past their field": lambda: kit.onnx_model(b"\x0a\x01\x80\x80\x01" + bytes(9)),
    "an onnx number of eleven bytes": lambda: b"\x08" + b"\x80" * 10 + b"\x01" + an_onnx(),
    "an onnx number of 65 bits": lambda: b"\x08" + b"\xff" * 9 + b"\x02" + an_onnx(),
    "an onnx field of number 0": lambda: kit.number(1, 10) + b"\x00\x00" + an_onnx()[2:],
    "an onnx tensor of 65 sides": lambda: kit.onnx_model(
        kit.initializer("w", 1, [1] * 65, b"1234")
    ),
    "an onnx name of a megabyte": lambda: kit.onnx_model(
        kit.initializer("w" * 2**20, 1, [1], b"1234")
    ),
    "an onnx name that is no text": lambda: moved(an_onnx(), kit.block(8, b"a"), b"\x42\x01\xff"),
    "an archive of no model": lambda: moved(a_torch(), b"data.pkl", b"data.txt"),
    "two members of one name": lambda: moved(a_torch(), b"archive/data/1", b"archive/data/0"),
    "members that overlap": overlapping_zip,
    "a comment with an end in it": lambda: with_field(a_torch(), len(a_torch()) - 2, "<H", 22)
    + b"PK\5\6".ljust(22, b"\1"),
    "an archive with bytes behind it": lambda: a_torch() + b"x",
    "an archive with bytes before it": lambda: b"PK\3\4" + a_torch(),
    "an archive of 65,535 members": lambda: moved(
        a_torch(), struct.pack("<HH", 5, 5), b"\xff\xff\xff\xff"
    ),
    "a directory past the end": lambda: with_field(a_torch(), len(a_torch()) - 6, "<I", 2**31),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_has_no_spans(name: str) -> None:
    assert found_in(HOSTILE[name]()) == []


@pytest.mark.parametrize(
    ("field", "code", "value"),
    [(20, "<I", 23), (24, "<I", 25), (42, "<I", 2**31), (42, "<I", 1), (42, "<I", 2**32 - 1),
     (24, "<I", 2**32 - 1), (34, "<H", 7), (28, "<H", 13), (28, "<H", 60_000), (30, "<H", 9)],
)  # fmt: skip
def test_an_entry_that_contradicts_the_archive(field: int, code: str, value: int) -> None:
    data = a_torch()
    at = directory_entry(data, b"archive/data/1") + field
    assert found_in(with_field(data, at, code, value)) == []


def test_an_archive_of_64_bits() -> None:
    """Sizes, places and counts all in the wide fields, as torch writes what is over 4 GiB."""
    data = a_torch()
    end = data.rindex(b"PK\5\6")
    count, _, start = struct.unpack_from("<HII", data, end + 10)
    made = bytearray(data[:start])
    at = start
    for _ in range(count):
        fields = bytearray(data[at : at + 46])
        packed, plain, name_bytes = struct.unpack_from("<IIH", fields, 20)
        (place,) = struct.unpack_from("<I", fields, 42)
        struct.pack_into("<IIHH", fields, 20, 2**32 - 1, 2**32 - 1, name_bytes, 32)
        struct.pack_into("<I", fields, 42, 2**32 - 1)
        wide = struct.pack("<HHQQQ", 1, 24, plain, packed, place)
        made += fields + data[at + 46 : at + 46 + name_bytes] + b"\xfe\xca\0\0" + wide
        at += 46 + name_bytes
    end64 = len(made)
    wide_length = end64 - start
    made += struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, wide_length, start)
    made += struct.pack("<4sLQL", b"PK\6\7", 0, end64, 1)
    made += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65_535, 65_535, 2**32 - 1, 2**32 - 1, 0)
    assert held(bytes(made)) == held(data)
    for cut in range(end64, len(made)):
        assert found_in(bytes(made[:cut])) == []


# --- cost ------------------------------------------------------------------------------------


class Vast:
    """A file of any size: `head`, then a pattern that is the same at every place."""

    def __init__(self, head: bytes, size_bytes: int, pattern: bytes = b"\0") -> None:
        self.head, self.size_bytes, self.pattern = head, size_bytes, pattern
        self.read_bytes = 0

    def __call__(self, start: int, stop: int) -> bytes:
        self.read_bytes += stop - start
        assert self.read_bytes <= READ_BYTES_MAX
        if stop <= len(self.head):
            return self.head[start:stop]
        shift = max(0, start - len(self.head)) % len(self.pattern)
        count = (stop - start) // len(self.pattern) + 2
        body = (self.pattern * count)[shift : shift + stop - start]
        return (self.head[start:] + body)[: stop - start] if start < len(self.head) else body


GRAPH = kit.number(1, 10) + b"\x3a" + kit.varint(2**40 - 9)  # to the file's very end
SPARSE = kit.block(1, bytes(8_000))  # a node each, as far apart as a window
VAST: dict[str, Callable[[], Vast]] = {
    "a terabyte of small fields": lambda: Vast(GRAPH, 2**40, kit.block(1, b"")),
    "a terabyte of fields far apart": lambda: Vast(GRAPH, 2**40, SPARSE),
    "a terabyte of tensors": lambda: Vast(
        GRAPH, 2**40, kit.block(5, kit.initializer("w", 1, (1,), b"1234"))
    ),
    "a terabyte of sides": lambda: Vast(
        GRAPH, 2**40, kit.block(5, kit.block(1, (b"\xff" * 9 + b"\x01") * 60))
    ),
    "a terabyte of names": lambda: Vast(
        GRAPH + b"\x2a" + kit.varint(2**40 - 16), 2**40, kit.block(8, b"n" * NAME_BYTES_MAX)
    ),
    "a header of 99 megabytes": lambda: Vast(struct.pack("<Q", 99_000_000) + b"{", 2**40, b"[],"),
    "a header of eight megabytes": lambda: Vast(
        struct.pack("<Q", SAFETENSORS_HEADER_BYTES_MAX) + b'{"a":[', 2**40, b"[],"
    ),
    "a header that is one number": lambda: Vast(
        struct.pack("<Q", SAFETENSORS_HEADER_BYTES_MAX) + b'{"a":', 2**40, b"1"
    ),
    "an archive of a terabyte": lambda: Vast(b"PK\3\4", 2**40, b"PK\5\6" + bytes(18)),
}


# How far into them the limits let the walk come: none ends by being refused at its first bytes.
WALKED_BYTES_MIN = {
    "a terabyte of small fields": 1_000_000,
    "a terabyte of fields far apart": 200_000_000,
    "a terabyte of tensors": 900_000,
    "a terabyte of sides": 8_000_000,
    "a terabyte of names": 200_000_000,
    "a header of eight megabytes": 8_000_000,
    "a header that is one number": 8_000_000,
}


@pytest.mark.parametrize("name", VAST)
def test_a_vast_file_costs_little(name: str, measured: Any) -> None:
    vast = VAST[name]()
    with measured() as cost:
        assert spans(vast, vast.size_bytes) == []
    assert WALKED_BYTES_MIN.get(name, 0) <= vast.read_bytes <= READ_BYTES_MAX
    assert cost.cpu_s < 10  # about 2 on a quiet machine


def zip_of_many(count: int, *, same: bool) -> bytes:
    """A directory of `count` members, all of which are one or which lie side by side."""
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 4, 4, 6, 0)
    body, directory = bytearray(), bytearray()
    for index in range(count):
        name = b"a/%04x" % index
        place = 0 if same else len(body)
        if not (same and body):
            body += local + name + b"data"
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 4, 4, 6, 0, 0, 0, 0, 0, place
        )
        directory += name
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory) + end


@pytest.mark.parametrize("same", [True, False])
def test_an_archive_of_tens_of_thousands_of_members(same: bool, measured: Any) -> None:
    data = zip_of_many(60_000, same=same)
    with measured() as cost:
        assert found_in(data) == []
    assert cost.cpu_s < 5


def test_a_directory_over_the_limit_is_not_read() -> None:
    length = DIRECTORY_BYTES_MAX + 1
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, length, 0, 0)
    data = b"PK\3\4" + bytes(length) + end
    reads: list[int] = []

    def read(start: int, stop: int) -> bytes:
        reads.append(stop - start)
        return data[start:stop]

    assert spans(read, len(data)) == []
    assert sum(reads) < 100_000


BIG = kit.tensor("FloatStorage", "0", 6, [1] * 64)
PICKLES: dict[str, Callable[[], bytes]] = {
    "tuples of tuples": lambda: b"N" + b"q\0h\0\x86" * 130_000 + b".",
    "one long name on the way to many": lambda: b"}" + kit.text("n" * 1_000)
    + b"](" + b"}q\1" + b"h\1" * 300_000 + b"es.",
    "a name of megabytes": lambda: b"}" + kit.text("n" * 7_000_000) + BIG + b"s.",
    "marks": lambda: b"(" * 390_000 + b"t" * 390_000,
    "a number of megabytes": lambda: b"\x8b" + struct.pack("<I", 7_000_000) + b"\x7f" * 7_000_000,
    "tensors again and again": lambda: BIG * 10_000 + b".",
    "rebuilt from the memo": lambda: b"ctorch._utils\n_rebuild_tensor_v2\nq\0"
    + BIG.split(b"\n", 2)[2][:-1] + b"q\1" + b"h\0h\1R0" * 90_000 + b".",
    "lists in lists": lambda: b"]" * 190_000 + b"a" * 189_000 + b".",
}  # fmt: skip


@pytest.mark.parametrize("name", PICKLES)
def test_a_hostile_pickle_costs_little(name: str, measured: Any) -> None:
    data = kit.torch_zip(PICKLES[name](), {"0": RAW})
    with measured() as cost:
        (span,) = found_in(data)
    assert data[span.start : span.stop] == RAW
    assert cost.cpu_s < 10  # about 2 on a quiet machine


def test_memory_stays_within_bounds(measured: Any) -> None:
    vast = VAST["a header of eight megabytes"]()
    with measured(memory=True) as cost:
        spans(vast, vast.size_bytes)
    assert cost.peak_bytes < 256 * 2**20  # the greediest of them all: 8 MiB of empty lists


# --- the reader ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [OSError("the disk"), ValueError("odd"), KeyError("no")])
def test_what_the_reader_raises_comes_through(kind: str, error: Exception) -> None:
    """From any of its calls: a disk that fails is never taken for a file without tensors."""
    data = KINDS[kind]()
    calls = 0

    def counted(start: int, stop: int) -> bytes:
        nonlocal calls
        calls += 1
        return data[start:stop]

    spans(counted, len(data))
    for fails_at in range(calls):
        left = fails_at

        def failing(start: int, stop: int) -> bytes:
            nonlocal left
            left -= 1
            if left < 0:
                raise error
            return data[start:stop]

        with pytest.raises(type(error)):
            spans(failing, len(data))


def test_even_a_malformed_of_the_reader_comes_through() -> None:
    def failing(start: int, stop: int) -> bytes:
        raise Malformed("not the file's fault")

    with pytest.raises(Malformed):
        spans(failing, 100)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_that_gives_less_finds_nothing(kind: str) -> None:
    data = KINDS[kind]()
    assert spans(lambda start, stop: data[start : stop - 1], len(data)) == []
