"""Git's globs as regular expressions that cannot be made slow.

    matcher(pattern) -> a function that tells whether a whole path matches

Format: the pattern part of gitignore(5), `wildmatch.c` with WM_PATHNAME; bytes, as git compares.
Patterns come from strangers, and a careless translation of `*a*a*a*b` takes years to fail. Here a
`*` becomes an atomic group up to the next fixed piece, which never has to be tried again, so a
match costs at most pattern times path.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from headwater.errors import Malformed
from headwater.names import shown

PATTERN_BYTES_MAX = 512  # half of the longest path
WILDCARDS_MAX = 8  # in one pattern; real ones have one or two

_NAMED = re.compile(rb"\[:([^\]]*):\]")
_WILD = (b"*", b"?", b"[", b"\\")
_CLASS_NAMES = {
    b"alnum": rb"0-9A-Za-z", b"alpha": rb"A-Za-z", b"blank": rb" \t", b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": rb"0-9", b"graph": rb"!-~", b"lower": rb"a-z", b"print": rb" -~",
    b"punct": rb"!-/:-@\[-`{-~", b"space": rb" \t\n\r\f\v", b"upper": rb"A-Z",
    b"xdigit": rb"0-9A-Fa-f",
}  # fmt: skip


def matcher(pattern: bytes) -> Callable[[bytes], object]:
    """A function that tells whether a whole path, without a slash at either end, matches.

    A pattern without a slash speaks of the last segment only. Malformed over the limits above.
    """
    if len(pattern) > PATTERN_BYTES_MAX:
        raise Malformed(f"git pattern of {len(pattern)} bytes; the limit is {PATTERN_BYTES_MAX}")
    if pattern.count(b"*") > WILDCARDS_MAX:
        raise Malformed(f"git pattern {shown(pattern)} has more than {WILDCARDS_MAX} wildcards")
    suffix = pattern[1:]
    if pattern.startswith(b"*") and not re.search(rb"[*?\[\\/]", suffix):
        return lambda raw: raw.endswith(suffix)  # `*.bin`: most rules there are
    try:
        items = _items(pattern.removeprefix(b"/"))
        source = _path(items) if b"/" in pattern else _segment(items)
    except ValueError:  # an open `[` or a `\` at the end: git matches nothing by it
        return lambda raw: False
    whole = re.compile(source, re.DOTALL).fullmatch
    return whole if b"/" in pattern else lambda raw: whole(raw, raw.rfind(b"/") + 1)


def _items(pattern: bytes) -> list[bytes]:
    """The pattern cut into `*` and `**` (so is a longer run), classes, escapes and single bytes.

    ValueError when it cannot match anything.
    """
    items, at = [], 0
    while at < len(pattern):
        byte, end = pattern[at : at + 1], at + 1
        if byte == b"\\":
            end = at + 2
        elif byte == b"[":
            end = _class_end(pattern, at)
        elif byte == b"*":
            end = len(pattern) - len(pattern[at:].lstrip(b"*"))
        items.append(b"**" if pattern[at:end].startswith(b"**") else pattern[at:end])
        at = end
    if items and items[-1] == b"\\":
        raise ValueError("nothing after a backslash")
    return items


def _path(items: list[bytes]) -> bytes:
    """A regular expression for a whole path."""
    # Git compares what stands before the first wildcard apart, so `**` after it counts as first.
    wild = next((at for at, item in enumerate(items) if item[:1] in _WILD), 0)
    if wild and items[wild] == b"**" and items[wild + 1 : wild + 2] in ([], [b"/"]):
        return re.escape(b"".join(items[:wild])) + _path(items[wild:])
    segments = _split(items, lambda item: item == b"/")
    runs: list[list[bytes]] = [[]]  # segments between `**`, which stands for any number of folders
    for segment in segments[:-1]:
        if segment == [b"**"]:
            runs.append([])
        else:
            runs[-1].append(_segment(segment) + b"/")
    last = b".*" if segments[-1] == [b"**"] else _segment(segments[-1])
    first, *later = (b"".join(run) for run in runs)
    if not later:
        return first + last
    # The first place where a middle run fits is as good as any later one, so it is never left.
    *middle, final = later
    atoms = b"".join(b"(?>(?:[^/]*/)*?" + run + b")" for run in middle)
    return first + atoms + b"(?:[^/]*/)*?" + final + last


def _segment(items: list[bytes]) -> bytes:
    """One segment between slashes. The last star may try again, those before never need to."""
    first, *later = (
        b"".join(map(_one_byte, piece)) for piece in _split(items, lambda item: item[:1] == b"*")
    )
    if not later:
        return first
    *middle, last = later
    return first + b"".join(b"(?>[^/]*?" + piece + b")" for piece in middle) + b"[^/]*" + last


def _split(items: list[bytes], is_border: Callable[[bytes], bool]) -> list[list[bytes]]:
    parts: list[list[bytes]] = [[]]
    for item in items:
        if is_border(item):
            parts.append([])
        else:
            parts[-1].append(item)
    return parts


def _one_byte(item: bytes) -> bytes:
    """An expression for an item that stands for exactly one byte of a path."""
    if item == b"?":
        return b"[^/]"
    if item[:1] == b"[" and len(item) > 1:
        return _class(item[1:-1])
    return re.escape(item.removeprefix(b"\\") if len(item) > 1 else item)


def _class_end(text: bytes, at: int) -> int:
    """The offset after the bracket that closes the one at `at`; ValueError when none does."""
    at += 1
    at += text[at : at + 1] in (b"!", b"^")
    first = True
    while first or text[at : at + 1] != b"]":
        first = False
        if at >= len(text):
            raise ValueError("an open bracket")
        named = _NAMED.match(text, at)
        at = named.end() if named else at + 1 + (text[at : at + 1] == b"\\")
    return at + 1


def _class(inside: bytes) -> bytes:
    """What stands between brackets, as one byte that is not a slash."""
    negative = inside.startswith((b"!", b"^"))
    inside = inside[negative:]
    items, at = [], 0
    while at < len(inside):
        if named := _NAMED.match(inside, at):
            if named[1] not in _CLASS_NAMES:
                raise ValueError("an unknown class")
            items.append(_CLASS_NAMES[named[1]])
            at = named.end()
            continue
        low, at = _class_byte(inside, at)
        high = low
        if inside[at : at + 1] == b"-" and at + 1 < len(inside):
            high, at = _class_byte(inside, at + 1)
        # Of a range that runs backwards, git still reads the first byte.
        items.append(re.escape(low) + b"-" + re.escape(max(low, high)))
    return b"(?!/)[" + (b"^" if negative else b"") + b"".join(items) + b"]"


def _class_byte(inside: bytes, at: int) -> tuple[bytes, int]:
    """One byte of a class, escaped or not, and the offset after it."""
    at += inside[at : at + 1] == b"\\"
    return inside[at : at + 1], at + 1
