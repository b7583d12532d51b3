"""What the catalog hands out: plain frozen records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from headwater.names import Digest, GitOid, RepoPath, RepoType, XetHash, url_prefix


@dataclass(frozen=True, slots=True)
class Repo:
    id: int
    hub_id: str
    type: RepoType
    owner_id: int
    namespace: str
    name: str
    key: str
    creator_id: int | None
    private: bool
    gated: str
    disabled: bool
    created_ms: int
    updated_ms: int
    sdk: str | None
    pipeline_tag: str | None
    library_name: str | None
    card: str  # JSON
    config: str  # JSON
    tags: str  # JSON
    downloads: int
    downloads_all: int
    likes: int
    trending: int
    parameters: int | None
    weights: str  # JSON

    @classmethod
    def of(cls, row: Sequence[Any]) -> Repo:
        """From a row that begins with the columns of `schema.repo`: they stand in this order."""
        return cls(*row[:REPO_COLUMNS])

    @property
    def full(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def prefix(self) -> str:
        return url_prefix(self.type)


REPO_COLUMNS = len(fields(Repo))


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision that was found: the commit, and the ref that led to it, if any."""

    commit: GitOid
    tree: GitOid
    ref: str | None


@dataclass(frozen=True, slots=True)
class Lfs:
    """The bytes behind an LFS pointer; `gone` when they were deleted from the repo for good."""

    oid: Digest
    size_bytes: int
    pointer_bytes: int
    xet_hash: XetHash | None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a commit. `oid` is git's: of the blob (the pointer, for LFS) or of the tree."""

    path: RepoPath
    kind: str  # file | directory
    oid: GitOid
    size_bytes: int
    lfs: Lfs | None = None

    @property
    def etag(self) -> str:
        """What names the content: SHA-256 for LFS, git's id for ordinary files."""
        return self.lfs.oid if self.lfs else self.oid


@dataclass(frozen=True, slots=True)
class CommitInfo:
    oid: GitOid
    parents: tuple[GitOid, ...]
    tree: GitOid
    message: str
    author: str
    at_ms: int

    @property
    def title(self) -> str:
        return self.message.split("\n", 1)[0]

    @property
    def body(self) -> str:
        return self.message.partition("\n")[2].strip("\n")
