"""Xet shards: which chunks make a file, and which chunks lie in a xorb.

    parse_shard(data) -> Shard(files, xorbs)      an upload; Malformed with the reason
    build_shard(files, xorbs) -> bytes            the same, written
    build_dedup_shard(xorbs, ...) -> bytes        the reply to "who has this chunk?"

Format: Xet Protocol 1.1.0, all little-endian, every record 48 bytes: header, file blocks, bookend,
xorb blocks, bookend, then lookup tables and a footer that only replies need. What follows the
second bookend of an upload is ignored.
A `ShardFile` or `ShardXorb` is its block of records and nothing more: a shard of a million records
parses in about a second and costs its own size again; terms and hashes are cut out when asked for.
Checked here is what the shard says of itself. That its xorbs exist, that sizes and hashes agree
with them and that its proofs hold is for those who have the xorbs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headwater.errors import Malformed
from headwater.formats.xet_hash import (
    HASH_BYTES,
    ZERO,
    Buffer,
    Lengths,
    dedup_hash,
)
from headwater.formats.xorb import CHUNK_RAW_BYTES_MAX, XORB_CHUNKS_MAX, XORB_RAW_BYTES_MAX
from headwater.names import Digest, XetHash

SHARD_BYTES_MAX = 64 * 2**20  # what Hugging Face accepts, and what its client keeps to
# A file of one term takes four records with its proof and its SHA-256; so many fill a shard.
SHARD_FILES_MAX = SHARD_BYTES_MAX // (4 * 48)
SHARD_XORBS_MAX = SHARD_BYTES_MAX // (4 * 48)  # real ones hold about a thousand chunks each

RECORD_BYTES = 48
FOOTER_BYTES = 200
TAG = b"HFRepoMetaData\0" + bytes.fromhex("55696745 6a7b8157 83a5bdd9 5ccdd14a a9")
BOOKEND = b"\xff" * 32 + bytes(16)
FLAG_PROOFS = 0x80000000  # a range hash follows for every term
FLAG_SHA256 = 0x40000000  # the file's SHA-256 follows

_BLOCK = np.dtype([("hash", "V32"), ("flags", "<u4"), ("count", "<u4"), ("rest", "<u8")])
_TERM = np.dtype([("xorb", "V32"), ("flags", "<u4"), ("raw_bytes", "<u4"),
                  ("start", "<u4"), ("stop", "<u4")])  # fmt: skip
_CHUNK = np.dtype([("hash", "V32"), ("raw_start", "<u4"), ("raw_bytes", "<u4"),
                   ("flags", "<u4"), ("zero", "<u4")])  # fmt: skip
_NAMED = np.dtype([("hash", "V32"), ("zero", "V16")])  # a range hash or a SHA-256
_Records = npt.NDArray[np.void]


class Term(NamedTuple):
    """A run of chunks of one xorb: `start` to `stop`, exclusive. A file is its terms in order."""

    xorb: XetHash
    raw_bytes: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class ShardFile:
    """One file as its uploader describes it."""

    block: bytes  # its records: head, terms, range hashes if any, SHA-256 if any

    @classmethod
    def of(
        cls,
        hash: XetHash,
        terms: Sequence[Term],
        range_hashes: Sequence[bytes] | None = None,
        sha256: Digest | None = None,
    ) -> ShardFile:
        """The block for these terms; with proofs, one 32-byte range hash for each."""
        if range_hashes is not None and len(range_hashes) != len(terms):
            raise Malformed(f"{len(range_hashes)} range hashes for {len(terms)} terms")
        flags = FLAG_PROOFS if range_hashes is not None else 0
        flags |= FLAG_SHA256 if sha256 else 0
        rows = [(term.xorb.raw, 0, term.raw_bytes, term.start, term.stop) for term in terms]
        named = [(proof, bytes(16)) for proof in range_hashes or ()]
        if sha256:
            named.append((XetHash(sha256).raw, bytes(16)))
        head = np.array([(hash.raw, flags, len(terms), 0)], _BLOCK)
        tail = np.array(named, _NAMED)
        return cls(head.tobytes() + np.array(rows, _TERM).tobytes() + tail.tobytes())

    @property
    def hash(self) -> XetHash:
        return XetHash.of_raw(self.block[:HASH_BYTES])

    @property
    def terms(self) -> tuple[Term, ...]:
        """Built at every call; one `XetHash` for each xorb, however often it is named."""
        rows = self._terms()
        raws = rows["xorb"].tolist()
        names = {raw: XetHash.of_raw(raw) for raw in set(raws)}
        columns = (rows[name].tolist() for name in ("raw_bytes", "start", "stop"))
        return tuple(
            Term(names[raw], *numbers) for raw, *numbers in zip(raws, *columns, strict=True)
        )

    @property
    def raw_bytes(self) -> int:
        """The file's size, as its terms say."""
        return int(self._terms()["raw_bytes"].sum(dtype=np.uint64))

    @property
    def range_hashes(self) -> list[bytes] | None:
        """32 bytes a term, in order; None when the uploader sent none."""
        if not self._head["flags"] & FLAG_PROOFS:
            return None
        count = int(self._head["count"])
        rows = np.frombuffer(self.block, _NAMED, count, (1 + count) * RECORD_BYTES)
        hashes: list[bytes] = rows["hash"].tolist()
        return hashes

    @property
    def sha256(self) -> Digest | None:
        """What the uploader claims; a Xet hash's text form turns the stored order into hex."""
        if not self._head["flags"] & FLAG_SHA256:
            return None
        raw = self.block[-RECORD_BYTES:][:HASH_BYTES]
        return Digest(XetHash.of_raw(raw)) if raw != ZERO else None  # zeros stand for "not known"

    @property
    def _head(self) -> np.void:
        head: np.void = np.frombuffer(self.block, _BLOCK, 1)[0]
        return head

    def _terms(self) -> _Records:
        return np.frombuffer(self.block, _TERM, int(self._head["count"]), RECORD_BYTES)


