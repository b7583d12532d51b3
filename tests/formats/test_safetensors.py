"""safetensors headers: the library's verdict on thousands of mutations, and bounded cost."""

from __future__ import annotations

import json
import random
import re
import struct
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from effort import sample
from headwater.errors import Malformed, TooLarge
from headwater.formats.safetensors import DTYPE_BITS, SafetensorsHeader, read_header


def file_of(header: str | bytes, data_bytes: int) -> bytes:
    raw = header if isinstance(header, bytes) else header.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(raw)) + raw + bytes(data_bytes)


def read(file: bytes, **limits: int) -> SafetensorsHeader:
    return read_header(lambda start, stop: file[start:stop], len(file), **limits)


def accepted(file: bytes) -> bool:
    try:
        read(file)
    except Malformed:
        return False
    return True


def accepted_by_library(file: bytes) -> bool:
    try:
        safetensors.deserialize(file)
    except safetensors.SafetensorError:
        return False
    return True


def has_duplicate_key(file: bytes) -> bool:
    """Of a file whose JSON is known to be legal."""
    found = False

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        found = found or len(dict(pairs)) < len(pairs)
        return dict(pairs)

    (n,) = struct.unpack("<Q", file[:8])
    json.loads(file[8 : 8 + n], object_pairs_hook=note)
    return found


def agree(file: bytes) -> bool | None:
    """Both verdicts, which must be equal but for duplicate keys."""
    theirs, ours = accepted_by_library(file), accepted(file)
    if theirs and has_duplicate_key(file):
        assert not ours, file[:400]
        return None
    assert ours == theirs, file[:400]
    return ours


shape = st.lists(st.integers(0, 5), max_size=3).map(tuple)
name = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(
    lambda text: text != "__metadata__"
)
dtypes = st.sampled_from([np.float32, np.float16, np.int64, np.int8, np.bool_, np.uint16])


@settings(deadline=None)
@given(
    st.dictionaries(name, st.tuples(shape, dtypes), max_size=6),
    st.none() | st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
)
def test_reads_what_the_library_writes(tensors, metadata) -> None:
    arrays = {key: np.ones(shape, dtype) for key, (shape, dtype) in tensors.items()}
    file = safetensors.numpy.save(arrays, metadata)
    if metadata == {} and not arrays:
        assert agree(file) is False  # the library writes `{},"__metadata__":{}}`
        return
    header = read(file)
    assert header.metadata == (metadata or {})
    assert {tensor.name for tensor in header.tensors} == set(arrays)
    for tensor in header.tensors:
        assert tensor.shape == arrays[tensor.name].shape
        assert file[tensor.start : tensor.stop] == arrays[tensor.name].tobytes()
    assert file[: header.header_bytes].endswith((b"}", b" "))


U8 = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'


def with_extra(extra: str) -> str:
    """One legal tensor with a field that readers ignore."""
    return '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":' + extra + "}}"


