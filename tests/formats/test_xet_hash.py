"""Xet hashes against published vectors, a naive reading of the rules, and the real client."""

from __future__ import annotations

import hf_xet
import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from effort import examples
from headwater.errors import Malformed
from headwater.formats.xet_hash import (
    NODE_KEY,
    ZERO,
    chunk_hash,
    dedup_hash,
    file_hash,
    is_dedup_eligible,
    range_hash,
    xorb_hash,
)
from headwater.names import XetHash

# xet-core, aggregated_hashes.rs, test_correctness: four nodes and their sizes.
NODES = {
    100: "cfc5d07f6f03c29bbf424132963fe08d19a37d5757aaf520bf08119f05cd56d6",
    200: "c3e67584b5c4fc2a89837ec39e40f2c8a6bb0b2987ac94cd4b31e5fbdd210a72",
    300: "0d2beb91b9196929a5ddec9f6e306924ddf4a24268e3e59fd8464738d525af37",
    400: "adf8773496a9b7319b2e50dc98093f344053b17d8ad37100b9c07d9805988784",
    0: "0" * 64,
}


def test_vectors_of_the_draft() -> None:
    """draft-denis-xet, appendix C: one of each key (chunk, internal node, verification)."""
    raw = chunk_hash(b"Hello World!")
    assert raw.hex() == "a29cfb08e608d4d8726dd8659a90b9134b3240d5d8e42d5fcb28e2a6e763a3e8"
    assert XetHash.of_raw(raw) == "d8d408e608fb9ca213b9909a65d86d725f2de4d8d540324be8a363e7a6e228cb"
    pair = [
        XetHash("c28f58387a60d4aa200c311cda7c7f77f686614864f5869eadebf765d0a14a69").raw,
        XetHash("6e4e3263e073ce2c0e78cc770c361e2778db3b054b98ab65e277fc084fa70f22").raw,
    ]
    node = "be64c7003ccd3cf4357364750e04c9592b3c36705dee76a71590c011766b6c14"
    assert xorb_hash(pair, [100, 200]) == node
    proof = "eb06a8ad81d588ac05d1d9a079232d9c1e7d0b07232fa58091caa7bf333a2768"
    assert XetHash.of_raw(range_hash(pair)) == proof


@pytest.mark.parametrize(
    ("sizes", "xorb", "file"),
    [
        ([100], NODES[100], "8e16257caa3fe079d484d872a8975264b2ff683b0d6db9028cc7c0f968a45661"),
        (
            [100, 200, 300],
            "71ec1275fca074724e2dd666921b3277c7cee603e4d025bcab2d4050015be2bc",
            "54e55dccc6653c612bdb5576c5d3cb34bb31bc4e100248abccf4c908b3ef7715",
        ),
        (
            [100] * 4,
            "89f2ada89ff8c96763c6b25010e6dd76a4c05b1466207633ea559acf2093211b",
            "2cdba690d0e09563596e0cda626d43eb4c96ef1e994fe72d9b2f5a83cfcd36dd",
        ),
        (
            [100, 200, 100, 200, 300, 400],
            "52c826f99507aa05d0b45e9837fa1709e0485425cfbcb1e80db3905cf98b3ee9",
            "91d21684db364c8883ab8209fa5eb2e781cf07f37e1fa43e731c30839afe422f",
        ),
        (
            [0, 100, 0, 100],
            "e1755c85be07fd6b7a8d7becc85e6d8c5f507f2a3d38b316bcb6f97855e72188",
            "207caf24fce045ac6d873b4c6186a5a435d600d103e1ae345e55ddf1f4b7f7ef",
        ),
    ],
)
def test_vectors_of_xet_core(sizes: list[int], xorb: str, file: str) -> None:
    hashes = [XetHash(NODES[size]).raw for size in sizes]
    assert xorb_hash(hashes, sizes) == xorb
    assert file_hash(hashes, sizes) == file