@dataclass(frozen=True, slots=True)
class ShardXorb:
    """One xorb as its uploader describes it: chunk hashes and raw lengths, in order."""

    block: bytes  # its records: head, then one a chunk

    @classmethod
    def of(
        cls,
        hash: XetHash,
        hashes: Sequence[bytes],
        raw_lengths: Lengths,
        serialized_bytes: int = 0,
    ) -> ShardXorb:
        """The block for these chunks. Clients send `serialized_bytes` as 0."""
        ends = list(accumulate(int(length) for length in raw_lengths))
        starts = [0, *ends][:-1]
        rows = [
            (chunk, start, end - start, 0, 0)
            for chunk, start, end in zip(hashes, starts, ends, strict=True)
        ]
        total = ends[-1] if ends else 0
        head = np.array([(hash.raw, 0, len(rows), total | serialized_bytes << 32)], _BLOCK)
        return cls(head.tobytes() + np.array(rows, _CHUNK).tobytes())

    @property
    def hash(self) -> XetHash:
        return XetHash.of_raw(self.block[:HASH_BYTES])

    @property
    def hashes(self) -> list[bytes]:
        hashes: list[bytes] = self._chunks()["hash"].tolist()
        return hashes

    @property
    def raw_lengths(self) -> list[int]:
        lengths: list[int] = self._chunks()["raw_bytes"].tolist()
        return lengths

    @property
    def raw_bytes(self) -> int:
        return int(self._chunks()["raw_bytes"].sum(dtype=np.uint64))

    @property
    def serialized_bytes(self) -> int:
        """As claimed: 0 in real uploads."""
        return int.from_bytes(self.block[44:RECORD_BYTES], "little")

    def _chunks(self) -> _Records:
        return np.frombuffer(self.block, _CHUNK, offset=RECORD_BYTES)


@dataclass(frozen=True, slots=True)
class Shard:
    files: tuple[ShardFile, ...]
    xorbs: tuple[ShardXorb, ...]


@dataclass(frozen=True, slots=True)
class Footer:
    """What a reply says about itself; times in Unix seconds."""

    hmac_key: bytes = ZERO  # zeros: the chunk hashes are in clear
    created_s: int = 0
    expiry_s: int = 0


def parse_shard(data: Buffer) -> Shard:
    """Files and xorbs of an uploaded shard, in order; Malformed with the reason.

    At most 64 MiB. Every block lies inside the shard, every term names at least one chunk and one
    byte, every chunk has 1 to 131,072 raw bytes, every xorb keeps its limits.
    """
    if len(data) > SHARD_BYTES_MAX:
        raise Malformed(f"shard of {len(data)} bytes; the limit is {SHARD_BYTES_MAX}")
    data = bytes(data)
    version, footer_bytes = np.frombuffer(data[32:48].ljust(16, b"\0"), "<u8").tolist()
    if data[:32] != TAG or len(data) < RECORD_BYTES:
        raise Malformed("not a Xet shard: it does not begin with the shard tag")
    if version != 2 or footer_bytes not in (0, FOOTER_BYTES):
        raise Malformed(f"shard version {version} with a footer of {footer_bytes} bytes is unknown")
    files, at = _blocks(data, RECORD_BYTES, "file", SHARD_FILES_MAX)
    xorbs, _ = _blocks(data, at, "xorb", SHARD_XORBS_MAX)
    _check_terms(files)
    _check_chunks(xorbs)
    return Shard(tuple(map(ShardFile, files)), tuple(map(ShardXorb, xorbs)))


