"""Names: the words every floor uses, checked once where they enter and trusted after.

    Digest    64 hex, SHA-256 of a file's bytes: the only way to name a blob
    XetHash   64 hex, Xet's own text form of a 32-byte hash (see `raw`)
    TensorId  64 hex, BLAKE3 of a tensor's bytes, as it is kept in the store
    GitOid    40 hex, SHA-1 of a git object
    RepoPath  a path inside a repo: NFC, no way out, no look-alike of a control file
    RepoId    type + namespace/name

Each is a `str` that could only have been made by passing its check, so a function that takes a
`Digest` may build a file name from it without looking again. Never repaired, only refused
(safety rules B24-B30); the one exception is Unicode NFC, because two spellings of one name
must be one name.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from dataclasses import dataclass
from typing import Literal, Self, get_args

from headwater.errors import BadRequest, InvalidName, InvalidPath

# A bucket is a repo without history: same owners, rights and names, files but no git.
RepoType = Literal["model", "dataset", "space", "kernel", "bucket"]
REPO_TYPES: tuple[RepoType, ...] = get_args(RepoType)
GIT_TYPES: tuple[RepoType, ...] = tuple(type for type in REPO_TYPES if type != "bucket")

PATH_BYTES_MAX = 1024  # git and object stores go further; file systems of clients do not
SEGMENT_BYTES_MAX = 255  # ext4, APFS, NTFS
NAME_CHARS_MAX = 96  # Hugging Face's limit for a namespace or repo name
REF_BYTES_MAX = 255
PATH_DEPTH_MAX = 64  # each level is a git tree to load; real repos stay under 20

_HEX64 = re.compile(r"[0-9a-f]{64}\Z")
_HEX40 = re.compile(r"[0-9a-f]{40}\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}\Z")
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
# Characters that HFS+ and some readers drop: `.g<ZWNJ>it` must not pass as a harmless name.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8]"
)
_RESERVED_SEGMENTS = frozenset({".git", ".gitmodules", ".hub", "git~1"})
# Words that are routes: a namespace of that name could never be reached.
RESERVED_NAMES = frozenset(
    "api datasets spaces models kernels buckets cas raw resolve settings login logout join new "
    "docs metrics health healthz static assets lfs avatars oauth v1 v2 organizations orgs users "
    "user tasks papers collections posts search uploads none null undefined me robots.txt "
    "favicon.ico".split()
)


class Digest(str):
    """SHA-256 of a file's bytes, 64 lower-case hex digits."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if not isinstance(text, str) or not _HEX64.match(text):
            raise BadRequest(f"not a SHA-256: {shown(text)}; send 64 lower-case hex digits")
        return str.__new__(cls, text)


class XetHash(str):
    """A Xet hash in text form: four little-endian u64, each printed as 16 hex digits."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if not isinstance(text, str) or not _HEX64.match(text):
            raise BadRequest(f"not a Xet hash: {shown(text)}; send 64 lower-case hex digits")
        return str.__new__(cls, text)

    @classmethod
    def of_raw(cls, raw: bytes) -> Self:
        """From 32 raw bytes, as they lie in binary formats."""
        return str.__new__(cls, "".join(f"{word:016x}" for word in struct.unpack("<4Q", raw)))

    @property
    def raw(self) -> bytes:
        """The 32 raw bytes, as they lie in binary formats."""
        return struct.pack("<4Q", *(int(self[i : i + 16], 16) for i in (0, 16, 32, 48)))


class TensorId(str):
    """BLAKE3-256 of a tensor's raw bytes, 64 lower-case hex digits."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if not isinstance(text, str) or not _HEX64.match(text):
            raise BadRequest(f"not a BLAKE3 hash: {shown(text)}; send 64 lower-case hex digits")
        return str.__new__(cls, text)

    @classmethod
    def of_raw(cls, raw: bytes) -> Self:
        """From 32 raw bytes, as they lie in binary formats."""
        return str.__new__(cls, raw.hex())

    @property
    def raw(self) -> bytes:
        """The 32 raw bytes."""
        return bytes.fromhex(self)


