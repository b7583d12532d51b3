"""Git LFS: the batch API, and where its addresses lead.

    POST …/info/lfs/objects/batch      what is there, where to put what is not
    PUT  /lfs/{token}                  one body; the address carries its own right
    PUT  /lfs/{token}/{part}           one part of many; POST /lfs/{token} puts them together
    POST /lfs/{token}/verify           after an upload: is it here? No token is asked for, since
                                       git-lfs sends none to an address of an `authenticated` reply
    POST …/info/lfs/verify             the same, with a token
    GET  /lfs/{token}                  for git-lfs downloads

An object is "already there" only for someone who may link it (catalog/blobs.py); for everybody
else it is to be uploaded, whether or not another repo holds it. The uploaded bytes are hashed
here, and what is kept twice is kept once, silently.
"""

from __future__ import annotations

import hashlib
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.actors import Actor
from headwater.catalog.models import Repo
from headwater.errors import BadRequest, Forbidden, NotFound, TooLarge
from headwater.hub import wire
from headwater.hub.bodies import json_body
from headwater.hub.challenge import challenging
from headwater.hub.context import Hub
from headwater.hub.feed import feed
from headwater.hub.holders import holder, mark
from headwater.hub.replies import base_url, json_reply
from headwater.hub.routing import Route
from headwater.hub.stream import RANGES, BytesReply
from headwater.hub.templates import Params
from headwater.hub.threads import run
from headwater.hub.where import repo_of
from headwater.names import Digest, shown

BATCH_BYTES_MAX = 4 * 2**20
BATCH_OBJECTS_MAX = 1000
COMPLETE_BYTES_MAX = 4 * 2**20
PARTS_MAX = 10_000  # S3's limit, which clients were written for
HASH_ALGOS = ("sha256", "sha_256")  # the second is the JavaScript client's spelling
LFS_JSON = "application/vnd.git-lfs+json"
PUT_TTL_S = 3600  # of an upload address: a slow line needs longer than a read


class LfsRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        rows = []
        for git in (".git", ""):
            at = "/{prefix}{id}" + git + "/info/lfs"
            rows += [
                Route(
                    "POST",
                    at + "/objects/batch",
                    challenging(self.batch),
                    "bytes or propose",
                    body=wire.LfsBatch,
                    media=(LFS_JSON,),
                ),
                Route(
                    "POST",
                    at + "/verify",
                    challenging(self.verify),
                    "propose",
                    body=wire.LfsObject,
                    media=(LFS_JSON,),
                ),
                Route("POST", at + "/locks/verify", challenging(self.locks), "see"),
                Route("POST", at + "/locks", challenging(self.locks), "see"),
                Route("GET", at + "/locks", challenging(self.locks), "see"),
            ]
        return [
            *rows,
            Route("PUT", "/lfs/{token}", self.put, "signed", body=bytes),
            Route("GET", "/lfs/{token}", self.get, "signed", answers=RANGES),
            Route("PUT", "/lfs/{token}/{part}", self.put_part, "signed", body=bytes),
            Route(
                "POST",
                "/lfs/{token}",
                self.complete,
                "signed",
                body=wire.LfsComplete,
                media=(LFS_JSON,),
            ),
            Route(
                "POST",
                "/lfs/{token}/verify",
                self.verify_signed,
                "signed",
                body=wire.LfsObject,
                media=(LFS_JSON,),
            ),
        ]

    async def batch(self, request: Request, params: Params) -> Response:
        body = await json_body(request, wire.LfsBatch, BATCH_BYTES_MAX)
        if body.hash_algo not in HASH_ALGOS:
            raise BadRequest(f"hash_algo {shown(body.hash_algo)} is not supported; use sha256")
        if len(body.objects) > BATCH_OBJECTS_MAX:
            raise TooLarge(f"at most {BATCH_OBJECTS_MAX} objects in one batch")
        return await run(self._batch, request, params, body)

    def _batch(self, request: Request, params: Params, body: wire.LfsBatch) -> Response:
        actor = self.hub.actor(request)
        verb = "bytes" if body.operation == "download" else "propose"
        repo = repo_of(self.hub, actor, params, verb)  # type: ignore[arg-type]
        oids = [Digest(item.oid) for item in body.objects]
        for item in body.objects:
            if not 0 <= item.size <= self.hub.settings.file_bytes_max:
                raise TooLarge(
                    f"{item.size} bytes; the limit is {self.hub.settings.file_bytes_max}"
                )
        base = base_url(request)
        if body.operation == "download":
            answer = [
                self._download(actor, repo, base, oid, item.size)
                for oid, item in zip(oids, body.objects, strict=True)
            ]
            return _lfs_reply({"transfer": "basic", "objects": answer, "hash_algo": "sha256"})
        multipart = "multipart" in body.transfers
        # Clients that can speak Xet leave the choice to the server (huggingface_hub 0.36 to 1.19).
        xet = "xet" in body.transfers and self.hub.settings.xet
        mine = self.hub.catalog.blobs.held(actor, oids)
        answer = []
        for oid, item in zip(oids, body.objects, strict=True):
            entry: dict[str, Any] = {"oid": oid, "size": item.size, "authenticated": True}
            if mine.get(oid) != item.size and not xet:
                entry["actions"] = self._upload(actor, repo, base, oid, item.size, multipart)
            answer.append(entry)
        transfer = "xet" if xet else "multipart" if multipart else "basic"
        return _lfs_reply({"transfer": transfer, "objects": answer, "hash_algo": "sha256"})

    def _download(
        self, actor: Actor, repo: Repo, base: str, oid: Digest, size: int
    ) -> dict[str, Any]:
        entry: dict[str, Any] = {"oid": oid, "size": size, "authenticated": True}
        if self.hub.catalog.blobs.in_repo(repo, oid) != size:
            entry["error"] = {"code": 404, "message": "Object does not exist in this repository"}
            return entry
        token = self.hub.signer.sign(
            "lfs-get",
            {**mark(actor), "repo": repo.id, "oid": oid},
            self.hub.settings.url_ttl_s,
        )
        entry["actions"] = {"download": {"href": f"{base}/lfs/{token}"}}
        return entry

    def _upload(
        self, actor: Actor, repo: Repo, base: str, oid: Digest, size: int, multipart: bool
    ) -> dict[str, Any]:
        settings = self.hub.settings
        what = {**mark(actor), "repo": repo.id, "oid": oid, "size": size}
        verify = {
            "href": f"{base}/lfs/{self.hub.signer.sign('lfs-verify', what, PUT_TTL_S)}/verify"
        }
        if not multipart or size < settings.lfs_multipart_bytes_min:
            token = self.hub.signer.sign("lfs-put", what, PUT_TTL_S)
            return {"upload": {"href": f"{base}/lfs/{token}"}, "verify": verify}
        part_bytes = max(settings.lfs_part_bytes, -(-size // PARTS_MAX))
        # The id holds who uploads, so that two people sending one file do not share a session.
        upload_id = _upload_id(actor, repo, oid, size, part_bytes)
        self.hub.store.start_parts(upload_id, size, part_bytes)
        token = self.hub.signer.sign("lfs-parts", {**what, "upload": upload_id}, PUT_TTL_S)
        href = f"{base}/lfs/{token}"
        header = {"chunk_size": str(part_bytes)}
        header |= {f"{n:05d}": f"{href}/{n}" for n in range(1, -(-size // part_bytes) + 1)}
        return {"upload": {"href": href, "header": header}, "verify": verify}

    def _signed(self, purpose: str, params: Params) -> dict[str, Any]:
        """What a signed address says, with its holder's rights looked up again: it ends when their
        token does (safety rule T5)."""
        what = self.hub.signer.open(purpose, params["token"])
        actor = holder(self.hub, what)
        self.hub.catalog.repos.by_id(actor, what["repo"], "propose")
        return {**what, "actor": actor}

    async def put(self, request: Request, params: Params) -> Response:
        what = await run(self._signed, "lfs-put", params)
        writer = await run(self.hub.store.write_plain, what["size"])
        await feed(request, writer, what["size"])
        blob = await run(writer.finish, Digest(what["oid"]), what["size"])
        await run(self.hub.catalog.blobs.uploaded, what["actor"], blob.oid, blob.size_bytes)
        return Response(status_code=200, headers={"ETag": f'"{blob.oid}"'})

    async def put_part(self, request: Request, params: Params) -> Response:
        what = await run(self._signed, "lfs-parts", params)
        number = _number(params["part"])
        writer = await run(self.hub.store.write_part, what["upload"], number)
        await feed(request, writer, self.hub.settings.file_bytes_max)
        etag = await run(writer.finish)
        return Response(status_code=200, headers={"ETag": f'"{etag}"'})

    async def complete(self, request: Request, params: Params) -> Response:
        body = await json_body(request, wire.LfsComplete, COMPLETE_BYTES_MAX)
        return await run(self._complete, params, body)

    def _complete(self, params: Params, body: wire.LfsComplete) -> Response:
        what = self._signed("lfs-parts", params)
        if body.oid != what["oid"]:
            raise BadRequest("the oid is not the one that this upload was opened for")
        parts = [(part.part_number, part.etag.strip('"')) for part in body.parts]
        blob = self.hub.store.finish_parts(what["upload"], Digest(what["oid"]), parts)
        self.hub.catalog.blobs.uploaded(what["actor"], blob.oid, blob.size_bytes)
        return json_reply({"success": True})

    async def verify(self, request: Request, params: Params) -> Response:
        body = await json_body(request, wire.LfsObject, BATCH_BYTES_MAX)
        return await run(self._verify, request, params, body)

    def _verify(self, request: Request, params: Params, body: wire.LfsObject) -> Response:
        actor = self.hub.actor(request)
        repo_of(self.hub, actor, params, "propose")
        return self._is_held(actor, body)

    async def verify_signed(self, request: Request, params: Params) -> Response:
        body = await json_body(request, wire.LfsObject, BATCH_BYTES_MAX)
        return await run(self._verify_signed, params, body)

    def _verify_signed(self, params: Params, body: wire.LfsObject) -> Response:
        what = self._signed("lfs-verify", params)
        if body.oid != what["oid"]:
            raise BadRequest("the oid is not the one that this address was made for")
        return self._is_held(what["actor"], body)

    def _is_held(self, actor: Actor, body: wire.LfsObject) -> Response:
        oid = Digest(body.oid)
        if self.hub.catalog.blobs.held(actor, [oid]).get(oid) != body.size:
            raise NotFound(f"no upload of yours has the SHA-256 {oid} and {body.size} bytes")
        return _lfs_reply({})

    def get(self, request: Request, params: Params) -> Response:
        """A download address of git-lfs: the reader's rights are looked up again."""
        what = self.hub.signer.open("lfs-get", params["token"])
        actor = holder(self.hub, what)
        repo = self.hub.catalog.repos.by_id(actor, what["repo"], "bytes")
        oid = Digest(what["oid"])
        size = self.hub.catalog.blobs.in_repo(repo, oid)
        if size is None:
            raise Forbidden("this address no longer leads to a file of the repository")
        headers = {"ETag": f'"{oid}"'}
        return BytesReply(
            request,
            lambda start, stop: self.hub.store.read(oid, start, stop),
            size,
            headers=headers,
        )

    async def locks(self, request: Request, params: Params) -> Response:
        """Locking is not offered; git-lfs takes 404 for that and goes on."""
        await run(lambda: repo_of(self.hub, self.hub.actor(request), params))
        raise NotFound("File locking is not supported by this hub.")


def _upload_id(actor: Actor, repo: Repo, oid: Digest, size: int, part_bytes: int) -> str:
    """The same for a batch that is asked again, so that an upload goes on where it stopped."""
    what = f"{actor.user_id}:{repo.id}:{oid}:{size}:{part_bytes}"
    return hashlib.sha256(what.encode()).hexdigest()


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) < 1:
        raise BadRequest(f"part number {shown(text)} is not 1 to {PARTS_MAX}")
    return int(text)


def _lfs_reply(body: dict[str, Any]) -> Response:
    return json_reply(body, headers={"Content-Type": LFS_JSON})
