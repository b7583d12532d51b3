"""Xorbs: any chunks go in and come out, the client's own are read, hostile ones cost little."""

from __future__ import annotations

from contextlib import suppress

import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import Malformed
from headwater.formats import xorb as xorb_module
from headwater.formats.xet_hash import chunk_hash, xorb_hash
from headwater.formats.xorb import (
    CHUNK_RAW_BYTES_MAX,
    FOOTER_BYTES_MAX,
    XORB_CHUNKS_MAX,
    Record,
    RecordParser,
    decode_chunk,
    encode_chunk,
    record_header,
)


def parse(data: bytes, piece_bytes: int = 1 << 20) -> list[Record]:
    parser, records = RecordParser(), []
    for at in range(0, len(data), piece_bytes):
        records += parser.feed(memoryview(data)[at : at + piece_bytes])
    parser.finish()
    return records


def stored(*chunks: bytes) -> bytes:
    """Records of scheme 0."""
    return b"".join(record_header(len(chunk), 0, len(chunk)) + chunk for chunk in chunks)


def bg4(data: bytes) -> bytes:
    """The grouping as the protocol words it, a byte at a time."""
    return b"".join(bytes(data[i] for i in range(first, len(data), 4)) for first in range(4))


chunk_bytes = st.one_of(
    st.binary(min_size=1, max_size=600),
    st.builds(lambda unit, n: (unit * n)[:CHUNK_RAW_BYTES_MAX], st.binary(min_size=1, max_size=9),
              st.integers(1, 20_000)),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(chunk_bytes, min_size=1, max_size=8), st.integers(1, 5000), st.binary(max_size=99))
def test_what_goes_in_comes_out(chunks: list[bytes], piece_bytes: int, footer: bytes) -> None:
    """Whatever the chunks, the pieces they arrive in, and the footer after them."""
    data = b"".join(encode_chunk(chunk) for chunk in chunks)
    records = parse(data, piece_bytes)
    assert [record.decode() for record in records] == chunks
    assert b"".join(record.record for record in records) == data
    assert parse(data + b"XETBLOB\x01" + footer, piece_bytes) == records


@given(chunk_bytes)
def test_every_scheme_decodes(data: bytes) -> None:
    """Also when it does not shrink, and for every length modulo four."""
    assert decode_chunk(0, data, len(data)) == data
    assert decode_chunk(1, lz4.frame.compress(data), len(data)) == data
    assert decode_chunk(2, lz4.frame.compress(bg4(data)), len(data)) == data
    assert decode_chunk(2, lz4.frame.compress(bg4(data), block_linked=False), len(data)) == data


def test_the_smallest_scheme_is_taken(weights: bytes) -> None:
    schemes = [
        parse(encode_chunk(data))[0].scheme for data in (b"abc", b"a" * 999, weights[:65536])
    ]
    assert schemes == [0, 1, 2]
    assert all(len(encode_chunk(data)) <= 8 + len(data) for data in (b"x", bytes(range(256))))


def test_reads_what_the_client_writes(reference_store) -> None:
    """Every scheme and a footer; the xorb's name follows from its chunks, the files' bytes too."""
    (name, data), *others = reference_store.xorbs.items()
    assert not others
    records = parse(data)
    assert {record.scheme for record in records} == {0, 1, 2}
    chunks = [record.decode() for record in records]
    assert xorb_hash(list(map(chunk_hash, chunks)), list(map(len, chunks))) == name
    whole = b"".join(chunks)
    assert all(file in whole for file in reference_store.files.values())


def test_our_records_are_no_larger_than_the_clients(reference_store) -> None:
    (data,) = reference_store.xorbs.values()
    theirs = parse(data)
    ours = [encode_chunk(record.decode()) for record in theirs]
    assert sum(map(len, ours)) <= 1.01 * sum(len(record.record) for record in theirs)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "without a chunk"),
        (b"XETBLOB\x01" + bytes(100), "without a chunk"),
        (b"\x00", "inside chunk 0"),
        (stored(b"abc") + b"XETBLO", "inside chunk 1"),
        (stored(b"abc")[:-1], "inside chunk 0"),
        (stored(b"abc") + stored(b"abc")[:8], "inside chunk 1"),
        (b"\x01" + stored(b"abc")[1:], "version 1"),
        (b"XETBLUB\x01", "version 88"),
        (record_header(3, 3, 3) + b"abc", "scheme 3"),
        (record_header(3, 0, 4) + b"abc", "stored as they are"),
        (record_header(0, 1, 4), "payload of 0 bytes"),
        (record_header(3, 1, 0) + b"abc", "0 raw bytes"),
        (record_header(3, 1, CHUNK_RAW_BYTES_MAX + 1) + b"abc", "131073 raw bytes"),
        (record_header(2 * CHUNK_RAW_BYTES_MAX + 1, 1, 9), "payload of 262145 bytes"),
        (stored(b"a") * (XORB_CHUNKS_MAX + 1), "more than 8192 chunks"),
        (stored(b"a") + b"XETBLOB" + bytes(FOOTER_BYTES_MAX + 1), "footer of more than"),
    ],
)
@pytest.mark.parametrize("piece_bytes", [1 << 20, 7])
def test_refused(data: bytes, reason: str, piece_bytes: int) -> None:
    if len(data) > 10_000:
        piece_bytes = 1 << 16
    with pytest.raises(Malformed, match=reason):
        parse(data, piece_bytes)


