"""Git objects, read as strictly as `git fsck --strict` reads them.

    read_commit(body) -> Commit     tree, parents, author, time, message
    read_tag(body)    -> Tag        what it names, and of which kind that is
    read_tree(body)   -> rows       (mode, name, id), sorted, no name twice

Malformed says what is wrong. Names in trees are bytes here: which of them a repo takes is decided
where the path is known. A `Commit` may be read with `strict=False` when it is stored already.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from headwater.errors import Malformed

SHORT_OBJECT_BYTES_MAX = 2**20  # of a commit or tag: they are read whole, and remembered
TREE_BYTES_MAX = 8 * 2**20  # one folder with about 100,000 names
TIME_S_MAX = 4_102_444_800  # the year 2100: a branch's times never run backwards from there
PARENTS_MAX = 1000

SYMLINK = 0o120000
GITLINK = 0o160000
FOLDER = 0o040000
_MODES = {b"100644": 0o100644, b"100755": 0o100755, b"40000": FOLDER, b"120000": SYMLINK,
          b"160000": GITLINK}  # fmt: skip

_ID = rb"[0-9a-f]{40}"
_PERSON = re.compile(rb"[^<>\n\0]* <[^<>\n\0]*> ([0-9]{1,19}) [+-][0-9]{4}\Z")
_COMMIT = re.compile(rb"tree (" + _ID + rb")\n((?:parent " + _ID + rb"\n)*)")
_TAG = re.compile(
    rb"object (" + _ID + rb")\ntype (commit|tree|blob|tag)\ntag ([^\n\0]+)\n(?:tagger ([^\n]*)\n)?"
)


@dataclass(frozen=True, slots=True)
class Commit:
    tree: str
    parents: tuple[str, ...]
    author: str
    at_s: int
    message: str


@dataclass(frozen=True, slots=True)
class Tag:
    target: str
    kind: str


def read_commit(body: bytes, *, strict: bool = True) -> Commit:
    """What a commit says; text that is not UTF-8 is read with replacements."""
    found = _COMMIT.match(body)
    if not found:
        raise Malformed("a commit does not begin with its tree and parents")
    head, blank, message = body[found.end() :].partition(b"\n\n")
    lines = head.split(b"\n")
    if not blank and head.endswith(b"\n"):
        lines.pop()
    if len(lines) < 2 or not lines[0].startswith(b"author "):
        raise Malformed("a commit has no author")
    if not lines[1].startswith(b"committer "):
        raise Malformed("a commit has no committer")
    author, committer = lines[0].removeprefix(b"author "), lines[1].removeprefix(b"committer ")
    if strict:
        _person(author, "author")
        if b"\0" in body:
            raise Malformed("a commit holds a NUL")
        if any(line.startswith((b"tree ", b"parent ")) for line in lines):
            raise Malformed("a commit names its tree or a parent out of place")
    at_s = _person(committer, "committer")
    parents = tuple(line[7:].decode() for line in found[2].splitlines())
    if len(parents) > PARENTS_MAX:
        raise Malformed(f"a commit has over {PARENTS_MAX} parents")
    name = author.split(b" <")[0].decode("utf-8", "replace")
    return Commit(found[1].decode(), parents, name, at_s, message.decode("utf-8", "replace"))


def read_tag(body: bytes) -> Tag:
    """What an annotated tag names."""
    found = _TAG.match(body)
    if not found:
        raise Malformed("a tag does not begin with object, type and tag")
    if found[4] is not None:
        _person(found[4], "tagger")
    rest = body[found.end() :]
    if rest and not rest.startswith(b"\n"):
        raise Malformed("a tag has a line that does not belong there")
    if b"\0" in body:
        raise Malformed("a tag holds a NUL")
    return Tag(found[1].decode(), found[2].decode())


def read_tree(body: bytes) -> Iterator[tuple[int, bytes, str]]:
    """(mode, name, id) of each row; Malformed when git would not have written it so."""
    at, before = 0, b""
    names: set[bytes] = set()
    while at < len(body):
        end = body.find(b"\0", at)
        if end < 0 or end + 21 > len(body):
            raise Malformed("a tree is cut short")
        digits, space, name = body[at:end].partition(b" ")
        mode = _MODES.get(digits)
        if mode is None or not space:
            raise Malformed(f"a tree has the mode {digits[:12]!r}, which git does not write")
        if not name or b"/" in name:
            raise Malformed(f"a tree has the name {name[:40]!r}")
        key = name + b"/" if mode == FOLDER else name
        if name in names or key <= before:
            raise Malformed(f"a tree is out of order, or has a name twice, at {name[:40]!r}")
        names.add(name)
        before = key
        oid = body[end + 1 : end + 21].hex()
        if oid == "0" * 40:
            raise Malformed(f"a tree names nothing under {name[:40]!r}")
        yield mode, name, oid
        at = end + 21


def check(kind: str, body: bytes) -> None:
    """Malformed unless `body` is an object of this kind that git would have written."""
    if kind == "commit":
        read_commit(body)
    elif kind == "tag":
        read_tag(body)
    elif kind == "tree":
        for _ in read_tree(body):
            pass


def _person(line: bytes, what: str) -> int:
    """Seconds since 1970 from `name <email> seconds zone`."""
    found = _PERSON.match(line)
    if not found:
        raise Malformed(f"the {what} of a commit or tag is not `name <email> time zone`")
    at_s = int(found[1])
    if at_s >= TIME_S_MAX:
        raise Malformed(f"the {what}'s time is after the year 2100")
    return at_s
