"""Plans: what a commit is asked to do, before anyone looked whether it can be done."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from headwater.catalog.actors import Actor
from headwater.names import Digest, GitOid, RepoPath


@dataclass(frozen=True, slots=True)
class PutFile:
    """An ordinary file whose content was staged as git blob `oid`."""

    path: RepoPath
    oid: GitOid


@dataclass(frozen=True, slots=True)
class PutLfs:
    """A large file by SHA-256; the size is checked when given (copies leave it out)."""

    path: RepoPath
    oid: Digest
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Remove:
    path: RepoPath
    folder: bool | None  # None: a file or a folder, whatever is there


Change = PutFile | PutLfs | Remove


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked: these changes, in this order, on top of a branch.

    `parent` is the commit that the caller believes to be its head, whole or its first digits.
    """

    revision: str
    changes: tuple[Change, ...]
    summary: str
    description: str = ""
    parent: str | None = None
    create_pr: bool = False

    @property
    def message(self) -> str:
        return f"{self.summary}\n\n{self.description}" if self.description else self.summary

    def key(self, actor: Actor) -> str:
        """Equal for a retry of the same wish by the same person."""
        what = [
            actor.user_id,
            str(self.revision),
            str(self.parent or ""),
            self.create_pr,
            self.summary,
            self.description,
            [_flat(change) for change in self.changes],
        ]
        return hashlib.sha256(msgspec.msgpack.encode(what)).hexdigest()


def _flat(change: Change) -> list[object]:
    match change:
        case PutFile(path, oid):
            return ["file", str(path), str(oid)]
        case PutLfs(path, digest, size_bytes):
            return ["lfs", str(path), str(digest), size_bytes]
        case Remove(path, folder):
            return ["remove", str(path), folder]
