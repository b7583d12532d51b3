"""Ranges: what of a file a Range header asks for (RFC 9110, section 14).

A header that asks for nothing sensible is ignored, as the RFC wants; only a well-formed one that
begins past the end is refused. What is sent is never more than the file itself.
"""

from __future__ import annotations

import re

from headwater.errors import RangeNotSatisfiable

RANGES_MAX = 16  # asked for more, the whole file is cheaper than the parts
RANGE_CHARS = 48  # two 19-digit numbers, with room
PART_OVERHEAD_BYTES = 200  # boundary and headers of one part of a multipart answer
_UNIT = re.compile(r"\s*bytes\s*=", re.IGNORECASE)
_RANGE = re.compile(r"(\d*)-(\d*)\Z", re.ASCII)
_DIGITS_MAX = 19  # a longer number is past the end of any file, and costs time to read
_FAR = 10**_DIGITS_MAX + 1

Span = tuple[int, int]  # first byte, and the one after the last


def parse_range(
    header: str | None, size_bytes: int, ranges_max: int = RANGES_MAX
) -> tuple[Span, ...] | None:
    """The spans to send, ascending and apart; None means the whole file.

    RangeNotSatisfiable when every range begins past the end. An empty file is always sent whole:
    clients that put a Range on every request mean no harm by it.
    """
    if header is None or size_bytes == 0 or len(header) > (ranges_max + 1) * RANGE_CHARS:
        return None
    unit = _UNIT.match(header)
    if unit is None:
        return None
    texts = [text.strip() for text in header[unit.end() :].split(",")]
    texts = [text for text in texts if text]
    if not 0 < len(texts) <= ranges_max:
        return None
    spans: list[Span] = []
    for text in texts:
        found = _RANGE.match(text)
        if found is None or text == "-":
            return None
        first, last = found.groups()
        if not first:  # the last n bytes
            count = min(_number(last), size_bytes)
            if count:
                spans.append((size_bytes - count, size_bytes))
            continue
        start = _number(first)
        stop = _number(last) + 1 if last else _FAR
        if stop <= start:
            return None  # reversed: malformed, so ignored
        if start < size_bytes:
            spans.append((start, min(stop, size_bytes)))
    if not spans:
        raise RangeNotSatisfiable(
            f"the file has {size_bytes} bytes; the range asked for lies past its end",
            size_bytes=size_bytes,
        )
    merged = _merged(spans)
    sent_bytes = sum(stop - start + PART_OVERHEAD_BYTES for start, stop in merged)
    return None if len(merged) > 1 and sent_bytes * 10 > size_bytes * 11 else merged


def _number(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _DIGITS_MAX else _FAR - 1


def _merged(spans: list[Span]) -> tuple[Span, ...]:
    """Overlapping and touching spans as one."""
    merged: list[Span] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return tuple(merged)
