"""What is known of a file by its bytes alone: its kind, whether loading it may run code, and more.

    inspect(read, size_bytes) -> Verdict(kind, status, level, reason, imports, summary)

The kind is told from the bytes and never from the name: a renamed pickle is a pickle. `status` is
`ok` (only what is known to be harmless), `flagged` (it names something else) or `unverified`
(not read, not readable, or of a kind that nobody can vouch for). An error is never `ok`.
`plain` stands for files in which nothing of this was looked for, since nothing loads them as code.
Pure: no file is opened, nothing is imported or run. Meant for a process that may be killed.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from headwater.errors import HeadwaterError, Malformed, TooLarge
from headwater.formats.gguf import KEPT_CHARS_MAX, read_gguf
from headwater.formats.json_dangers import look_at_json
from headwater.formats.pickle_listing import (
    PICKLE_BYTES_MAX,
    Import,
    Listing,
    list_pickle,
    looks_pickled,
)
from headwater.formats.safetensors import read_header
from headwater.formats.zip_listing import ZipSeen, look_into_zip

RULES = 1  # of all verdicts: one that is older is made anew
HEAD_BYTES = 64
JSON_BYTES_MAX = 4 * 2**20  # a config has some KiB, the index of a very large model 3 MB
PROBE_BYTES = 2**20  # of any file, read for a pickle without a mark; more when that is not enough
SAFETENSORS_HEADER_BYTES_MAX = 8 * 2**20
IMPORTS_KEPT_MAX = 100
_PICKLES = frozenset({"pickle", "npy"})
Status = Literal["ok", "flagged", "unverified", "plain"]
Level = Literal["safe", "caution", "suspicious", "unsafe", "unscanned"]
Read = Callable[[int, int], bytes]

# Kinds that can carry code or load other files, and that nobody here takes apart.
_MARKS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x7fELF", "program", "a native program"),
    (b"MZ", "program", "a native program"),
    (b"\xcf\xfa\xed\xfe", "program", "a native program"),
    (b"\x89HDF\r\n\x1a\n", "hdf5", "HDF5 (Keras): layers may hold code"),
    (b"\x1f\x8b", "compressed", "compressed: not looked into"),
    (b"BZh", "compressed", "compressed: not looked into"),
    (b"\xfd7zXZ\x00", "compressed", "compressed: not looked into"),
    (b"\x28\xb5\x2f\xfd", "compressed", "compressed: not looked into"),
    (b"x\x9c", "compressed", "compressed: not looked into"),
    (b"x\xda", "compressed", "compressed: not looked into"),
    (b"x\x01", "compressed", "compressed: not looked into"),
    (b"x\x5e", "compressed", "compressed: not looked into"),
)


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """`imports` are (module, name, safety), the worst first, cut to `IMPORTS_KEPT_MAX`."""

    kind: str
    status: Status
    level: Level
    reason: str = ""
    imports: tuple[tuple[str, str, str], ...] = ()
    summary: dict[str, Any] = {}


def inspect(read: Read, size_bytes: int) -> Verdict:
    """The verdict on a file of `size_bytes` whose bytes `read(start, stop)` gives.

    Never raises for what the bytes are; errors of `read` itself go through.
    """
    found = _by_kind(read, size_bytes)
    if found.status in ("ok", "plain") and found.kind not in _PICKLES:
        return _unless_pickle(found, read, size_bytes)
    return found


def _by_kind(read: Read, size_bytes: int) -> Verdict:
    head = read(0, min(HEAD_BYTES, size_bytes)) if size_bytes else b""
    if head.startswith(b"GGUF"):
        return _gguf(read, size_bytes)
    if looks_pickled(head):
        return _pickle("pickle", read, 0, size_bytes)
    if head.startswith(b"\x93NUMPY"):
        return _npy(read, size_bytes)
    if _is_safetensors(head, size_bytes):
        return _safetensors(read, size_bytes)
    if head.startswith(b"PK") or _ends_as_zip(read, size_bytes):
        return _zip(read, size_bytes, head)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return _json(read, size_bytes)
    for mark, kind, reason in _MARKS:
        if head.startswith(mark):
            return Verdict(kind, "unverified", "caution", reason)
    return Verdict("other", "plain", "unscanned")


def _unless_pickle(found: Verdict, read: Read, size_bytes: int) -> Verdict:
    """`found`, unless the file can be loaded as a pickle as well.

    A pickle of the first protocols has no mark, and can be a valid file of another kind: it is
    followed, and what names something and ends properly, or calls something, is one.
    """
    for most in (PROBE_BYTES, PICKLE_BYTES_MAX):
        data = read(0, min(size_bytes, most))
        listing = list_pickle(data, more_bytes=size_bytes - len(data))
        if listing.is_likely:
            return _verdict_of("pickle", listing)
        if not listing.cut:
            return found
    reason = "its beginning may be that of a pickle, longer than is read here"
    return Verdict(found.kind, "unverified", "caution", reason, summary=found.summary)


def _verdict_of(kind: str, listing: Listing) -> Verdict:
    safeties = {each.safety for each in listing.imports}
    status: Status = "flagged"
    level: Level = "unsafe"
    if "dangerous" not in safeties:
        level = "suspicious"
        if "suspicious" not in safeties:
            status, level = ("ok", "safe") if listing.complete else ("unverified", "caution")
    return Verdict(kind, status, level, listing.reason, _worst_first(listing.imports))


def _worst_first(imports: Iterable[Import]) -> tuple[tuple[str, str, str], ...]:
    order = {"dangerous": 0, "suspicious": 1, "innocuous": 2}
    rows = sorted(imports, key=lambda each: (order[each.safety], each.module, each.name))
    return tuple((each.module, each.name, each.safety) for each in rows[:IMPORTS_KEPT_MAX])


def _pickle(kind: str, read: Read, start: int, size_bytes: int) -> Verdict:
    stop = min(size_bytes, start + PICKLE_BYTES_MAX)
    return _verdict_of(kind, list_pickle(read(start, stop), more_bytes=size_bytes - stop))


def _npy(read: Read, size_bytes: int) -> Verdict:
    """An array; one of Python objects is a pickle behind a header."""
    head = read(0, min(12, size_bytes))
    wide = 2 if head[6:7] == b"\x01" else 4
    length = int.from_bytes(head[8 : 8 + wide], "little")
    start = 8 + wide + length
    if len(head) < 12 or start > size_bytes or length > 65_536:
        return Verdict("npy", "unverified", "caution", "the header of the array is damaged")
    text = read(8 + wide, start)
    if b"O" in text.upper().replace(b"'FORTRAN_ORDER'", b"").replace(b'"FORTRAN_ORDER"', b""):
        return _pickle("npy", read, start, size_bytes)  # `|O`, or a field of that type
    return Verdict("npy", "ok", "safe")


def _is_safetensors(head: bytes, size_bytes: int) -> bool:
    return (
        len(head) > 9
        and head[8:9] == b"{"
        and 2 <= int.from_bytes(head[:8], "little") <= size_bytes - 8
    )


def _safetensors(read: Read, size_bytes: int) -> Verdict:
    try:
        header = read_header(read, size_bytes, header_bytes_max=SAFETENSORS_HEADER_BYTES_MAX)
    except TooLarge as error:
        return Verdict("safetensors", "unverified", "caution", error.message)
    except Malformed as error:
        reason = f"not a valid safetensors file: {error.message}"
        return Verdict("safetensors", "unverified", "caution", reason)
    counts: dict[str, int] = {}
    for tensor in header.tensors:
        elements = 1
        for side in tensor.shape:
            elements *= side
        counts[tensor.dtype] = counts.get(tensor.dtype, 0) + elements
    return Verdict("safetensors", "ok", "safe", summary={"parameters": counts})


def _gguf(read: Read, size_bytes: int) -> Verdict:
    try:
        header = read_gguf(read, size_bytes)
    except TooLarge as error:
        return Verdict("gguf", "unverified", "caution", error.message)
    except Malformed as error:
        reason = f"not a valid GGUF file: {error.message}"
        return Verdict("gguf", "unverified", "caution", reason)
    summary: dict[str, Any] = {"total": header.parameters, "tensors": len(header.tensors)}
    for name in ("architecture", "name", "file_type", "context_length", "chat_template"):
        value = getattr(header, name)
        if value is not None:
            summary[name] = value[:KEPT_CHARS_MAX] if isinstance(value, str) else value
    if "__" in (header.chat_template or ""):
        reason = "its chat template reaches for Python's inner names (`__…`)"
        return Verdict("gguf", "flagged", "suspicious", reason, summary=summary)
    return Verdict("gguf", "ok", "safe", summary=summary)


def _ends_as_zip(read: Read, size_bytes: int) -> bool:
    """Whether an archive's end stands where loaders look for it: prefix junk hides its start."""
    tail = read(max(0, size_bytes - 65_557), size_bytes)
    return b"PK\x05\x06" in tail


