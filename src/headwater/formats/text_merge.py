"""Three-way merge of texts: what two people made of one text, put together.

    merge(base, ours, theirs) -> bytes, or None where they cannot be put together by rule

A part that one side changed is taken from that side; one that both changed the same way is taken
once. Where both changed the same lines, or lines that touch, a person must decide: no markers are
ever written into a file. Stricter than git in one thing: parts that touch are a conflict even when
some of their lines agree.
"""

from __future__ import annotations

from collections.abc import Sequence

from headwater.formats.text_diff import Change, Effort, changes, lines_of


def merge(base: bytes, ours: bytes, theirs: bytes, effort: Effort | None = None) -> bytes | None:
    """The merged text, or None for a conflict."""
    if ours == theirs or base == theirs:
        return ours
    if base == ours:
        return theirs
    old, left, right = lines_of(base), lines_of(ours), lines_of(theirs)
    merged: list[bytes] = []
    at = 0
    mine, yours = changes(old, left, effort), changes(old, right, effort)
    while mine or yours:
        if not yours or (mine and mine[0].stop < yours[0].start):
            change, new = mine.pop(0), left
        elif not mine or yours[0].stop < mine[0].start:
            change, new = yours.pop(0), right
        elif _same(mine[0], left, yours[0], right):
            change, new = mine.pop(0), left
            yours.pop(0)
        else:
            return None
        merged += old[at : change.start]
        merged += new[change.new_start : change.new_stop]
        at = change.stop
    merged += old[at:]
    if any(not line.endswith(b"\n") for line in merged[:-1]):
        return None  # one side took the last newline away, the other added lines behind it
    return b"".join(merged)


def _same(a: Change, left: Sequence[bytes], b: Change, right: Sequence[bytes]) -> bool:
    return (a.start, a.stop) == (b.start, b.stop) and (
        left[a.new_start : a.new_stop] == right[b.new_start : b.new_stop]
    )
