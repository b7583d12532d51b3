"""Downloads from the CAS: reconstructions, and the bytes that they point to.

    GET  /v2/reconstructions/{file}     which chunks of which xorbs; Range takes a part
    GET  /v1/reconstructions/{file}     the same, as older clients read it
    GET|POST /v1/reconstructions        of several files
    HEAD /v1/files/{file}               Content-Length is the file's size
    GET  /data/{token}                  records of a xorb; the address carries its own right

A file hash opens nothing by itself: the repo of the token must hold the file, or the caller must
have uploaded it just now (safety rule T1). A data address is for one xorb on behalf of one file and
gives only those of its records that the file consists of, for some minutes.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from headwater.errors import BadRequest, Corrupt, Forbidden, NotFound, Stale
from headwater.hub import reconstruct
from headwater.hub.bodies import json_body
from headwater.hub.callers import caller_of
from headwater.hub.context import Hub
from headwater.hub.ranges import Span, parse_range
from headwater.hub.reconstruct import RANGES_PER_URL_MAX, TERMS_MAX, Plan, Run, UrlOf
from headwater.hub.replies import json_reply
from headwater.hub.routing import Params, Route
from headwater.hub.stream import RANGES, BytesReply
from headwater.hub.threads import run
from headwater.hub.xet_access import Access, XetAccess
from headwater.names import Digest, XetHash
from headwater.store import ChunkedFile, XorbIndex

URL_TTL_S_MIN = 60  # shorter, and a client spends its time asking for new addresses
FILES_MAX = 100  # of one batch
BATCH_BYTES_MAX = 64 * 2**10
_DATA = "xet-data"
_RANGE = re.compile(r"\s*(\d{1,10})-(\d{1,10})\s*\Z", re.ASCII)


class FileKey(msgspec.Struct, frozen=True):
    """One file of a batch."""

    hash: str
    prefix: str = "default"


class ReadRoutes:
    def __init__(self, hub: Hub, access: XetAccess) -> None:
        self.hub = hub
        self.access = access

    def routes(self) -> list[Route]:
        at = "/cas/{generation}"
        rows = [
            Route("GET", at + "/v2/reconstructions/{file}", self.v2, "bytes", answers=(200, 416)),
            Route("GET", at + "/data/{token}", self.data, "signed", answers=RANGES),
        ]
        for base in (at + "/v1", at):  # hf_xet 1.2 and older ask without a version
            rows += [
                Route(
                    "GET", base + "/reconstructions/{file}", self.v1, "bytes", answers=(200, 416)
                ),
                Route("GET", base + "/reconstruction/{file}", self.v1, "bytes", answers=(200, 416)),
                Route("GET", base + "/reconstructions", self.batch, "bytes", query=("file_id*",)),
                Route(
                    "POST",
                    base + "/reconstructions",
                    self.batch_posted,
                    "bytes",
                    body=list[FileKey],
                ),
                Route("HEAD", base + "/files/{file}", self.size, "bytes"),
            ]
        return rows

    # What a file is made of

    def v2(self, request: Request, params: Params) -> Response:
        file, plan = self._plan(request, params)
        return json_reply(reconstruct.v2(plan, self._url_of(request, file)))

    def v1(self, request: Request, params: Params) -> Response:
        file, plan = self._plan(request, params)
        return json_reply(reconstruct.v1(plan, self._url_of(request, file)))

    def batch(self, request: Request, params: Params) -> Response:
        return self._batch(request, params, request.query_params.getlist("file_id"))

    async def batch_posted(self, request: Request, params: Params) -> Response:
        keys = await json_body(request, list[FileKey], BATCH_BYTES_MAX)
        return await run(self._batch, request, params, [key.hash for key in keys])

    def _batch(self, request: Request, params: Params, hashes: Sequence[str]) -> Response:
        if len(hashes) > FILES_MAX:
            raise BadRequest(f"{len(hashes)} files; ask for {FILES_MAX} at most")
        files: dict[str, Any] = {}
        found: dict[str, list[Any]] = {}
        terms = 0
        for file in self._files(self._access(request, params), list(dict.fromkeys(hashes))):
            terms += len(file)
            if terms > TERMS_MAX:
                raise BadRequest(f"over {TERMS_MAX} terms together; ask for fewer files")
            plan = reconstruct.plan(file, 0, None, self._index)
            files[file.file_hash] = reconstruct.terms_of(plan)
            info = reconstruct.fetch_info(plan, self._url_of(request, file))
            for xorb, ranges in info.items():
                found.setdefault(xorb, []).extend(ranges)
        return json_reply({"files": files, "fetch_info": found})

    def size(self, request: Request, params: Params) -> Response:
        (file,) = self._files(self._access(request, params), [params["file"]])
        return Response(headers={"Content-Length": str(file.size_bytes)})

    def _plan(self, request: Request, params: Params) -> tuple[ChunkedFile, Plan]:
        access = self._access(request, params)
        (file,) = self._files(access, [params["file"]])
        spans = parse_range(request.headers.get("range"), file.size_bytes)
        if spans is not None and len(spans) > 1:
            raise BadRequest("a reconstruction is of one range; ask once for each")
        start, stop = spans[0] if spans else (0, None)
        if start == 0:
            self._count(request, access, file.oid)
        return file, reconstruct.plan(file, start, stop, self._index)

    def _count(self, request: Request, access: Access, oid: Digest) -> None:
        """A file that is fetched from its beginning is a request for it: newer clients take its
        hash from the tree and never ask for it by its path."""
        path = self.hub.catalog.files.path_of(access.repo, oid)
        if path is not None:
            caller = caller_of(request, access.actor)
            self.hub.catalog.counting.note(access.repo, path, caller, marked=False)

    def _access(self, request: Request, params: Params) -> Access:
        self.access.any_generation(params)
        return self.access.reader(request)

    def _files(self, access: Access, hashes: Sequence[str]) -> Iterator[ChunkedFile]:
        """The files of these hashes; NotFound, in the same words, for one that is unknown and for
        one that the token's repo does not hold."""
        for name in map(XetHash, hashes):
            oid = self.hub.catalog.blobs.readable_file(access.actor, access.repo, name)
            file = None if oid is None else self.hub.store.file(oid)
            if file is None or file.file_hash != name:
                raise NotFound(f"No file {name} in {access.repo.full}.")
            yield file

    def _index(self, xorb: XetHash) -> XorbIndex:
        index = self.hub.store.xorb(xorb)
        if index is None:
            raise Corrupt(f"xorb {xorb} is missing from the store; upload its files again")
        return index

    def _url_of(self, request: Request, file: ChunkedFile) -> UrlOf:
        """Makes the addresses of one reply."""
        base = f"{self.hub.cas_url(request)}/data"
        ttl_s = max(self.hub.settings.url_ttl_s, URL_TTL_S_MIN)

        def url_of(xorb: XetHash, part: int) -> str:
            payload = {"xorb": xorb, "oid": file.oid, "form": self._index(xorb).form, "part": part}
            return f"{base}/{self.hub.signer.sign(_DATA, payload, ttl_s)}"

        return url_of

    # The bytes

    def data(self, request: Request, params: Params) -> Response:
        """Forbidden is what makes a client ask for a new reconstruction: for an address that is
        forged or old, and for a xorb that lies in another form than when it was made."""
        self.access.any_generation(params)
        payload = self.hub.signer.open(_DATA, params["token"])
        file = self.hub.store.file(Digest(payload["oid"]))
        index = self.hub.store.xorb(XetHash(payload["xorb"]))
        if file is None or index is None or index.form != payload["form"]:
            raise Forbidden("These bytes were moved. Ask for a new reconstruction.")
        spans = _spans(request.headers.get("range"), index.stored_bytes)
        _check_used(spans or ((0, index.stored_bytes),), reconstruct.uses(file, index))

        def read(start: int, stop: int) -> Iterator[bytes]:
            try:
                yield from self.hub.store.read_xorb(index.hash, start, stop, index.form)
            except Stale as error:
                raise Forbidden(error.message) from error
            except Corrupt as error:
                raise Corrupt(f"blob {file.oid}: {error.message}") from error

        return BytesReply(request, read, index.stored_bytes, spans=spans)


