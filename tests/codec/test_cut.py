"""Cuts: of the promised sizes, the same for ever, and back in step soon after an insertion."""

from __future__ import annotations

import hashlib
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effort import examples
from headwater.codec.cut import (
    PIECE_BYTES_MAX,
    PIECE_BYTES_MIN,
    PIECE_BYTES_TYPICAL,
    cuts,
)
from headwater.errors import Malformed
from yardstick import usual_s

MIB = 2**20
PINNED = [
    450122,
    646872,
    903397,
    1229712,
    1356845,
    1660931,
    1922574,
    2046856,
    2113768,
    2318292,
    2648653,
    2868727,
    3083082,
    3295916,
    3543886,
    3850644,
    4194304,
]


def cut(data: bytes) -> list[int]:
    return list(cuts(lambda start, stop: data[start:stop], 0, len(data)))


def pieces(data: bytes) -> list[bytes]:
    ends = cut(data)
    return [data[a:b] for a, b in zip([0, *ends], ends, strict=False)]


@settings(max_examples=examples(60), deadline=None)
@given(
    size=st.integers(0, 5 * MIB),
    alphabet=st.sampled_from([1, 2, 3, 256]),
    seed=st.integers(0, 2**32),
    start=st.integers(0, 3 * MIB),
)
def test_cuts_rise_to_the_end_in_steps_of_the_promised_size(
    size: int, alphabet: int, seed: int, start: int
) -> None:
    data = np.random.default_rng(seed).integers(0, alphabet, size, np.uint8).tobytes()
    start = min(start, size)
    ends = list(cuts(lambda a, b: data[a:b], start, size))
    lengths = np.diff([start, *ends])
    assert (ends == []) == (start == size)
    assert ends[-1:] in ([], [size])
    assert all(PIECE_BYTES_MIN <= length <= PIECE_BYTES_MAX for length in lengths[:-1])
    assert all(0 < length <= PIECE_BYTES_MAX for length in lengths[-1:])
    assert ends == [start + end for end in cut(data[start:])], "only the bytes count"


def test_cuts_lie_where_they_lay_in_the_first_release() -> None:
    """Never change these numbers: what is stored was cut by them."""
    data = hashlib.shake_128(b"where headwater cuts").digest(4 * MIB)
    assert cut(data) == PINNED
    assert cut(bytes(3 * MIB + 5)) == [MIB, 2 * MIB, 3 * MIB, 3 * MIB + 5]


def test_the_mean_is_about_what_was_asked_for() -> None:
    data = np.random.default_rng(1).bytes(64 * MIB)
    mean = len(data) / len(cut(data))
    assert 0.8 * PIECE_BYTES_TYPICAL < mean < 1.25 * PIECE_BYTES_TYPICAL


@pytest.mark.parametrize("at", [0, 3 * MIB, 6 * MIB + 77])
def test_an_insertion_costs_the_pieces_around_it(at: int) -> None:
    data = np.random.default_rng(2).bytes(12 * MIB)
    longer = data[:at] + b"something new" + data[at:]
    known = set(pieces(data))
    new_bytes = sum(len(piece) for piece in pieces(longer) if piece not in known)
    assert new_bytes <= 4 * PIECE_BYTES_MAX
    assert new_bytes > 0


def test_every_byte_is_read_once_and_few_are_held() -> None:
    reads: list[tuple[int, int]] = []
    block = np.random.default_rng(3).bytes(2 * MIB)

    def read(start: int, stop: int) -> bytes:
        reads.append((start, stop))
        return block[: stop - start]

    start, stop = 7, 7 + 64 * MIB
    tracemalloc.start()
    ends = cuts(read, start, stop)
    last = start
    for end in ends:
        last = end
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert last == stop
    assert [a for a, _ in reads] == [start, *(b for _, b in reads)][:-1]
    assert reads[-1][1] == stop
    assert max(b - a for a, b in reads) <= 2 * PIECE_BYTES_MAX
    assert peak_bytes < 8 * MIB


def test_a_reader_that_gives_less_is_not_taken_for_the_end() -> None:
    with pytest.raises(Malformed):
        list(cuts(lambda start, stop: b"x" * (stop - start - 1), 0, MIB))


def test_what_the_reader_raises_comes_through() -> None:
    def broken(start: int, stop: int) -> bytes:
        raise OSError("the disk")

    with pytest.raises(OSError, match="the disk"):
        list(cuts(broken, 0, 10))


def test_it_is_the_fast_build() -> None:
    """The library falls back to Python without its extension, at some MB/s."""
    data = np.random.default_rng(4).bytes(32 * MIB)
    assert len(data) / usual_s(lambda: cut(data), tries=3) > 150e6
