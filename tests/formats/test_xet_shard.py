"""Shards: what is written is read, the client's own byte for byte, hostile ones are bounded."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import Malformed
from headwater.formats.xet_hash import chunk_hash, dedup_hash, file_hash, range_hash, xorb_hash
from headwater.formats.xet_shard import (
    BOOKEND,
    SHARD_BYTES_MAX,
    TAG,
    Footer,
    ShardFile,
    ShardXorb,
    Term,
    build_dedup_shard,
    build_shard,
    parse_shard,
)
from headwater.formats.xorb import RecordParser
from headwater.names import Digest, XetHash

raw_hash = st.binary(min_size=32, max_size=32)
xet_hash = raw_hash.map(XetHash.of_raw)
digest = raw_hash.filter(any).map(lambda raw: Digest(raw.hex()))
term = st.builds(
    lambda xorb, size, start, n: Term(xorb, size, start, start + n),
    xet_hash,
    st.integers(1, 64 * 2**20),
    st.integers(0, 8000),
    st.integers(1, 192),
)


@st.composite
def shard_file(draw) -> ShardFile:
    terms = draw(st.lists(term, max_size=5))
    proofs = st.lists(raw_hash, min_size=len(terms), max_size=len(terms))
    return ShardFile.of(draw(xet_hash), terms, draw(st.none() | proofs), draw(st.none() | digest))


@st.composite
def shard_xorb(draw) -> ShardXorb:
    hashes = draw(st.lists(raw_hash, min_size=1, max_size=6))
    sizes = st.lists(st.integers(1, 131_072), min_size=len(hashes), max_size=len(hashes))
    return ShardXorb.of(draw(xet_hash), hashes, draw(sizes), draw(st.integers(0, 2**32 - 1)))


@given(st.lists(shard_file(), max_size=4), st.lists(shard_xorb(), max_size=4), st.booleans())
def test_what_is_written_is_read(
    files: list[ShardFile], xorbs: list[ShardXorb], reply: bool
) -> None:
    shard = parse_shard(build_shard(files, xorbs, footer=Footer() if reply else None))
    assert shard.files == tuple(files)
    assert shard.xorbs == tuple(xorbs)


@given(xet_hash, st.lists(term, max_size=5), digest)
def test_fields_of_a_file(name: XetHash, terms: list[Term], sha256: Digest) -> None:
    proofs = [bytes([i]) * 32 for i in range(len(terms))]
    file = ShardFile.of(name, terms, proofs, sha256)
    assert (file.hash, file.terms, file.sha256) == (name, tuple(terms), sha256)
    assert file.range_hashes == proofs
    assert file.raw_bytes == sum(term.raw_bytes for term in terms)
    bare = ShardFile.of(name, terms)
    assert (bare.terms, bare.range_hashes, bare.sha256) == (tuple(terms), None, None)
    with pytest.raises(Malformed, match="range hashes for"):
        ShardFile.of(name, terms, [*proofs, bytes(32)])


@given(shard_xorb())
def test_fields_of_a_xorb(xorb: ShardXorb) -> None:
    again = ShardXorb.of(xorb.hash, xorb.hashes, xorb.raw_lengths, xorb.serialized_bytes)
    assert again == xorb
    assert xorb.raw_bytes == sum(xorb.raw_lengths)


def test_the_clients_shard_byte_for_byte(reference_store) -> None:
    """Read, taken apart, built again from the parts: the same bytes, footer included."""
    (data,) = reference_store.shards
    shard = parse_shard(data)
    assert build_shard(shard.files, shard.xorbs, footer=Footer()) == data
    for xorb in shard.xorbs:
        rebuilt = np.frombuffer(ShardXorb.of(xorb.hash, xorb.hashes, xorb.raw_lengths).block, "<u4")
        theirs = np.frombuffer(xorb.block, "<u4").copy()
        # A server marks the first chunk of each file for global dedup; uploads carry no mark.
        assert set(theirs.reshape(-1, 12)[1:, 10].tolist()) <= {0, 0x80000000}
        theirs.reshape(-1, 12)[1:, 10] = 0
        assert rebuilt.tolist() == theirs.tolist()
    whole = [file for file in shard.files if file.sha256]
    files = [ShardFile.of(f.hash, f.terms, f.range_hashes, f.sha256) for f in whole]
    assert files == whole


def test_the_clients_shard_means_what_we_think(reference_store) -> None:
    """Each check a server makes on upload holds for the real thing."""
    shard = parse_shard(reference_store.shards[0])
    (xorb,) = shard.xorbs
    parser = RecordParser()
    chunks = [record.decode() for record in parser.feed(reference_store.xorbs[xorb.hash])]
    assert xorb.hashes == list(map(chunk_hash, chunks))
    assert xorb.raw_lengths == list(map(len, chunks))
    assert xorb_hash(xorb.hashes, xorb.raw_lengths) == xorb.hash
    contents = {reference_store.hashes[name]: data for name, data in reference_store.files.items()}
    assert {file.hash for file in shard.files} == set(contents)
    for file in shard.files:
        hashes, lengths, data = [], [], b""
        assert file.range_hashes is not None
        for term, proof in zip(file.terms, file.range_hashes, strict=True):
            run = slice(term.start, term.stop)
            assert range_hash(xorb.hashes[run]) == proof
            assert sum(xorb.raw_lengths[run]) == term.raw_bytes
            hashes += xorb.hashes[run]
            lengths += xorb.raw_lengths[run]
            data += b"".join(chunks[run])
        assert file_hash(hashes, lengths) == file.hash
        assert data == contents[file.hash]
        claimed = hashlib.sha256(data).hexdigest() if data else None
        assert file.sha256 == claimed  # an empty file's is sent as zeros


def test_dedup_reply() -> None:
    """Layout of the footer, word by word, and hashes that only the key can recognise."""
    hashes, key = [chunk_hash(b"a"), chunk_hash(b"b")], b"k" * 32
    name = xorb_hash(hashes, [5, 7])
    reply = build_dedup_shard(
        [(name, hashes, [5, 7], 28)], hmac_key=key, created_s=1000, expiry_s=2000
    )
    (xorb,) = parse_shard(reply).xorbs
    assert xorb.hash == name
    assert xorb.hashes == [dedup_hash(key, raw) for raw in hashes]
    assert xorb.raw_lengths == [5, 7]
    assert not any(raw in reply for raw in hashes)
    version, files_at, xorbs_at, *tables = struct.unpack("<9Q", reply[-200:-128])
    assert (version, files_at, xorbs_at) == (1, 48, 96)
    assert tables == [len(reply) - 200, 0] * 3
    assert reply[-128:-96] == key
    assert struct.unpack("<2Q", reply[-96:-80]) == (1000, 2000)
    assert struct.unpack("<4Q", reply[-32:]) == (28, 0, 12, len(reply) - 200)
    assert reply[files_at:xorbs_at] == BOOKEND


def test_what_follows_the_second_bookend_is_ignored() -> None:
    shard = build_shard((), [ShardXorb.of(XetHash("a" * 64), [bytes(32)], [1])])
    assert parse_shard(shard + b"\x00tables and footer of hf_xet 1.1.2") == parse_shard(shard)


def head(flags: int, count: int) -> bytes:
    return bytes(32) + struct.pack("<IIQ", flags, count, 0)


def chunk(raw_bytes: int) -> bytes:
    return bytes(32) + struct.pack("<4I", 0, raw_bytes, 0, 0)


def term_record(raw_bytes: int, start: int, stop: int) -> bytes:
    return bytes(32) + struct.pack("<4I", 0, raw_bytes, start, stop)


START = TAG + struct.pack("<2Q", 2, 0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "shard tag"),
        (TAG, "shard tag"),
        (bytes(48), "shard tag"),
        (TAG + struct.pack("<2Q", 3, 0), "version 3"),
        (TAG + struct.pack("<2Q", 2, 7), "footer of 7"),
        (START, "inside its file section"),
        (START + BOOKEND, "inside its xorb section"),
        (START + BOOKEND[:-1], "inside its file section"),
        (START + head(0, 2**32 - 1) + BOOKEND * 2, "runs past its end"),
        (START + head(0xC0000000, 1) + term_record(1, 0, 1) + BOOKEND, "runs past its end"),
        (START + BOOKEND + head(0, 3) + chunk(1) + BOOKEND, "runs past its end"),
        (START + head(0, 1) + term_record(1, 4, 4) + BOOKEND * 2, "not a run of chunks"),
        (START + head(0, 1) + term_record(1, 5, 4) + BOOKEND * 2, "not a run of chunks"),
        (START + head(0, 1) + term_record(1, 0, 8193) + BOOKEND * 2, "not a run of chunks"),
        (START + head(0, 1) + term_record(0, 0, 1) + BOOKEND * 2, "bytes long"),
        (START + head(0, 1) + term_record(2**26 + 1, 0, 1) + BOOKEND * 2, "bytes long"),
        (START + BOOKEND + head(0, 0) + BOOKEND, "1 to 8192 chunks"),
        (START + BOOKEND + head(0, 8193) + chunk(1) * 8193 + BOOKEND, "1 to 8192 chunks"),
        (START + BOOKEND + head(0, 1) + chunk(0) + BOOKEND, "1 to 131072 raw"),
        (START + BOOKEND + head(0, 1) + chunk(131_073) + BOOKEND, "1 to 131072 raw"),
        (START + BOOKEND + head(0, 513) + chunk(131_072) * 513 + BOOKEND, "67108864 raw bytes"),
        (bytes(SHARD_BYTES_MAX + 1), "the limit is 67108864"),
    ],
)
def test_refused(data: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        parse_shard(data)


@given(st.lists(shard_file(), max_size=2), st.lists(shard_xorb(), max_size=2), st.data())
@settings(deadline=None)
def test_a_changed_byte_is_refused_or_read(files, xorbs, draw) -> None:
    """And what is read can be read in full."""
    data = bytearray(build_shard(files, xorbs))
    at = draw.draw(st.integers(0, len(data) - 1))
    data[at] = draw.draw(st.integers(0, 255))
    cut = draw.draw(st.integers(0, len(data)) | st.just(len(data)))
    try:
        shard = parse_shard(bytes(data[:cut]))
    except Malformed:
        return
    for file in shard.files:
        assert len(file.terms) == len(file.range_hashes or file.terms)
        assert file.sha256 is None or len(file.sha256) == 64
    for xorb in shard.xorbs:
        assert len(xorb.hashes) == len(xorb.raw_lengths)


def fullest(kind: str, share: float = 1) -> bytes:
    """64 MiB of the smallest blocks of one kind, or a share of that."""
    term = Term(XetHash("b" * 64), 9, 0, 1)
    file = ShardFile.of(XetHash("a" * 64), [term], [bytes(32)], Digest("c" * 64))
    if kind == "files":
        return build_shard([file] * int(349_000 * share), ())
    if kind == "empty files":
        return build_shard([ShardFile.of(XetHash("a" * 64), [])] * int(1_398_000 * share), ())
    if kind == "one file":
        count = int(1_398_000 * share)
        return START + head(0, count) + file.block[48:96] * count + BOOKEND * 2
    xorb = ShardXorb.of(XetHash("a" * 64), [bytes(32)] * 1000, [60_000] * 1000)
    return build_shard((), [xorb] * int(1396 * share))


@pytest.mark.parametrize("kind", ["files", "one file", "xorbs"])
def test_the_fullest_shards_are_bounded(kind: str, measured) -> None:
    """About a second, and a few times the shard's size."""
    data = fullest(kind)
    with measured() as cost:
        parse_shard(data)
    assert cost.cpu_s < 4
    data = fullest(kind, 1 / 16)
    with measured(memory=True) as cost:
        parse_shard(data)
    assert cost.peak_bytes < 4 * len(data)


def test_more_blocks_than_an_upload_can_hold(measured) -> None:
    """1.4 million files of no term: given up at the 349,525th."""
    data = fullest("empty files")
    with measured() as cost, pytest.raises(Malformed, match="more than 349525 file blocks"):
        parse_shard(data)
    assert cost.cpu_s < 3
