"""The commit body: NDJSON in, a `Plan` out.

    {"key": "header", …}  first, once          {"key": "file", …}       content inline
    {"key": "lfsFile", …} by SHA-256           {"key": "deletedFile" | "deletedFolder", …}
    {"key": "deletedEntry", …} either          "oldPath" in a file's line: it moves from there

Lines are read one at a time and inline contents are staged in batches, so a commit of any number
of files needs the memory of one batch. A line that is wrong is named; nothing is saved then. Blank
lines and CR LF are wrong, too: no client sends them, a body that was damaged on its way has them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import msgspec

from headwater.catalog.commits import Change, Plan, PutFile, PutLfs, Remove
from headwater.errors import BadRequest, Malformed, TooLarge
from headwater.hub import wire
from headwater.hub.bodies import check_keys
from headwater.hub.threads import run
from headwater.names import Digest, GitOid, RepoPath, shown

STAGE_BYTES = 8 * 2**20  # staged at once: one transaction, one sync
OPERATIONS_MAX = 100_000
MESSAGE_CHARS_MAX = 200  # of a parser's message, which may repeat the value that it met
_COMMIT = re.compile(r"[0-9A-Fa-f]{5,40}\Z")
Stage = Callable[[list[bytes]], list[GitOid]]  # blocking
T = TypeVar("T")


class CommitReader:
    """Collects the lines of one commit. `stage` keeps contents and returns their git ids."""

    def __init__(self, stage: Stage, regular_bytes_max: int) -> None:
        self._stage = stage
        self._regular_bytes_max = regular_bytes_max
        self._header: wire.CommitHeader | None = None
        self._changes: list[Change | tuple[RepoPath, int]] = []
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._staged: list[GitOid] = []

    async def read(
        self, lines: AsyncIterator[tuple[int, bytes]], revision: str, *, create_pr: bool
    ) -> Plan:
        async for number, line in lines:
            try:
                self._line(line)
            except (BadRequest, TooLarge) as error:
                error.message = f"line {number}: {error.message}"
                error.args = (error.message,)
                raise
            if self._waiting_bytes >= STAGE_BYTES:
                await self._flush()
        await self._flush()
        if self._header is None:
            raise Malformed("the commit has no header line; send {'key': 'header', …} first")
        return Plan(
            revision,
            tuple(self._settled()),
            self._header.summary,
            self._header.description,
            self._header.parent_commit or None,
            create_pr,
        )

    def _line(self, line: bytes) -> None:
        if not line.strip():
            raise Malformed("the line is blank")
        if line.endswith(b"\r"):
            raise Malformed("the line ends in CR LF; lines end in LF alone")
        parsed = _decode(line, wire.CommitLine)
        _check_whole(line)
        if parsed.key == "header":
            if self._header is not None or self._changes:
                raise Malformed("the header must be the first line, and there is one")
            self._header = _decode(parsed.value, wire.CommitHeader)
            _check_parent(self._header.parent_commit)
            return
        if self._header is None:
            raise Malformed("the first line must be the header")
        if len(self._changes) >= OPERATIONS_MAX:
            raise TooLarge(f"a commit has at most {OPERATIONS_MAX} operations; split it")
        match parsed.key:
            case "file":
                self._file(_decode(parsed.value, wire.CommitFile))
            case "lfsFile":
                self._lfs(_decode(parsed.value, wire.CommitLfsFile))
            case "deletedFile":
                path = _decode(parsed.value, wire.CommitDeleted).path
                self._changes.append(Remove(RepoPath(path), folder=False))
            case "deletedFolder" | "deletedEntry":
                path = _decode(parsed.value, wire.CommitDeleted).path
                is_folder = True if parsed.key == "deletedFolder" else None
                self._changes.append(Remove(RepoPath(path.rstrip("/")), is_folder))
            case _:
                raise Malformed(f"unknown key {shown(parsed.key)}")

    def _file(self, value: wire.CommitFile) -> None:
        path = RepoPath(value.path)
        if value.encoding == "base64":
            try:
                content = base64.b64decode(value.content, validate=True)
            except (binascii.Error, ValueError):
                raise Malformed(f"the content of {shown(path)} is not base64") from None
        else:
            content = value.content.encode()
        if len(content) > self._regular_bytes_max:
            raise TooLarge(
                f"{shown(path)} has {len(content)} bytes; inline files have at most "
                f"{self._regular_bytes_max}. Upload it through LFS or Xet."
            )
        self._rename(value.old_path)
        self._changes.append((path, len(self._staged) + len(self._waiting)))
        self._waiting.append(content)
        self._waiting_bytes += len(content)

    def _lfs(self, value: wire.CommitLfsFile) -> None:
        if value.algo != "sha256":
            raise BadRequest(f"algo {shown(value.algo)} is not supported; use sha256")
        if value.size is not None and not 0 <= value.size < 2**63:
            raise BadRequest(f"size {value.size} is not a file size")
        self._rename(value.old_path)
        self._changes.append(PutLfs(RepoPath(value.path), Digest(value.oid), value.size))

    def _rename(self, old_path: str | None) -> None:
        if old_path is not None:
            self._changes.append(Remove(RepoPath(old_path), folder=False))

    async def _flush(self) -> None:
        if self._waiting:
            batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
            self._staged += await run(self._stage, batch)

    def _settled(self) -> list[Change]:
        """The changes with ids in place; of several writes to one path the last counts."""
        settled: list[Change] = []
        at: dict[str, int] = {}
        for change in self._changes:
            made = (
                PutFile(change[0], self._staged[change[1]]) if isinstance(change, tuple) else change
            )
            if not isinstance(made, Remove) and (earlier := at.get(made.path)) is not None:
                settled[earlier] = made
                continue
            if isinstance(made, Remove):
                at.clear()  # what is written after a removal is a new write
            else:
                at[made.path] = len(settled)
            settled.append(made)
        return settled


def _check_parent(parent: str | None) -> None:
    """Whole or its first digits, as the client lets people write it."""
    if parent and not _COMMIT.match(parent):
        raise BadRequest(f"parentCommit {shown(parent)} is not 5 to 40 hex digits of a commit id")


def _check_whole(line: bytes) -> None:
    """What `_decode` passes over: keys that come twice, and fields that nobody asked for."""
    try:
        check_keys(line)
    except (ValueError, RecursionError) as error:
        raise Malformed(shown(str(error), MESSAGE_CHARS_MAX)) from None


def _decode(data: Any, type: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(shown(str(error), MESSAGE_CHARS_MAX)) from None
