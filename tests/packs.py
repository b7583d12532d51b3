"""Packs made by hand: what no git would write, and what it would."""

import hashlib
import zlib
from collections.abc import Sequence

from headwater.formats.git_pack import entry_head, pack_head

WHO = b"Ann <ann@example.org> 1700000000 +0000"
ATTRIBUTES = b"*.bin filter=lfs\n"


def oid_of(kind: str, body: bytes) -> str:
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(body)) + body).hexdigest()


def tree(*rows: tuple[str, bytes, str]) -> bytes:
    """(mode, name, id) in the order given."""
    return b"".join(b"%s %s\0" % (m.encode(), n) + bytes.fromhex(o) for m, n, o in rows)


def commit(tree_oid: str, *parents: str, message: bytes = b"message\n", who: bytes = WHO) -> bytes:
    lines = [b"tree " + tree_oid.encode(), *(b"parent " + p.encode() for p in parents)]
    lines += [b"author " + who, b"committer " + who]
    return b"\n".join(lines) + b"\n\n" + message


def tag(target: str, kind: str = "commit", name: bytes = b"v1") -> bytes:
    return b"object %s\ntype %s\ntag %s\ntagger %s\n\nsaid\n" % (
        target.encode(), kind.encode(), name, WHO,
    )  # fmt: skip


def whole(kind: str, body: bytes, *, says: int | None = None) -> bytes:
    return entry_head(kind, len(body) if says is None else says) + zlib.compress(body)


def number(value: int) -> bytes:
    """A size as differences write it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def delta(base_bytes: int, made_bytes: int, *orders: bytes) -> bytes:
    return number(base_bytes) + number(made_bytes) + b"".join(orders)


def insert(data: bytes) -> bytes:
    return b"".join(
        bytes([len(data[at : at + 127])]) + data[at : at + 127] for at in range(0, len(data), 127)
    )


def copy(start: int, length: int) -> bytes:
    return b"\xff" + start.to_bytes(4, "little") + length.to_bytes(3, "little")


def _typed(kind: int, size: int) -> bytes:
    byte, size = kind << 4 | size & 15, size >> 4
    out = bytearray()
    while size:
        out.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    return bytes([*out, byte])


def from_id(base: str, diff: bytes) -> bytes:
    return _typed(7, len(diff)) + bytes.fromhex(base) + zlib.compress(diff)


def from_offset(back: int, diff: bytes) -> bytes:
    out = [back & 0x7F]
    while back := back >> 7:
        back -= 1
        out.append(back & 0x7F | 0x80)
    return _typed(6, len(diff)) + bytes(reversed(out)) + zlib.compress(diff)


def sealed(body: bytes) -> bytes:
    return body + hashlib.sha1(body).digest()


def pack(entries: Sequence[bytes], *, count: int | None = None) -> bytes:
    return sealed(pack_head(len(entries) if count is None else count) + b"".join(entries))


def history(files: dict[bytes, bytes], *parents: str) -> tuple[str, list[bytes]]:
    """(commit id, entries) of one commit with these files at its root."""
    rows = [("100644", name, oid_of("blob", data)) for name, data in sorted(files.items())]
    root = tree(*rows)
    made = commit(oid_of("tree", root), *parents)
    blobs = [whole("blob", data) for data in files.values()]
    return oid_of("commit", made), [*blobs, whole("tree", root), whole("commit", made)]