def test_raw_and_serialized_totals_are_bounded() -> None:
    full = stored(bytes(CHUNK_RAW_BYTES_MAX))
    parser = RecordParser()
    for _ in range(512):
        parser.feed(full)
    assert parser.raw_bytes == xorb_module.XORB_RAW_BYTES_MAX
    with pytest.raises(Malformed, match="more than 67108864 raw bytes"):
        parser.feed(stored(b"a"))
    parser, fat = RecordParser(), record_header(262_144, 1, 1) + bytes(262_144)
    for _ in range(255):
        parser.feed(fat)
    with pytest.raises(Malformed, match="more than 67174400 serialized bytes"):
        parser.feed(fat + fat)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_noise_is_refused_or_read(data: bytes) -> None:
    """No other outcome, for the parser and for each decoder."""
    with suppress(Malformed):
        for record in parse(data, 5):
            record.decode()
    for scheme in (0, 1, 2, 3):
        with suppress(Malformed):
            assert len(decode_chunk(scheme, data, 100)) == 100


@given(st.binary(min_size=200, max_size=400), st.data())
@settings(deadline=None)
def test_a_damaged_frame_is_refused_or_has_the_right_length(data: bytes, draw) -> None:
    frame = bytearray(lz4.frame.compress(data * 3))
    at = draw.draw(st.integers(0, len(frame) - 1))
    frame[at] ^= 1 << draw.draw(st.integers(0, 7))
    with suppress(Malformed):
        assert len(decode_chunk(1, bytes(frame), len(data) * 3)) == len(data) * 3


FRAME = lz4.frame.compress(b"a" * 1000)


@pytest.mark.parametrize(
    ("scheme", "payload", "raw_bytes"),
    [
        (1, FRAME, 999),  # decodes to more
        (1, FRAME, 1001),  # to less
        (1, FRAME[:-1], 1000),  # cut before its end mark
        (1, FRAME + b"\0", 1000),  # with something after it
        (1, FRAME + FRAME, 2000),  # two frames are not one
        (1, b"\x50\x2a\x4d\x18\x04\0\0\0skip" + FRAME, 1000),  # a skippable frame before it
        (1, b"", 1),
        (0, b"abc", 4),
        (0, b"", 0),
        (0, bytes(CHUNK_RAW_BYTES_MAX + 1), CHUNK_RAW_BYTES_MAX + 1),
        (7, b"abc", 3),
    ],
)
def test_payloads_that_are_not_the_chunk(scheme: int, payload: bytes, raw_bytes: int) -> None:
    with pytest.raises(Malformed):
        decode_chunk(scheme, payload, raw_bytes)


def test_a_bomb_costs_one_chunk(measured) -> None:
    """64 MiB of zeros in 260 KB, and a frame that claims 2**60 bytes: neither is made room for."""
    bomb = lz4.frame.compress(bytes(64 << 20), block_size=lz4.frame.BLOCKSIZE_MAX4MB)
    lie = FRAME[:6] + (2**60).to_bytes(8, "little") + FRAME[14:]
    with measured(memory=True) as cost:
        for payload in (bomb, lie):
            for scheme in (1, 2):
                with pytest.raises(Malformed):
                    decode_chunk(scheme, payload, CHUNK_RAW_BYTES_MAX)
    assert cost.peak_bytes < 1 << 20
    assert cost.cpu_s < 0.5


def test_single_bytes_cost_no_square(measured) -> None:
    """The largest record, a byte at a time: each byte is copied a bounded number of times."""
    data = record_header(262_144, 1, 9) + bytes(262_144)
    with measured() as cost:
        assert len(parse(data, 1)) == 1
    assert cost.cpu_s < 3