def test_a_salt_changes_the_name() -> None:
    """xet-core's vector for a salted file of six chunks; an empty file has no salt."""
    sizes = [100, 200, 100, 200, 300, 400]
    hashes = [XetHash(NODES[size]).raw for size in sizes]
    salt = XetHash("fceabc1f6c6aaaa176bc53b2d6899a3ab99eaebd13b5f0cf36080e6f894bbbf5").raw
    salted = "b70b051189a20b58d0c832111e0470396094518b6af8bd8c813c9ccb764ab602"
    assert file_hash(hashes, sizes, salt) == salted
    assert file_hash([], [], salt) == xorb_hash([], []) == "0" * 64


def naive_root(hashes: list[bytes], sizes: list[int]) -> bytes:
    """The tree as the rule is worded, one node at a time."""
    nodes = list(zip(hashes, sizes, strict=True))
    while len(nodes) > 1:
        parents, rest = [], nodes
        while rest:
            take = min(9, len(rest))
            if len(rest) > 2:
                cuts = (i + 1 for i in range(2, take) if rest[i][0][24] % 4 == 0)
                take = next(cuts, take)
            group, rest = rest[:take], rest[take:]
            text = "".join(f"{XetHash.of_raw(raw)} : {size}\n" for raw, size in group)
            size = sum(size for _, size in group)
            parents.append((blake3(text.encode(), key=NODE_KEY).digest(), size))
        nodes = parents
    return nodes[0][0]


@settings(max_examples=examples(150), deadline=None)
@given(st.integers(1, 400), st.randoms(use_true_random=False), st.sampled_from([1, 4, 256]))
def test_tree_as_worded(count: int, random, spread: int) -> None:
    """Any number of chunks; few distinct hashes make groups of every length."""
    hashes = [bytes(24) + bytes([random.randrange(spread)]) + bytes(7) for _ in range(count)]
    sizes = [random.randrange(1, 131_073) for _ in range(count)]
    root = naive_root(hashes, sizes)
    assert xorb_hash(hashes, sizes).raw == root
    assert file_hash(hashes, sizes).raw == blake3(root, key=ZERO).digest()


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=12))
def test_hashes_apart_end_to_end_or_as_rows(hashes: list[bytes]) -> None:
    """The three ways of giving hashes are one."""
    sizes, joined = [7] * len(hashes), b"".join(hashes)
    rows = np.frombuffer(joined, np.uint8).reshape(-1, 32)
    assert xorb_hash(hashes, sizes) == xorb_hash(joined, sizes) == xorb_hash(rows, np.array(sizes))
    assert range_hash(hashes) == range_hash(joined) == range_hash(rows)


def test_a_length_for_every_hash() -> None:
    with pytest.raises(Malformed, match="64 bytes of chunk hashes for 3 chunks"):
        xorb_hash([ZERO, ZERO], [1, 2, 3])


@given(st.binary(min_size=1, max_size=8192))
@settings(max_examples=examples(20), deadline=None)
def test_small_files_as_the_client_names_them(tmp_path_factory, data: bytes) -> None:
    """Up to 8192 bytes a file is one chunk."""
    path = tmp_path_factory.mktemp("small") / "file"
    path.write_bytes(data)
    (info,) = hf_xet.hash_files([str(path)])
    assert file_hash([chunk_hash(data)], [len(data)]) == info.hash


def test_dedup_hash_needs_its_key() -> None:
    raw = chunk_hash(b"chunk")
    assert dedup_hash(b"k" * 32, raw) == blake3(raw, key=b"k" * 32).digest()
    assert dedup_hash(b"k" * 32, raw) != dedup_hash(b"l" * 32, raw)


@given(st.binary(min_size=32, max_size=32))
def test_one_hash_in_1024_is_eligible(raw: bytes) -> None:
    """By the last word, as the text form shows it."""
    assert is_dedup_eligible(raw) == (int(XetHash.of_raw(raw)[48:], 16) % 1024 == 0)
    assert is_dedup_eligible(raw[:24] + b"\x00\x04" + raw[26:])


def test_a_million_chunks_in_seconds(measured) -> None:
    """A 64 GB file; about one second on a 2024 server core."""
    hashes = np.random.default_rng(0).bytes(32 * 10**6)
    lengths = np.full(10**6, 65536)
    with measured() as cost:
        file_hash(hashes, lengths)
    assert cost.cpu_s < 8
