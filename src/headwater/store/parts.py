"""Uploads in parts: state on disk only, so any worker process may take any part.

    tmp/parts/<upload id>/PLAN       {"size_bytes": …, "part_bytes": …, "oid": null or "…"}
    tmp/parts/<upload id>/data       the file, each part written at its place
    tmp/parts/<upload id>/00001      the etag of part 1, once it came whole

Each writer of a part holds a shared lock on `data`; finishing takes it alone, reads every byte back
for its SHA-256, appends sums and footer, and publishes `data`, which is gone then. So a straggler
can never write into a published blob. `oid` in PLAN is set before that: finishing again then gives
the same blob.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import xxhash

from headwater.errors import BadRequest, DigestMismatch, NotFound
from headwater.names import Digest, shown
from headwater.store.blob import Blob
from headwater.store.chunked import Progress
from headwater.store.containers import PIECE_BYTES
from headwater.store.files import (
    FILE_MODE,
    FOLDER_MODE,
    Buffer,
    disk_error,
    need_space,
    write_all,
    write_file,
    writing,
)
from headwater.store.hashing import FrameSums, Sha256
from headwater.store.layout import Layout
from headwater.store.locks import lock_fd
from headwater.store.plain import Keep, check_promise, plain_tail

PARTS_MAX = 10_000  # S3's limit, which clients expect
FINISH_WAIT_S = 5.0  # for a part whose last byte is here and whose writer is just closing
_UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Plan:
    """What was agreed when the upload began."""

    size_bytes: int
    part_bytes: int
    oid: Digest | None = None  # set once every byte has proven it

    @property
    def parts(self) -> int:
        return max(1, -(-self.size_bytes // self.part_bytes))

    def part(self, number: int) -> tuple[int, int]:
        """Where part `number`, counted from 1, begins and ends."""
        if not 1 <= number <= self.parts:
            raise BadRequest(f"part {number} does not exist; parts are 1 to {self.parts}")
        start = (number - 1) * self.part_bytes
        return start, min(start + self.part_bytes, self.size_bytes)

    def pack(self) -> bytes:
        fields = {"size_bytes": self.size_bytes, "part_bytes": self.part_bytes, "oid": self.oid}
        return json.dumps(fields).encode("ascii")


class Upload:
    """One upload in parts, found by its id."""

    def __init__(self, layout: Layout, upload_id: str) -> None:
        if not _UPLOAD_ID.match(upload_id):
            raise BadRequest(f"upload id {shown(upload_id)} is malformed")
        self._layout = layout
        self._what = f"upload {upload_id}"
        self.folder = f"{layout.parts}/{upload_id}"
        self.data = f"{self.folder}/data"

    def start(self, size_bytes: int, part_bytes: int) -> None:
        """Make room for a file of `size_bytes` in parts of `part_bytes`, the last one shorter."""
        plan = Plan(size_bytes, part_bytes)
        if size_bytes < 0 or part_bytes < 1 or plan.parts > PARTS_MAX:
            raise BadRequest(
                f"{size_bytes} bytes in parts of {part_bytes}: 1 to {PARTS_MAX} parts are allowed"
            )
        need_space(self._layout.tmp, size_bytes)
        with writing(self._what):
            os.makedirs(self._layout.parts, FOLDER_MODE, exist_ok=True)
            try:
                os.mkdir(self.folder, FOLDER_MODE)
            except FileExistsError:
                raise BadRequest(f"{self._what} has begun already") from None
            try:
                fd = os.open(self.data, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
                try:
                    os.ftruncate(fd, size_bytes)
                finally:
                    os.close(fd)
                self._keep_plan(plan)
            except BaseException:
                self.abort()
                raise

    def plan(self) -> Plan:
        """What was agreed; NotFound when the upload never began, was aborted or swept."""
        with writing(self._what):
            try:
                with open(f"{self.folder}/PLAN", "rb") as file:
                    fields = json.load(file)
            except FileNotFoundError:
                raise NotFound(f"{self._what} is not known; begin again") from None
        oid = fields["oid"]
        return Plan(fields["size_bytes"], fields["part_bytes"], Digest(oid) if oid else None)

    def open_data(self, *, shared: bool, wait_s: float) -> int:
        """`data`, open and locked; NotFound when it has become a blob or was dropped."""
        gone = NotFound(f"{self._what} is finished or was aborted")
        with writing(self._what):
            try:
                fd = os.open(self.data, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                raise gone from None
            try:
                lock_fd(fd, shared=shared, wait_s=wait_s, what=self._what)
                with suppress(FileNotFoundError):
                    if os.stat(self.data).st_ino == os.fstat(fd).st_ino:
                        return fd
                raise gone
            except BaseException:
                os.close(fd)
                raise

    def receipt(self, number: int) -> str:
        return f"{self.folder}/{number:05d}"

    def drop_receipt(self, number: int) -> None:
        """Part `number` is sent again: what was here counts no more."""
        with writing(self._what), suppress(FileNotFoundError):
            os.unlink(self.receipt(number))

    def keep_receipt(self, number: int, etag: str) -> None:
        """Record that part `number` is here."""
        path = self.receipt(number)
        aside = f"{path}.{secrets.token_hex(4)}"
        with writing(self._what):
            with open(aside, "w", encoding="ascii") as file:
                file.write(etag)
            os.replace(aside, path)

    def check_etags(self, plan: Plan, etags: Sequence[tuple[int, str]]) -> None:
        """BadRequest unless these are all parts, in order, once, as they were received."""
        if [number for number, _ in etags] != list(range(1, plan.parts + 1)):
            raise BadRequest(f"send parts 1 to {plan.parts}, each once, in order")
        for number, etag in etags:
            try:
                with open(self.receipt(number), encoding="ascii") as file:
                    kept = file.read()
            except FileNotFoundError:
                raise BadRequest(f"part {number} did not arrive; send it again") from None
            if kept != etag:
                raise BadRequest(f"part {number} has etag {kept}, not {shown(etag)}")

    def finish(
        self,
        oid: Digest,
        etags: Sequence[tuple[int, str]],
        keep: Keep,
        progress: Progress | None,
    ) -> Blob | None:
        """The blob, durable; None when it became one earlier. See `Store.finish_parts`."""
        try:
            fd = self.open_data(shared=False, wait_s=FINISH_WAIT_S)
        except NotFound:
            if self.plan().oid == oid:
                return None
            raise
        try:
            plan = self.plan()
            self.check_etags(plan, etags)
            sums = FrameSums()
            got = self._hash(fd, plan.size_bytes, sums, progress)
            check_promise(got, plan.size_bytes, oid, None)
            self._keep_plan(Plan(plan.size_bytes, plan.part_bytes, oid))
            kept = keep(oid)
            if kept is not None:
                os.unlink(self.data)
                return kept
            os.ftruncate(fd, plan.size_bytes)  # a finish that was cut short may have added more
            write_all(fd, plain_tail(sums.finish(), oid, plan.size_bytes), plan.size_bytes)
            self._layout.shelf.publish(fd, self.data, self._layout.plain(oid))
            self._layout.drop_other(oid, "plain")
            return Blob(oid, plan.size_bytes, "plain", None)
        except DigestMismatch:
            self.abort()
            raise
        except OSError as error:
            raise disk_error(error, self._what) from error
        finally:
            os.close(fd)

    def abort(self) -> None:
        """Drop every part. Harmless when there is nothing."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _hash(self, fd: int, size_bytes: int, sums: FrameSums, progress: Progress | None) -> Digest:
        sha256 = Sha256()
        for at in range(0, size_bytes, PIECE_BYTES):
            data = os.pread(fd, min(PIECE_BYTES, size_bytes - at), at)
            sha256.update(data)
            sums.update(memoryview(data))
            if progress is not None:
                progress(at + len(data))
        return sha256.digest()

    def _keep_plan(self, plan: Plan) -> None:
        path = f"{self.folder}/PLAN"
        write_file(self._layout.tmp, path, plan.pack(), self._layout.folders, self._what)


