"""The manifest: what is in a bundle, and the SHA-256 of every byte of it.

    Manifest         as JSON, the first member
    read(raw)        checked in itself: known paths only, each once, in order, everything named
    sums(…)          `manifest.sha256`, as sha256sum writes it

Members come in this order: manifest.json, manifest.sha256, manifest.sig when it is signed, git
histories, packed blobs, plain blobs, tensors with parents before children.
"""

from __future__ import annotations

import re
from hashlib import sha256

import msgspec

from headwater.catalog.repos import GATES, SDK_CHARS_MAX
from headwater.errors import Malformed, Refused
from headwater.names import GIT_TYPES, Digest, GitOid, RepoId, RepoType, shown

FORMAT = "headwater-bundle"
VERSION = 1
NAME, SUMS, SIGNATURE = "manifest.json", "manifest.sha256", "manifest.sig"
MANIFEST_BYTES_MAX = 256 * 2**20  # a million members
REPOS_MAX = 1_000
SIZE_MAX = 2**63 - 1
SIGNATURE_BYTES_MAX = 64 * 2**10  # ours have under 2 KiB

_KINDS = (
    re.compile(r"git/(\d{1,4})\.bundle\Z"),
    re.compile(r"blobs/([0-9a-f]{64})\.packed\Z"),
    re.compile(r"blobs/([0-9a-f]{64})\.plain\Z"),
    re.compile(r"tensors/([0-9a-f]{64})\.tensor\Z"),
)
GIT, PACKED, PLAIN, TENSOR = range(len(_KINDS))
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Nothing may be in a manifest that this release does not know."""


class File(Strict, frozen=True):
    """A large file that a repo's history names, and whose bytes are in the bundle."""

    oid: str
    bytes: int


class RepoPart(Strict, frozen=True):
    """One repo. Its card, files and branches are in its git history."""

    type: RepoType
    name: str
    private: bool
    gated: str
    sdk: str | None
    git: str  # the member with its history
    files: tuple[File, ...]
    gone: tuple[str, ...]  # SHA-256 of large files taken out for good: named, and not here
    texts: tuple[str, ...]  # git ids of ordinary files that merely read like LFS pointers

    @property
    def rid(self) -> RepoId:
        return RepoId.parse(self.type, self.name)


class Member(Strict, frozen=True):
    path: str
    bytes: int
    sha256: str


class Manifest(Strict, frozen=True):
    format: str
    version: int
    created: str  # ISO 8601, UTC
    by: str  # the program
    signed: bool
    repos: tuple[RepoPart, ...]
    members: tuple[Member, ...]


def sums(manifest: bytes, signature: bytes | None) -> bytes:
    """What `sha256sum -c` checks."""
    lines = f"{sha256(manifest).hexdigest()}  {NAME}\n"
    if signature is not None:
        lines += f"{sha256(signature).hexdigest()}  {SIGNATURE}\n"
    return lines.encode()


def kind_of(path: str) -> tuple[int, str]:
    """(GIT, PACKED, PLAIN or TENSOR, what it is named by); Malformed for any other path."""
    for kind, pattern in enumerate(_KINDS):
        found = pattern.match(path)
        if found:
            return kind, found[1]
    raise Malformed(f"the bundle names a member {shown(path)}, which no bundle has")


def read(raw: bytes) -> Manifest:
    """A manifest that is right in itself. Refused when it is of a later version."""
    try:
        version = msgspec.json.decode(raw, type=_Version)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"the manifest cannot be read: {error}") from None
    if version.format != FORMAT:
        raise Malformed(f"this is a {shown(version.format)}, not a {FORMAT}")
    if version.version != VERSION:
        raise Refused(f"a bundle of version {version.version}; this Headwater reads {VERSION}")
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"the manifest cannot be read: {error}") from None
    _check_members(manifest)
    _check_repos(manifest)
    return manifest


class _Version(msgspec.Struct):
    format: str
    version: int


def _check_members(manifest: Manifest) -> None:
    """Known paths, each once, kinds in order."""
    seen: set[str] = set()
    last = GIT
    for member in manifest.members:
        kind, _ = kind_of(member.path)
        if member.path in seen:
            raise Malformed(f"the manifest names {member.path} twice")
        if kind < last:
            raise Malformed(f"the manifest names {member.path} out of order")
        if not 0 < member.bytes <= SIZE_MAX or not _SHA256.match(member.sha256):
            raise Malformed(f"the manifest's row of {member.path} is out of range")
        seen.add(member.path)
        last = kind


def _check_repos(manifest: Manifest) -> None:
    """Repos that could be here, each once; every member belongs to one, every file has one."""
    if not 0 < len(manifest.repos) <= REPOS_MAX:
        raise Malformed(f"a bundle has 1 to {REPOS_MAX} repos, not {len(manifest.repos)}")
    paths = [member.path for member in manifest.members]
    there = {name: kind for kind, name in map(kind_of, paths) if kind in (PACKED, PLAIN)}
    if len(there) != sum(path.startswith("blobs/") for path in paths):
        raise Malformed("the manifest has a blob in two layouts")
    if [part.git for part in manifest.repos] != [p for p in paths if p.startswith("git/")]:
        raise Malformed("the manifest's repos and their git histories do not fit")
    sizes: dict[str, int] = {}
    names: set[tuple[str, str]] = set()
    for part in manifest.repos:
        _check_repo(part)
        if (part.type, part.name.lower()) in names:
            raise Malformed(f"the manifest names {shown(part.name)} twice")
        names.add((part.type, part.name.lower()))
        for file in part.files:
            if sizes.setdefault(file.oid, file.bytes) != file.bytes or file.bytes < 0:
                raise Malformed(f"the manifest says two sizes of blob {shown(file.oid)}")
    if sizes.keys() != there.keys():
        odd = min(sizes.keys() ^ there.keys())
        raise Malformed(f"the manifest's files and blobs do not fit: {shown(odd)}")


def _check_repo(part: RepoPart) -> None:
    if part.type not in GIT_TYPES or part.gated not in GATES:
        raise Malformed(f"the manifest says what cannot be of {shown(part.name)}")
    if part.sdk is not None and not (len(part.sdk) <= SDK_CHARS_MAX and part.sdk.isprintable()):
        raise Malformed(f"the manifest's sdk of {shown(part.name)} is out of range")
    _ = part.rid  # refused when it could not be created here
    for text in part.gone:
        Digest(text)
    for text in part.texts:
        GitOid(text)