class GitOid(str):
    """SHA-1 of a git object, 40 lower-case hex digits."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if not isinstance(text, str) or not _HEX40.match(text):
            raise BadRequest(f"not a git object id: {shown(text)}; send 40 lower-case hex digits")
        return str.__new__(cls, text)


class RepoPath(str):
    """A file's path inside a repo, `/`-separated, NFC, relative, safe on every file system."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if not isinstance(text, str):
            raise InvalidPath(f"a path must be text, not {type(text).__name__}")
        try:
            raw = text.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidPath(f"path {shown(text)} is not valid Unicode") from None
        text = unicodedata.normalize("NFC", text)
        if not raw or len(text.encode("utf-8")) > PATH_BYTES_MAX:
            raise InvalidPath(f"a path has 1 to {PATH_BYTES_MAX} bytes; this one has {len(raw)}")
        segments = text.split("/")
        if len(segments) > PATH_DEPTH_MAX:
            raise InvalidPath(f"a path has at most {PATH_DEPTH_MAX} folders: {shown(text)}")
        for segment in segments:
            _check_segment(segment, text)
        return str.__new__(cls, text)

    @property
    def segments(self) -> list[str]:
        return self.split("/")

    @property
    def name(self) -> str:
        return self.rsplit("/", 1)[-1]

    def folded(self) -> str:
        """The form in which case-insensitive file systems see it: equal means collision."""
        return unicodedata.normalize("NFC", self.casefold())


def _check_segment(segment: str, path: str) -> None:
    """Refuse one segment, saying which disaster it would be."""
    where = f"in path {shown(path)}"
    if segment in ("", ".", ".."):
        raise InvalidPath(f"segment {segment!r} {where}: empty, '.' and '..' are refused")
    if len(segment.encode("utf-8")) > SEGMENT_BYTES_MAX:
        raise InvalidPath(f"a segment {where} is over {SEGMENT_BYTES_MAX} bytes")
    for char in segment:
        if char == "\\" or ord(char) < 32 or 127 <= ord(char) < 160:
            raise InvalidPath(f"character {char!r} {where} is refused")
        if char in _BIDI:
            raise InvalidPath(f"text-direction mark U+{ord(char):04X} {where} is refused")
    if segment[-1] in ". ":
        raise InvalidPath(f"segment {shown(segment)} {where} ends in a dot or space")
    bare = _IGNORABLE.sub("", unicodedata.normalize("NFKC", segment)).lower()
    if bare in _RESERVED_SEGMENTS or bare in ("", ".", "..") or "/" in bare:
        raise InvalidPath(f"segment {shown(segment)} {where} is reserved or looks like it")


@dataclass(frozen=True, slots=True)
class RepoId:
    """A repo's type and name. Lookup ignores case; the case first given is kept."""

    type: RepoType
    namespace: str
    name: str

    @classmethod
    def parse(cls, type: RepoType, text: str) -> RepoId:
        """From `namespace/name`; refuses what could not be created here."""
        namespace, slash, name = text.partition("/")
        if not slash:
            raise InvalidName(f"repo name {shown(text)} needs a namespace: write namespace/name")
        return cls(type, check_name(namespace, "namespace"), check_name(name, "repo name"))

    @property
    def full(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def key(self) -> str:
        """What is unique: two repos of one type never share it."""
        return self.full.lower()

    @property
    def prefix(self) -> str:
        return url_prefix(self.type)

    def __str__(self) -> str:
        return self.prefix + self.full


def url_prefix(type: RepoType) -> str:
    """What stands before a repo's name in a URL: '' for a model, else 'datasets/' and so on."""
    return "" if type == "model" else f"{type}s/"


def check_name(text: str, what: str) -> str:
    """A namespace or repo name by Hugging Face's rule, or InvalidName saying why not."""
    if not isinstance(text, str) or not _NAME.match(text):
        raise InvalidName(
            f"{what} {shown(text)}: 1 to {NAME_CHARS_MAX} letters, digits, '-', '_', '.', "
            "beginning with a letter or digit"
        )
    if "--" in text or ".." in text or text[-1] in ".-":
        raise InvalidName(f"{what} {shown(text)} may not hold '--' or '..' or end in '-' or '.'")
    if text.lower().endswith((".git", ".ipynb")):
        raise InvalidName(f"{what} {shown(text)} may not end in .git or .ipynb")
    if what != "repo name" and text.lower() in RESERVED_NAMES:
        raise InvalidName(f"{what} {shown(text)} is reserved; choose another")
    return text


_REF_BAD = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock(/|\Z)|(^|/)\.|\.\Z|/\Z|^/")


def check_ref_part(text: str, what: str = "branch") -> str:
    """A branch or tag name by git's `check-ref-format`, stricter: not `refs/…`, not a commit id."""
    try:
        name = unicodedata.normalize("NFC", text) if isinstance(text, str) else ""
        size_bytes = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        size_bytes = 0
    if (
        not 0 < size_bytes <= REF_BYTES_MAX
        or _REF_BAD.search(name)
        or name.startswith(("refs/", "-"))
        or name in ("@", "HEAD")
        or _HEX40.match(name)
        or any(c in _BIDI for c in name)
    ):
        raise InvalidName(f"Invalid reference for a {what}: {shown(text)}")
    return name


def shown(text: object, limit: int = 80) -> str:
    """A piece of someone else's text, fit for a message: escaped, cut, ASCII."""
    body = ascii(text)
    return body if len(body) <= limit else body[:limit] + "...'"
