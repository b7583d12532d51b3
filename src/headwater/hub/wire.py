"""Bodies that clients send, as structs: decoding is checking.

Unknown fields are let through: newer clients send more than older servers know, and Hugging
Face's own server takes them silently.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headwater.errors import BadRequest
from headwater.names import RepoType

Type = Literal["model", "dataset", "space", "kernel"]
Visibility = Literal["public", "private", "protected"]


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Fields are camelCase on the wire."""


class Visible(Wire, frozen=True, kw_only=True):
    """A body that says, in either of two spellings, who may see the repo."""

    visibility: Visibility | None = None
    private: bool | None = None

    @property
    def is_private(self) -> bool | None:
        """None when the client leaves it open. A protected Space hides its code and shows its
        running app: a hub that runs no Spaces would show what the caller meant to hide, or hide
        all of it unasked."""
        if self.visibility == "protected":
            raise BadRequest(
                "This hub runs no Spaces, so none can be 'protected': choose the visibility "
                "'private' to hide it, or 'public'."
            )
        return self.private if self.visibility is None else self.visibility == "private"


class CreateRepo(Visible, frozen=True, kw_only=True):
    name: str
    organization: str | None = None
    type: Type = "model"
    sdk: str | None = None


class DeleteRepo(Wire, frozen=True, kw_only=True):
    name: str
    organization: str | None = None
    type: Type = "model"


class MoveRepo(Wire, frozen=True, kw_only=True):
    from_repo: str
    to_repo: str
    type: RepoType = "model"


class RepoSettings(Visible, frozen=True, kw_only=True):
    gated: Literal["auto", "manual", False] | None = None


class ValidateYaml(Wire, frozen=True, kw_only=True):
    content: str
    repo_type: str = "model"


class PreuploadFile(Wire, frozen=True, kw_only=True):
    path: str
    size: int
    sample: str = ""


class Preupload(Wire, frozen=True, kw_only=True):
    files: list[PreuploadFile]
    git_ignore: str | None = None
    git_attributes: str | None = None


class PathsInfo(Wire, frozen=True, kw_only=True):
    """As documented; a form may send one path, and any text for `expand` (hub/tree.py)."""

    paths: list[str]
    expand: bool = False


class CreateBranch(Wire, frozen=True, kw_only=True):
    starting_point: str | None = None
    empty_branch: bool = False
    overwrite: bool = False


class CreateTag(Wire, frozen=True, kw_only=True):
    tag: str
    message: str | None = None


class LfsObject(Wire, frozen=True, kw_only=True):
    oid: str
    size: int


class LfsBatch(msgspec.Struct, frozen=True, kw_only=True):
    """git-lfs's own names: snake case."""

    operation: Literal["upload", "download"]
    objects: list[LfsObject]
    transfers: list[str] = msgspec.field(default_factory=lambda: ["basic"])
    hash_algo: str = "sha256"
    ref: dict[str, Any] | None = None


class LfsPart(Wire, frozen=True, kw_only=True):
    part_number: int
    etag: str


class LfsComplete(Wire, frozen=True, kw_only=True):
    oid: str
    parts: list[LfsPart]


class CommitLine(msgspec.Struct, frozen=True):
    key: str
    value: msgspec.Raw


class CommitHeader(Wire, frozen=True, kw_only=True):
    summary: str
    description: str = ""
    parent_commit: str | None = None


class CommitFile(Wire, frozen=True, kw_only=True):
    path: str
    content: str
    encoding: Literal["base64", "utf-8"] = "utf-8"
    old_path: str | None = None


class CommitLfsFile(Wire, frozen=True, kw_only=True):
    path: str
    oid: str
    algo: str = "sha256"
    size: int | None = None
    old_path: str | None = None


class CommitDeleted(Wire, frozen=True, kw_only=True):
    path: str