CASES: list[tuple[str | bytes, int]] = [
    # what the library accepts though it looks odd
    ("{}", 0), (" {} \n\t\r", 0), ('{"__metadata__":null}', 0), ('{"a":["U8",[1],[0,1]]}', 1),
    ('{"a":{"dtype":{"U8":null},"shape":[1],"data_offsets":[0,1]}}', 1),
    ('{"a":{"dtype":"U8","shape":[0,1099511627776],"data_offsets":[0,0]}}', 0),
    ('{"a":{"dtype":"U8","shape":[0,18446744073709551615,9],"data_offsets":[0,0]}}', 0),
    ('{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}', 1), ('{"":' + U8 + "}", 1),
    ('{"a\\u0000b":' + U8 + "}", 1), ('{"../../x":' + U8 + "}", 1), ('{"b-0":' + U8 + "}", 1),
    (with_extra("1e300"), 1), (with_extra("1" * 300), 1), (with_extra("-0"), 1),
    (with_extra('"\\ud83d\\ude00"'), 1), (with_extra("[" * 125 + "]" * 125), 1),
    # what it refuses
    (b"", 0), ("[]", 0), ("null", 0), ("{", 0), ("{}\0", 0), ("{}x", 0), ("\ufeff{}", 0),
    (b"\xff{}", 0), ("{}", 1), ('{"__metadata__":[]}', 0), ('{"__metadata__":{"a":1}}', 0),
    ('{"__metadata__":{"a":null}}', 0), ('{"a":null}', 0), ('{"a":{}}', 0), ('{"a":[]}', 0),
    ('{"a":["U8",[1],[0,1],0]}', 1), ('{"a":["U8",[1]]}', 1),
    ('{"a":{"dtype":{"U8":{}},"shape":[1],"data_offsets":[0,1]}}', 1),
    ('{"a":{"dtype":{"U8":null,"U8x":null},"shape":[1],"data_offsets":[0,1]}}', 1),
    ('{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}}', 1),
    ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}', 1),
    ('{"a":{"dtype":"U8","shape":[1],"data_offsets":{"0":0}}}', 1),
    ('{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}', 1),
    ('{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}', 1),
    ('{"a":{"dtype":"U8","shape":[true],"data_offsets":[0,1]}}', 1),
    ('{"a":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}}', 1),
    ('{"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}', 1),
    ('{"a":{"dtype":"U8","shape":1,"data_offsets":[0,1]}}', 1),
    ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[-0,1]}}', 1),
    ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}', 1),
    ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,18446744073709551616]}}', 1),
    ('{"a":{"dtype":"U8","shape":[1099511627776,1099511627776,0],"data_offsets":[0,0]}}', 0),
    ('{"a":{"dtype":"U8","shape":[0,18446744073709551616],"data_offsets":[0,0]}}', 0),
    ('{"a":{"dtype":"U64","shape":[4611686018427387904],"data_offsets":[0,0]}}', 0),
    ('{"a":{"dtype":"U64","shape":[2305843009213693952],"data_offsets":[0,0]}}', 0),
    ('{"a":' + U8 + ',"b":' + U8 + "}", 1), ('{"a":' + U8 + ',"b":' + U8 + "}", 2),
    ('{"a":' + U8.replace("[0,1]", "[1,2]") + "}", 2), ('{"a":' + U8 + "}", 2),
    ('{"a":' + U8 + "}", 0), ('{"a":' + U8 + ",}", 1), ('{"a":' + U8.replace("U8", "u8") + "}", 1),
    (with_extra("1e400"), 1), (with_extra("-1e400"), 1), (with_extra("1" * 400), 1),
    (with_extra("1" * 5000), 1), (with_extra("NaN"), 1), (with_extra("Infinity"), 1),
    (with_extra("-Infinity"), 1), (with_extra("01"), 1), (with_extra('"\\ud800"'), 1),
    (with_extra('"\\udc00"'), 1), (with_extra('{"\\ud800":1}'), 1), (with_extra('"\t"'), 1),
    (with_extra('["\\ud83d\\u0041"]'), 1), (with_extra("[" * 126 + "]" * 126), 1),
    (with_extra("[" * 5000 + "]" * 5000), 1), (with_extra("[" * 200_000), 1),
    ('{"a\\ud800":' + U8 + "}", 1), ('{"__metadata__":{"a":"\\udfff"}}', 0),
]  # fmt: skip


@pytest.mark.parametrize(("header", "data_bytes"), CASES)
def test_odd_headers_as_the_library_judges_them(header: str | bytes, data_bytes: int) -> None:
    assert agree(file_of(header, data_bytes)) is not None


@pytest.mark.parametrize("dtype", [*DTYPE_BITS, "C128", "I4", "f32", "F8", ""])
def test_dtypes_are_the_librarys(dtype: str) -> None:
    for bits in (4, 6, 8, 16, 32, 64, 128):
        tensor = {"dtype": dtype, "shape": [8], "data_offsets": [0, bits]}
        verdict = agree(file_of(json.dumps({"a": tensor}), bits))
        assert verdict == (DTYPE_BITS.get(dtype) == bits)


@pytest.mark.parametrize(
    "header",
    [
        '{"a":' + U8 + ',"a":' + U8 + "}",
        '{"a":' + U8 + ',"\\u0061":' + U8 + "}",
        '{"__metadata__":{"k":"v","k":"w"},"a":' + U8 + "}",
        '{"__metadata__":{},"__metadata__":{},"a":' + U8 + "}",
        '{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        with_extra('{"q":1,"q":1}'),
    ],
)
def test_a_key_twice_is_refused(header: str) -> None:
    """Where the library is lax (four of these six), two readers could see two models."""
    with pytest.raises(Malformed, match="twice"):
        read(file_of(header, 1))


INSERTS = [
    *(b",", b" ", b"0", b"-", b".5", b"e1", b'"', b"\\u00e9", b"\xff", b"\0"),
    *(b"NaN", b"}", b"[", b'"a":1,'),
]


