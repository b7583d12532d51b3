"""Xet's hashes: from a chunk's bytes to the one name of a xorb or a file.

    chunk_hash(bytes)                 keyed BLAKE3 of one chunk
    xorb_hash(hashes, lengths)        root of the tree over the chunks of a xorb
    file_hash(hashes, lengths, salt)  the same root, hashed once more with the hub's salt
    range_hash(hashes)                what a client sends to prove it holds a run of chunks
    dedup_hash(key, hash)             a chunk hash as dedup replies may show it

Format: Xet Protocol 1.1.0; the grouping rule of the tree as in xet-core `aggregated_hashes.rs` and
draft-denis-xet. Chunk hashes are 32 raw bytes here; a `XetHash` is the name of a xorb or a file.
A level of the tree is one numpy array, so a million chunks cost about two seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from headwater.errors import Malformed
from headwater.names import XetHash

Buffer = bytes | bytearray | memoryview
Words = npt.NDArray[np.uint64]  # shape (n, 4): one 32-byte hash a row, as little-endian u64
Hashes = Sequence[bytes] | Buffer | npt.NDArray[np.uint8]  # n raw hashes, apart or end to end
Lengths = Sequence[int] | npt.NDArray[np.integer]

HASH_BYTES = 32
ZERO = bytes(HASH_BYTES)
DATA_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
VERIFY_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")

_GROUP_MAX = 9  # children of a node; a node ends early, but not before its third child,
_GROUP_CUT_MIN = 2  # at the first child whose last word is a multiple of four
_GROUP_CUT_EVERY = np.uint64(4)
_DEDUP_EVERY = 1024  # one chunk hash in so many may be asked for: the client's rule, not ours


def chunk_hash(data: Buffer) -> bytes:
    """The 32-byte hash of one chunk's raw bytes."""
    return blake3(data, key=DATA_KEY).digest()


def xorb_hash(hashes: Hashes, lengths: Lengths) -> XetHash:
    """The name of a xorb made of these chunks in this order; zeros when there are none.

    `hashes` and `lengths` (raw bytes of each chunk) have one entry a chunk; Malformed when not.
    """
    return XetHash.of_raw(_root(hashes, lengths))


def file_hash(hashes: Hashes, lengths: Lengths, salt: bytes = ZERO) -> XetHash:
    """The name of a file made of these chunks in this order; zeros when it is empty."""
    root = _root(hashes, lengths)
    return XetHash.of_raw(blake3(root, key=salt).digest() if len(lengths) else root)


def range_hash(hashes: Hashes) -> bytes:
    """The 32-byte proof that its maker knows these chunk hashes, for one term of a file."""
    return blake3(_joined(hashes), key=VERIFY_KEY).digest()


def dedup_hash(key: bytes, chunk: bytes) -> bytes:
    """The 32-byte stand-in for a chunk hash in a dedup reply made under `key` (32 bytes)."""
    return blake3(chunk, key=key).digest()


def is_dedup_eligible(chunk: bytes) -> bool:
    """Whether clients ask for this chunk hash (they also ask for the first chunk of a file)."""
    return int.from_bytes(chunk[24:32], "little") % _DEDUP_EVERY == 0


def _joined(hashes: Hashes) -> Buffer:
    """The hashes end to end."""
    if isinstance(hashes, np.ndarray):
        return hashes.tobytes()
    if isinstance(hashes, (bytes, bytearray, memoryview)):
        return hashes
    return b"".join(hashes)


def _root(hashes: Hashes, lengths: Lengths) -> bytes:
    joined = _joined(hashes)
    if len(joined) != HASH_BYTES * len(lengths):
        raise Malformed(f"{len(joined)} bytes of chunk hashes for {len(lengths)} chunks")
    if not len(lengths):
        return ZERO
    words = np.frombuffer(joined, "<u8").reshape(-1, 4)
    sizes = np.asarray(lengths, np.uint64)
    while len(words) > 1:
        words, sizes = _parents(words, sizes)
    return words.astype("<u8").tobytes()


def _parents(words: Words, sizes: npt.NDArray[np.uint64]) -> tuple[Words, npt.NDArray[np.uint64]]:
    """One level up: a node is the hash of its children's printed hashes and sizes."""
    starts = _group_starts(words[:, 3])
    text = words.byteswap().tobytes().hex()  # text form: each word printed as a number
    lines = [
        f"{text[at : at + 64]} : {size}\n"
        for at, size in zip(range(0, len(text), 64), sizes.tolist(), strict=True)
    ]
    ends = [*starts[1:], len(lines)]
    nodes = b"".join(
        blake3("".join(lines[start:end]).encode("ascii"), key=NODE_KEY).digest()
        for start, end in zip(starts, ends, strict=True)
    )
    return np.frombuffer(nodes, "<u8").reshape(-1, 4), np.add.reduceat(sizes, starts)


def _group_starts(last_words: npt.NDArray[np.uint64]) -> list[int]:
    """Where each group of children begins."""
    count = len(last_words)
    cuts = np.flatnonzero(last_words % _GROUP_CUT_EVERY == 0)
    # For every node, the first cut at or after it; `count` where none follows.
    at = np.searchsorted(cuts, np.arange(count + _GROUP_CUT_MIN))
    next_cut: list[int] = np.append(cuts, count)[at].tolist()
    starts, start = [], 0
    while start < count:
        starts.append(start)
        start = min(start + _GROUP_MAX, next_cut[start + _GROUP_CUT_MIN] + 1)
    return starts
