"""git-lfs pointers: one canonical form, and nothing else is one."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.formats.lfs_pointer import encode_pointer, parse_pointer
from headwater.names import Digest

# The pointer printed in git-lfs's specification.
SPEC = b"""version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 12345
"""
OID = Digest("4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393")


def test_the_pointer_of_the_specification() -> None:
    assert encode_pointer(OID, 12345) == SPEC
    assert parse_pointer(SPEC) == (OID, 12345)
    git_oid = hashlib.sha1(b"blob %d\0" % len(SPEC) + SPEC).hexdigest()
    assert (len(SPEC), git_oid) == (130, "60c8d8ab2adcf57a391163a7eeb0cdb8bf348e44")


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**63 - 1))
def test_what_is_encoded_is_parsed(raw: bytes, size_bytes: int) -> None:
    assert parse_pointer(encode_pointer(Digest(raw.hex()), size_bytes)) == (raw.hex(), size_bytes)


@given(st.binary(max_size=300))
def test_noise_is_no_pointer(data: bytes) -> None:
    assert parse_pointer(data) is None


@given(st.integers(0, len(SPEC) - 1), st.integers(0, 255))
def test_a_changed_byte_is_no_pointer_or_another(at: int, byte: int) -> None:
    """Never the same one: two texts do not stand for one file."""
    data = SPEC[:at] + bytes([byte]) + SPEC[at + 1 :]
    found = parse_pointer(data)
    assert found is None or encode_pointer(*found) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        SPEC[:-1],
        SPEC + b"\n",
        SPEC.replace(b"\n", b"\r\n"),
        b" " + SPEC,
        SPEC.replace(b"12345", b"012345"),
        SPEC.replace(b"12345", b"-1"),
        SPEC.replace(b"12345", b"1e3"),
        SPEC.replace(b"12345", b"9223372036854775808"),
        SPEC.replace(b"12345", b"\xd9\xa1"),
        SPEC.replace(b"4d7a", b"4D7A"),
        SPEC.replace(b"sha256", b"sha1"),
        SPEC.replace(b"git-lfs.github.com", b"hawser.github.com"),
        SPEC.replace(b"size", b"ext-0-x sha256:" + b"0" * 64 + b"\nsize"),
        SPEC * 100_000,
    ],
)
def test_near_misses(data: bytes) -> None:
    assert parse_pointer(data) is None
