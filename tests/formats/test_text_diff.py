"""Diffs and merges of texts: true by definition, and what git itself would say."""

import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effort import examples
from headwater.formats.text_diff import Effort, changes, hunks, is_binary, lines_of
from headwater.formats.text_merge import merge

LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b" x\n", b"\n"]), max_size=25)
TEXTS = st.tuples(LINES, st.sampled_from([b"", b"end", b"\rend"])).map(
    lambda parts: b"".join(parts[0]) + parts[1]
)
SECONDS_MAX = 5.0


def rebuilt(old: bytes, new: bytes, effort: Effort | None = None) -> bytes:
    """`new`, made of `old` and what `changes` says."""
    a, b = lines_of(old), lines_of(new)
    out, at = [], 0
    for change in changes(a, b, effort):
        assert at <= change.start
        assert change.start < change.stop or change.new_start < change.new_stop
        out += a[at : change.start] + b[change.new_start : change.new_stop]
        at = change.stop
    return b"".join(out + a[at:])


@given(TEXTS, TEXTS)
def test_the_changes_lead_from_old_to_new(old: bytes, new: bytes) -> None:
    assert b"".join(lines_of(old)) == old
    assert rebuilt(old, new) == new
    assert rebuilt(old, new, Effort(0)) == new  # with nothing to spend it is still true
    assert changes(lines_of(old), lines_of(old)) == []


def _lcs(a: list[bytes], b: list[bytes]) -> int:
    """Length of the longest common subsequence, by its definition."""
    row = [0] * (len(b) + 1)
    for line in a:
        before = row[:]
        for at, other in enumerate(b):
            row[at + 1] = before[at] + 1 if line == other else max(row[at], before[at + 1])
    return row[-1]


@given(LINES, LINES)
def test_no_shorter_edit_exists(a: list[bytes], b: list[bytes]) -> None:
    found = changes(a, b)
    edits = sum(c.stop - c.start + c.new_stop - c.new_start for c in found)
    assert edits == len(a) + len(b) - 2 * _lcs(a, b)


def git(folder: Path, *args: str) -> bytes:
    done = subprocess.run(["git", *args], cwd=folder, capture_output=True)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@given(data=st.data())
@settings(max_examples=examples(40), deadline=None)
def test_hunks_are_those_of_git(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where the shortest edit is the only one: lines that are all different."""
    count = data.draw(st.integers(0, 60))
    old = [b"%sline %d\n" % (b"" if n % 3 else b"\t", n) for n in range(count)]
    new = list(old)
    for n in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(new)))
        width = data.draw(st.integers(0, 3))
        new[at : at + width] = [
            b"new %d %d\n" % (n, k) for k in range(data.draw(st.integers(0, 2)))
        ]
    cut = data.draw(st.booleans())
    texts = b"".join(old), b"".join(new)[:-1] if cut else b"".join(new)
    folder = tmp_path_factory.mktemp("diff")
    for name, text in zip(("a", "b"), texts, strict=True):
        (folder / name).write_bytes(text)
    said = git(folder, "diff", "--no-index", "--no-color", "a", "b")
    made = b"".join(hunks(lines_of(texts[0]), lines_of(texts[1])))
    assert made == (said[said.index(b"@@") :] if b"@@" in said else b"")


def test_the_cost_of_strangers_texts_is_bounded() -> None:
    old = [b"%d\n" % (n * 7919 % 10007) for n in range(20_000)]
    new = [b"%d\n" % (n * 104729 % 10009) for n in range(20_000)]
    effort = Effort()
    began = time.monotonic()
    for _ in range(50):
        changes(old, new, effort)
    assert time.monotonic() - began < 2 * SECONDS_MAX
    assert effort.steps <= 0


def test_binary_is_what_git_takes_for_it() -> None:
    assert is_binary(b"a\0b")
    assert not is_binary(b"a" * 8000 + b"\0")
    assert not is_binary("é".encode("latin-1"))


EDITS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 2), st.lists(st.integers(0, 3), max_size=2)),
    max_size=3,
)


def edited(lines: list[bytes], edits: list[tuple[int, int, list[int]]], by: bytes) -> bytes:
    lines = list(lines)
    for at, width, new in edits:
        lines[at : at + width] = [b"%s %d\n" % (by, n) for n in new]
    return b"".join(lines)


@given(count=st.integers(0, 30), mine=EDITS, yours=EDITS, alike=st.booleans())
@settings(max_examples=examples(120), deadline=None)
def test_a_merge_is_that_of_git(
    count: int,
    mine: list[tuple[int, int, list[int]]],
    yours: list[tuple[int, int, list[int]]],
    alike: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """What we merge, git merges to the same bytes; what git cannot, we do not either."""
    base = [b"line %d\n" % n for n in range(count)]
    ours, theirs = edited(base, mine, b"x"), edited(base, yours, b"x" if alike else b"y")
    folder = tmp_path_factory.mktemp("merge")
    for name, text in (("ours", ours), ("base", b"".join(base)), ("theirs", theirs)):
        (folder / name).write_bytes(text)
    done = subprocess.run(
        ["git", "merge-file", "-p", "ours", "base", "theirs"], cwd=folder, capture_output=True
    )
    got = merge(b"".join(base), ours, theirs)
    if got is not None:
        assert done.returncode == 0
        assert got == done.stdout
    if done.returncode:
        assert got is None


def test_changes_apart_are_merged_and_changes_together_are_not() -> None:
    base = b"".join(b"%d\n" % n for n in range(9))
    ours, theirs = base.replace(b"1\n", b"one\n"), base.replace(b"7\n", b"seven\n")
    both = ours.replace(b"7\n", b"seven\n")
    assert merge(base, ours, theirs) == both
    assert merge(base, ours, base) == merge(base, base, ours) == merge(base, ours, ours) == ours
    assert merge(base, both, theirs) == both  # the same change on both sides is one change
    assert merge(base, ours, base.replace(b"1\n", b"uno\n")) is None
    assert merge(base, ours, base.replace(b"2\n", b"two\n")) is None  # they touch
    assert merge(base, base[:-1], base + b"9\n") is None
    assert merge(b"", b"a\n", b"b\n") is None
