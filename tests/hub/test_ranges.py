"""parse_range against what a reader of RFC 9110 would say, and against hostile headers."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import RangeNotSatisfiable
from headwater.hub.ranges import PART_OVERHEAD_BYTES, RANGES_MAX, parse_range

SIZE = 1_000_000


@pytest.mark.parametrize(
    ("header", "spans"),
    [
        ("bytes=0-0", ((0, 1),)),
        ("bytes=8-", ((8, SIZE),)),
        ("bytes=-5", ((SIZE - 5, SIZE),)),
        ("bytes=-99999999", ((0, SIZE),)),
        ("bytes=0-100000", ((0, 100_001),)),
        ("Bytes = 1-2", ((1, 3),)),
        ("bytes=1-2, 7-8", ((1, 3), (7, 9))),
        ("bytes=7-8,1-2", ((1, 3), (7, 9))),
        ("bytes=1-4,3-8,9-9", ((1, 10),)),
        ("bytes=5-6,2000000-", ((5, 7),)),
        ("bytes=0-" + "9" * 700, ((0, SIZE),)),
        ("bytes=" + "0" * 100 + "5-6", ((5, 7),)),
        ("bytes=,1-2,", ((1, 3),)),
    ],
)
def test_a_good_header(header: str, spans: tuple[tuple[int, int], ...]) -> None:
    assert parse_range(header, SIZE) == spans


@pytest.mark.parametrize(
    "header",
    [
        None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5", "bytes=1-2-3", "bytes=--1",
        "bytes=9-3", "bytes=5-6,9-3", "lines=1-2", "bytes=+1-2", "bytes=1_0-20", "bytes=١-٢",
        "bytes=0x1-2", "bytes=0-" + "9" * 5000, "bytes=" + ",".join(["1-2"] * 17),
        "bytes=" + "0-," * 1000, "bytes 0-1/2",
    ],
)  # fmt: skip
def test_what_is_not_a_range_is_ignored(header: str | None) -> None:
    assert parse_range(header, SIZE) is None


@pytest.mark.parametrize(
    "header", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=-0", "bytes=" + "9" * 700 + "-"]
)
def test_past_the_end_is_refused_with_the_size(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as refused:
        parse_range(header, SIZE)
    assert refused.value.size_bytes == SIZE


def test_an_empty_file_is_sent_whole() -> None:
    assert parse_range("bytes=0-0", 0) is None


def test_a_caller_may_allow_more_ranges() -> None:
    """Xet clients put hundreds of ranges of one xorb into a header."""
    header = "bytes=" + ",".join(f"{n * 1000}-{n * 1000 + 9}" for n in range(500))
    assert parse_range(header, SIZE) is None
    many = parse_range(header, SIZE, 500)
    assert many is not None
    assert len(many) == 500


@given(st.integers(1, 3000), st.lists(st.tuples(st.integers(0, 3500), st.integers(0, 3500))))
def test_what_is_sent_is_what_was_asked(size: int, asked: list[tuple[int, int]]) -> None:
    """Sorted, apart, inside the file, covering exactly the bytes asked for, at a bounded cost."""
    header = "bytes=" + ",".join(f"{a}-{b}" for a, b in asked)
    wanted = {n for a, b in asked for n in range(a, min(b + 1, size))}
    malformed = not asked or len(asked) > RANGES_MAX or any(b < a for a, b in asked)
    if not malformed and not wanted:
        with pytest.raises(RangeNotSatisfiable):
            parse_range(header, size)
        return
    spans = parse_range(header, size)
    if malformed:
        assert spans is None
    elif spans is not None:
        assert {n for start, stop in spans for n in range(start, stop)} == wanted
        assert all(left[1] < right[0] for left, right in itertools.pairwise(spans))
        sent = sum(stop - start + PART_OVERHEAD_BYTES for start, stop in spans)
        assert len(spans) == 1 or sent <= 1.1 * size


@given(st.text(max_size=200), st.integers(0, 10**9))
def test_any_text_gets_an_answer(header: str, size: int) -> None:
    for text in (header, "bytes=" + header):
        try:
            spans = parse_range(text, size)
        except RangeNotSatisfiable:
            continue
        assert spans is None or all(0 <= a < b <= size for a, b in spans)