def _zip(read: Read, size_bytes: int, head: bytes) -> Verdict:
    try:
        seen = look_into_zip(read, size_bytes)
    except (HeadwaterError, zipfile.BadZipFile, ValueError, EOFError, OSError, RuntimeError) as e:
        reason = e.message if isinstance(e, HeadwaterError) else str(e) or type(e).__name__
        return Verdict("zip", "unverified", "caution", f"archive not read: {reason}"[:200])
    if not head.startswith(b"PK\x03\x04") and not head.startswith(b"PK\x05\x06"):
        seen = ZipSeen(seen.kind, seen.imports, (*seen.doubts, "bytes before the archive"))
    listing = Listing(seen.imports, not seen.doubts, "; ".join(seen.doubts[:3]))
    return _verdict_of(seen.kind, listing)


def _json(read: Read, size_bytes: int) -> Verdict:
    if size_bytes > JSON_BYTES_MAX:
        return Verdict("json", "plain", "unscanned", "too large to look into")
    kind, level, reason = look_at_json(read(0, size_bytes))
    if level == "plain":
        return Verdict(kind, "plain", "unscanned", reason)
    status: Status = "unverified" if level == "caution" else "flagged"
    return Verdict(kind, status, "caution" if level == "caution" else "suspicious", reason)