def _spans(header: str | None, size_bytes: int) -> tuple[Span, ...]:
    """What a client asks of a xorb, in its own order; empty for all of it.

    Stricter than for a file: every range has both ends, they ascend, and there are no more than a
    reconstruction names. So no request is answered with more than the xorb.
    """
    if header is None:
        return ()
    unit, _, rest = header.partition("=")
    found = [_RANGE.match(text) for text in rest.split(",", RANGES_PER_URL_MAX)]
    spans: list[Span] = []
    for match in found:
        start, stop = (int(match[1]), int(match[2]) + 1) if match else (0, 0)
        if not (spans[-1][1] if spans else 0) <= start < stop <= size_bytes:
            break
        spans.append((start, stop))
    if unit.strip().lower() != "bytes" or len(spans) != len(found):
        raise BadRequest("ask for ranges as the reconstruction names them, ascending")
    return tuple(spans)


def _check_used(spans: Sequence[Span], runs: Sequence[Run]) -> None:
    """Forbidden unless each span lies in one run."""
    starts = [run.first_byte for run in runs]
    for start, stop in spans:
        at = bisect_right(starts, start) - 1
        if at < 0 or stop > runs[at].stop_byte:
            raise Forbidden("This address is not for these bytes. Ask for a new reconstruction.")