def mutated(rng: random.Random) -> bytes:
    """A header of a few tensors, damaged in its structure, in its text or in its frame."""
    tensors: dict[str, Any] = {}
    at = 0
    for i in range(rng.randrange(4)):
        dtype = rng.choice(list(DTYPE_BITS))
        sides = [rng.choice([0, 1, 2, 4, 8]) for _ in range(rng.randrange(3))]
        size = int(np.prod(sides, dtype=object)) * DTYPE_BITS[dtype] // 8
        tensors[f"t{i}"] = {"dtype": dtype, "shape": sides, "data_offsets": [at, at + size]}
        at += size
    if rng.random() < 0.3:
        tensors["__metadata__"] = {"format": "pt"}
    if tensors and rng.random() < 0.3:
        odd = [-1, 0, 1, 2**63, 2**64, 1.0, True, None, "8", [], {}, [0], [[0, 1]], at, "F32"]
        field = rng.choice(["dtype", "shape", "data_offsets", "extra"])
        tensors[rng.choice(list(tensors))][field] = rng.choice(odd)
    text = json.dumps(tensors, separators=rng.choice([(",", ":"), (", ", " : ")]))
    raw = bytearray(text.encode())
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        where = rng.randrange(len(raw) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            raw[where:where] = rng.choice(INSERTS)
        elif kind == 1 and where < len(raw):
            raw[where] = rng.randrange(256)
        elif kind == 2:
            del raw[where : where + rng.randrange(1, 4)]
        elif kind == 3:
            stop = where + rng.randrange(1, 30)
            raw[where:where] = raw[where:stop]
        else:
            raw = bytearray(re.sub(rb"t1", b"t0", raw))
    file = bytearray(struct.pack("<Q", len(raw)) + raw + bytes(at))
    if rng.random() < 0.1:
        file += b"\0" * rng.randrange(1, 9)
    if rng.random() < 0.1:
        file = file[: rng.randrange(len(file) + 1)]
    if rng.random() < 0.05:
        file[:8] = struct.pack("<Q", rng.choice([0, 1, len(raw) + 1, 2**32, 2**63, 2**64 - 1]))
    return bytes(file)


def test_three_thousand_mutations_as_the_library_judges_them() -> None:
    """One seed, so a failure repeats; both verdicts must occur often, or it tests nothing."""
    rng = random.Random(20260101)
    verdicts = [agree(mutated(rng)) for _ in range(3000)]
    assert verdicts.count(True) > 600
    assert verdicts.count(False) > 600
    assert verdicts.count(None) > 5


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "header length: the file has 0 bytes"),
        (b"1234567", "header length: the file has 7 bytes"),
        (struct.pack("<Q", 0), "not JSON"),
        (struct.pack("<Q", 2**63), "limit is 100000000"),
        (struct.pack("<Q", 100_000_001) + bytes(9), "limit is 100000000"),
        (struct.pack("<Q", 9) + b"{}", "header length 9 in a file of 10 bytes"),
        (file_of('{"a":' + U8 + "}", 3), "tensors end at byte"),
        (file_of('{"\\n":' + U8.replace("U8", "Q") + "}", 1), r"'\\n': dtype 'Q' is unknown"),
    ],
)
def test_reasons_are_said(file: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        read(file)


def test_a_long_header_is_left_for_later() -> None:
    """It may be legal, so it is not called malformed; nothing of it is read."""
    asked = []

    def read_some(start: int, stop: int) -> bytes:
        asked.append(stop - start)
        return struct.pack("<Q", 30_000_000)

    with pytest.raises(TooLarge, match="header length 30000000"):
        read_header(read_some, 2**40)
    assert asked == [8]
    with pytest.raises(TooLarge):
        read(file_of("{}" + " " * 99, 0), header_bytes_max=50)


def test_hostile_headers_are_bounded(measured) -> None:
    """Many tensors, long names, deep or wide ignored fields: linear in the header's bytes."""
    many = ",".join(
        f'"{i:x}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for i in range(20_000)
    )
    for header in sample(
        (
            "{" + many + "}",
            '{"' + "n" * 1_000_000 + '":' + U8 + "}",
            with_extra("[" + "[]," * 150_000 + "0]"),
            with_extra("[" * 300_000 + "]" * 300_000),
            with_extra('"' + "\\ud83d\\ude00" * 60_000 + '"'),
            '{"a":{"dtype":"U8","shape":[' + "1," * 150_000 + '1],"data_offsets":[0,1]}}',
            '{"a":{"dtype":"U8","shape":[' + "9" * 600_000 + '],"data_offsets":[0,1]}}',
            "{" + '"a":{' * 150_000,
        )
    ):
        file = file_of(header, 0 if "[0,0]" in header else 1)
        with measured() as cost:
            accepted(file)
        assert cost.cpu_s < 1
        with measured(memory=True) as cost:
            accepted(file)
        assert cost.peak_bytes < 60 * len(file)


def test_a_wide_shape_does_not_multiply_without_bound(measured) -> None:
    """Products stop at 64 bits: a million sides of two are refused at the 64th."""
    header = '{"a":{"dtype":"U8","shape":[' + "2," * 1_000_000 + '0],"data_offsets":[0,0]}}'
    with measured() as cost, pytest.raises(Malformed, match="overflows"):
        read(file_of(header, 0))
    assert cost.cpu_s < 1