def build_shard(
    files: Iterable[ShardFile], xorbs: Iterable[ShardXorb], *, footer: Footer | None = None
) -> bytes:
    """A shard of these blocks: without a footer an upload, with one a reply."""
    files, xorbs = tuple(files), tuple(xorbs)
    head = TAG + np.array([2, FOOTER_BYTES if footer else 0], "<u8").tobytes()
    file_section = b"".join(file.block for file in files) + BOOKEND
    xorb_section = b"".join(xorb.block for xorb in xorbs) + BOOKEND
    body = head + file_section + xorb_section
    if footer is None:
        return body
    xorbs_at = len(head) + len(file_section)
    tables = [len(body), 0] * 3  # file, xorb and chunk lookup: absent, so empty
    totals = (
        sum(xorb.serialized_bytes for xorb in xorbs),
        sum(file.raw_bytes for file in files),
        sum(xorb.raw_bytes for xorb in xorbs),
    )
    return b"".join(
        (
            body,
            np.array([1, len(head), xorbs_at, *tables], "<u8").tobytes(),
            footer.hmac_key,
            np.array([footer.created_s, footer.expiry_s], "<u8").tobytes(),
            bytes(48),
            np.array([*totals, len(body)], "<u8").tobytes(),
        )
    )


def build_dedup_shard(
    xorbs: Sequence[tuple[XetHash, Sequence[bytes], Sequence[int], int]],
    *,
    hmac_key: bytes,
    created_s: int,
    expiry_s: int,
) -> bytes:
    """The reply to a chunk query: (xorb, chunk hashes, raw lengths, serialized bytes) a match.

    Chunk hashes leave as `dedup_hash(hmac_key, hash)`: who asks can recognise chunks that it has,
    and learns nothing of those it has not.
    """
    blocks = [
        ShardXorb.of(xorb, [dedup_hash(hmac_key, chunk) for chunk in hashes], lengths, stored_bytes)
        for xorb, hashes, lengths, stored_bytes in xorbs
    ]
    return build_shard((), blocks, footer=Footer(hmac_key, created_s, expiry_s))


def _blocks(data: bytes, at: int, kind: str, blocks_max: int) -> tuple[list[bytes], int]:
    """The blocks of one section that begins at `at`, and where the next section begins."""
    blocks: list[bytes] = []
    for start, end in _spans(data, at, kind):
        if start == end:
            return blocks, end + RECORD_BYTES
        if len(blocks) == blocks_max:
            raise Malformed(f"shard with more than {blocks_max} {kind} blocks")
        blocks.append(data[start:end])
    raise Malformed(f"shard ends inside its {kind} section")


def _spans(data: bytes, at: int, kind: str) -> Iterator[tuple[int, int]]:
    """Where each block of a section lies; an empty span is the bookend that ends it."""
    while at + RECORD_BYTES <= len(data):
        if data.startswith(BOOKEND, at):
            yield at, at
            return
        flags = int.from_bytes(data[at + 32 : at + 36], "little")
        count = int.from_bytes(data[at + 36 : at + 40], "little")
        records = 1 + count
        if kind == "file":
            records += count * (flags & FLAG_PROOFS != 0) + (flags & FLAG_SHA256 != 0)
        end = at + records * RECORD_BYTES
        if end > len(data):
            raise Malformed(f"shard's {kind} block of {count} entries runs past its end")
        yield at, end
        at = end


def _entries(
    blocks: list[bytes], dtype: np.dtype[np.void]
) -> tuple[_Records, npt.NDArray[np.intp]]:
    """The first `count` entries of all blocks in one array, and how many are of each block."""
    counts = [int.from_bytes(block[36:40], "little") for block in blocks]
    parts = [
        block[RECORD_BYTES : RECORD_BYTES * (1 + count)]
        for block, count in zip(blocks, counts, strict=True)
    ]
    return np.frombuffer(b"".join(parts), dtype), np.array(counts, np.intp)


def _check_terms(files: list[bytes]) -> None:
    """A term has chunks and bytes, and not more than a xorb can hold."""
    terms, _ = _entries(files, _TERM)
    if np.any(terms["start"] >= terms["stop"]) or np.any(terms["stop"] > XORB_CHUNKS_MAX):
        raise Malformed(f"shard term that is not a run of chunks within 0 to {XORB_CHUNKS_MAX}")
    if np.any(terms["raw_bytes"] == 0) or np.any(terms["raw_bytes"] > XORB_RAW_BYTES_MAX):
        raise Malformed(f"shard term that is not 1 to {XORB_RAW_BYTES_MAX} bytes long")


def _check_chunks(xorbs: list[bytes]) -> None:
    """A xorb has 1 to 8192 chunks, a chunk 1 to 131,072 bytes, all together at most 64 MiB."""
    chunks, counts = _entries(xorbs, _CHUNK)
    if not len(counts):
        return
    if counts.min() == 0 or counts.max() > XORB_CHUNKS_MAX:
        raise Malformed(f"shard's xorb has not 1 to {XORB_CHUNKS_MAX} chunks")
    lengths = chunks["raw_bytes"].astype(np.uint64)
    if lengths.min() == 0 or lengths.max() > CHUNK_RAW_BYTES_MAX:
        raise Malformed(f"shard's xorb has a chunk of not 1 to {CHUNK_RAW_BYTES_MAX} raw bytes")
    firsts = np.cumsum(counts) - counts
    if np.add.reduceat(lengths, firsts).max() > XORB_RAW_BYTES_MAX:
        raise Malformed(f"shard's xorb has more than {XORB_RAW_BYTES_MAX} raw bytes")
