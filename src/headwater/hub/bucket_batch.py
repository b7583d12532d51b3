"""The body of a bucket's batch: NDJSON in, changes out.

    {"type": "addFile", "path", "xetHash", "mtime", "contentType"?}
    {"type": "copyFile", "path", "xetHash", "sourceRepoType", "sourceRepoId", "mtime"?}
    {"type": "deleteFile", "path"}

A line that is not one of these refuses the whole request, naming the line: the sender is confused.
A path or hash that cannot be is reported as that line's failure, and the others go on.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Literal

import msgspec

from headwater.catalog.bucket_batch import Drop, Put
from headwater.errors import BadRequest, HeadwaterError, TooLarge
from headwater.hub.bodies import decode_json
from headwater.names import RepoPath, RepoType, XetHash, shown

LINE_BYTES_MAX = 16 * 2**10  # a path of 1,024 bytes, escaped, and the rest
BATCH_BYTES_MAX = 64 * 2**20
OPERATIONS_MAX = 10_000  # of one transaction; clients send 1,000
CONTENT_TYPE_CHARS_MAX = 200  # the column's width
MTIME_MS_MAX = 2**53  # what JSON carries exactly


class AddFile(msgspec.Struct, frozen=True, tag="addFile", rename="camel"):
    path: str
    xet_hash: str
    mtime: int | None = None
    content_type: str | None = None


class CopyFile(msgspec.Struct, frozen=True, tag="copyFile", rename="camel"):
    path: str
    xet_hash: str
    source_repo_type: Literal["model", "dataset", "space", "kernel", "bucket"]
    source_repo_id: str
    mtime: int | None = None
    content_type: str | None = None


class DeleteFile(msgspec.Struct, frozen=True, tag="deleteFile", rename="camel"):
    path: str


Operation = AddFile | CopyFile | DeleteFile


async def read_batch(
    lines: AsyncIterator[tuple[int, bytes]],
) -> tuple[list[Put | Drop], list[tuple[str, str]]]:
    """(changes to make, failures already certain); BadRequest names a line that is no operation."""
    changes: list[Put | Drop] = []
    failed: list[tuple[str, str]] = []
    async for number, line in lines:
        if len(changes) + len(failed) >= OPERATIONS_MAX:
            raise TooLarge(f"line {number}: at most {OPERATIONS_MAX} operations at once")
        operation = _decode(number, line)
        try:
            changes.append(_change(operation))
        except HeadwaterError as error:
            failed.append((operation.path, error.message))
    if not changes and not failed:
        raise BadRequest("the batch holds no operation; send one JSON object a line")
    return changes, failed


def _decode(number: int, line: bytes) -> Operation:
    try:
        return decode_json(line, Operation)  # type: ignore[arg-type]
    except BadRequest as error:
        raise BadRequest(f"line {number}: {error.message}") from None


def _change(operation: Operation) -> Put | Drop:
    path = RepoPath(operation.path)
    if isinstance(operation, DeleteFile):
        return Drop(path)
    mtime_ms = int(time.time() * 1000) if operation.mtime is None else operation.mtime
    if not 0 <= mtime_ms <= MTIME_MS_MAX:
        raise BadRequest(f"mtime {mtime_ms} is not a time in milliseconds since 1970")
    kind = operation.content_type
    if kind is not None and (len(kind) > CONTENT_TYPE_CHARS_MAX or not kind.isprintable()):
        raise BadRequest(f"content type {shown(kind)} is not one")
    source: tuple[RepoType, str] | None = None
    if isinstance(operation, CopyFile):
        source = operation.source_repo_type, operation.source_repo_id
    return Put(path, XetHash(operation.xet_hash), mtime_ms, kind, source)