class PartWriter:
    """One part on its way in, at its place. Use it in a `with`: it counts only once finished."""

    def __init__(self, upload: Upload, number: int) -> None:
        self._start, self._end = upload.plan().part(number)
        self._upload = upload
        self._number = number
        self._at = self._start
        self._sum = xxhash.xxh3_128()
        self._fd = upload.open_data(shared=True, wait_s=0)
        upload.drop_receipt(number)

    def write(self, data: Buffer) -> None:
        """The next bytes of the part; DigestMismatch as soon as there are too many."""
        view = memoryview(data).cast("B")
        if self._fd < 0:
            raise BadRequest(f"part {self._number}: writing was given up; send it again")
        if self._at + len(view) > self._end:
            self.abort()
            raise DigestMismatch(
                f"part {self._number}: got more than {self._end - self._start} bytes"
            )
        try:
            write_all(self._fd, view, self._at)
        except OSError as error:
            self.abort()
            raise disk_error(error, f"part {self._number}") from error
        self._sum.update(view)
        self._at += len(view)

    def finish(self) -> str:
        """The part's etag (XXH3-128, hex), without quotes. DigestMismatch when it is too short."""
        if self._at != self._end:
            got_bytes = self._at - self._start
            self.abort()
            raise DigestMismatch(
                f"part {self._number}: got {got_bytes} bytes of {self._end - self._start}"
            )
        etag = self._sum.hexdigest()
        self._upload.keep_receipt(self._number, etag)
        self.abort()
        return etag

    def abort(self) -> None:
        """Stop writing and give the lock back. Harmless after `finish`."""
        fd, self._fd = getattr(self, "_fd", -1), -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    __del__ = abort
