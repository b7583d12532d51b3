"""Differences of two texts, line by line, as git finds and prints them.

    lines_of(data)            its lines, each with its newline
    changes(old, new)         what was replaced by what, in order
    hunks(old, new)           the `@@ … @@` part of a unified diff
    is_binary(data)           whether git would not print it

The shortest edit is looked for (Myers) as long as the `Effort` lasts; beyond it all that differs
is one replaced block: a longer diff, still a true one. So texts of strangers cost a bounded time,
and many of them together no more than one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isqrt

BINARY_LOOK_BYTES = 8000  # git looks for a NUL so far and no farther
CONTEXT_LINES = 3
STEPS_MAX = 1_000_000  # of the search: half a second; a thousand lines changed in one text
EDITS_MIN = 10  # lines taken out or put in that are looked for even when the effort is spent
SECTION_BYTES_MAX = 80  # of the line that git shows behind `@@`
_NO_NEWLINE = b"\n\\ No newline at end of file\n"


@dataclass(frozen=True, slots=True)
class Change:
    """Lines `start` to `stop` of the old text became lines `new_start` to `new_stop`."""

    start: int
    stop: int
    new_start: int
    new_stop: int


class Effort:
    """What the texts of one request may cost together."""

    def __init__(self, steps: int = STEPS_MAX) -> None:
        self.steps = steps

    def edits_max(self) -> int:
        """How many edits the next search may try: it costs the square of those it tries."""
        return max(EDITS_MIN, isqrt(max(0, self.steps)))


def is_binary(data: bytes) -> bool:
    return b"\0" in data[:BINARY_LOOK_BYTES]


def lines_of(data: bytes) -> list[bytes]:
    """Cut behind each newline, and nowhere else: git knows no other line end."""
    lines = data.split(b"\n")
    last = lines.pop()
    whole = [line + b"\n" for line in lines]
    return [*whole, last] if last else whole


def changes(
    old: Sequence[bytes], new: Sequence[bytes], effort: Effort | None = None
) -> list[Change]:
    """What differs, first to last; no two of them touch."""
    head = 0
    shorter = min(len(old), len(new))
    while head < shorter and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < shorter - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    # Numbers compare faster than lines.
    ids: dict[bytes, int] = {}
    a = [ids.setdefault(line, len(ids)) for line in old[head : len(old) - tail]]
    b = [ids.setdefault(line, len(ids)) for line in new[head : len(new) - tail]]
    found: list[Change] = []
    x = y = 0
    for match_x, match_y, length in [*_matches(a, b, effort or Effort()), (len(a), len(b), 0)]:
        if match_x > x or match_y > y:
            found.append(Change(head + x, head + match_x, head + y, head + match_y))
        x, y = match_x + length, match_y + length
    return found


def _matches(a: list[int], b: list[int], effort: Effort) -> list[tuple[int, int, int]]:
    """Runs that both have, (place in a, place in b, length), by Myers' greedy search.

    `furthest[k + middle]` is how far in `a` one gets on diagonal k (place in a less place in b).
    """
    if not a or not b:
        return []
    edits_max = min(len(a) + len(b), effort.edits_max())
    middle = edits_max + 1
    furthest = [0] * (2 * middle + 1)
    trail: list[array[int]] = []  # before each round: what it could begin from
    for edits in range(edits_max + 1):
        trail.append(array("i", furthest[middle - edits - 1 : middle + edits + 2]))
        for k in range(-edits, edits + 1, 2):
            at = k + middle
            if k == -edits or (k != edits and furthest[at - 1] < furthest[at + 1]):
                x = furthest[at + 1]
            else:
                x = furthest[at - 1] + 1
            y = x - k
            while x < len(a) and y < len(b) and a[x] == b[y]:
                x += 1
                y += 1
            furthest[at] = x
            if x >= len(a) and y >= len(b):
                effort.steps -= edits**2
                return _backwards(trail, len(a), len(b))
    effort.steps -= edits_max**2
    return []


def _backwards(trail: list[array[int]], x: int, y: int) -> list[tuple[int, int, int]]:
    """The runs of the path that ended at (x, y)."""
    runs: list[tuple[int, int, int]] = []
    for edits in range(len(trail) - 1, 0, -1):
        k = x - y
        below, above = trail[edits][k + edits], trail[edits][k + edits + 2]
        if k == -edits or (k != edits and below < above):
            before_x, start_x = above, above
            before_y = before_x - (k + 1)
        else:
            before_x, start_x = below, below + 1
            before_y = before_x - (k - 1)
        if x > start_x:
            runs.append((start_x, start_x - k, x - start_x))
        x, y = before_x, before_y
    if x:
        runs.append((0, 0, x))
    return runs[::-1]


def hunks(
    old: Sequence[bytes], new: Sequence[bytes], effort: Effort | None = None
) -> Iterator[bytes]:
    """Each hunk of a unified diff, with three lines of context."""
    groups: list[list[Change]] = []
    for change in changes(old, new, effort):
        if groups and change.start - groups[-1][-1].stop <= 2 * CONTEXT_LINES:
            groups[-1].append(change)
        else:
            groups.append([change])
    section, looked_at = b"", 0
    for group in groups:
        start = group[0].start - min(CONTEXT_LINES, group[0].start)
        section = _section(old, looked_at, start) or section
        looked_at = start
        yield _hunk(old, new, group, section)


def _hunk(old: Sequence[bytes], new: Sequence[bytes], group: list[Change], section: bytes) -> bytes:
    first, last = group[0], group[-1]
    before = min(CONTEXT_LINES, first.start)
    after = min(CONTEXT_LINES, len(old) - last.stop)
    start, stop = first.start - before, last.stop + after
    spans = _span(start, stop), _span(first.new_start - before, last.new_stop + after)
    out = [b"@@ -%s +%s @@%s\n" % (*spans, section)]
    at = start
    for change in group:
        out += [_line(b" ", line) for line in old[at : change.start]]
        out += [_line(b"-", line) for line in old[change.start : change.stop]]
        out += [_line(b"+", line) for line in new[change.new_start : change.new_stop]]
        at = change.stop
    out += [_line(b" ", line) for line in old[at:stop]]
    return b"".join(out)


def _span(start: int, stop: int) -> bytes:
    """`line,count`: lines count from 1, an empty span names the line before it."""
    count = stop - start
    first = start + 1 if count else start
    return b"%d" % first if count == 1 else b"%d,%d" % (first, count)


def _section(old: Sequence[bytes], looked_at: int, start: int) -> bytes:
    """The last line above a hunk that begins like a heading: with a letter, `_` or `$`."""
    for at in range(start - 1, looked_at - 1, -1):
        first = old[at][:1]
        if first.isalpha() or first in (b"_", b"$"):
            return b" " + old[at][:SECTION_BYTES_MAX].rstrip()
    return b""


def _line(mark: bytes, line: bytes) -> bytes:
    return mark + line if line.endswith(b"\n") else mark + line + _NO_NEWLINE
