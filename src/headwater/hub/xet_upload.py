"""Uploads to the CAS, first half: "who has this chunk?", xorbs, grants, telemetry.

    GET  /v1/chunks/{domain}/{chunk}                    a shard of xorbs worth knowing, or 404
    POST /v1/xorbs/{domain}/{xorb}                      a xorb, verified as it arrives
    POST /v1/xorb-grants/{domain}/{xorb}                an address to put it at, where that is on
    PUT  /grants/{token}                                there
    POST /v1/xorb-commits/{domain}/{xorb}/grant/{id}    done

Answers tell nothing of what others store: a xorb is taken in full and called inserted, whether
or not it was known (safety rule T2), and a chunk is found only in files that the caller may read.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.actors import Actor
from headwater.errors import BadRequest, Corrupt, Forbidden, NotFound
from headwater.formats.xet_hash import is_dedup_eligible
from headwater.formats.xet_shard import build_dedup_shard
from headwater.formats.xorb import FOOTER_BYTES_MAX, XORB_STORED_BYTES_MAX
from headwater.hub import reconstruct
from headwater.hub.bodies import declared_bytes, json_body, read_body
from headwater.hub.context import Hub
from headwater.hub.feed import feed
from headwater.hub.replies import base_url, json_reply
from headwater.hub.routing import Params, Route
from headwater.hub.threads import run
from headwater.hub.xet_access import XetAccess
from headwater.hub.xet_slots import Slots
from headwater.names import Digest, XetHash
from headwater.store import XorbIndex

log = logging.getLogger(__name__)

XORB_BODY_BYTES_MAX = XORB_STORED_BYTES_MAX + FOOTER_BYTES_MAX  # hf_xet 1.1 sends a footer
XORBS_AT_ONCE = 128  # two MiB each while they arrive; one client sends up to 64
OFFERS_MAX = 40  # xorbs in one answer: some 50 KB each
OFFER_S_MAX = 21 * 24 * 3600  # clients keep an answer so long; less where gc's grace is shorter
GRANT_TTL_S = 3600  # a slow line needs longer to write than to read
TELEMETRY_BYTES_MAX = 1 * 2**20
_GRANT = "xet-grant"


class GrantBody(msgspec.Struct, frozen=True):
    """What a client says of the xorb that it wants to put. Its CRC is not looked at: the xorb's
    own hash is checked over every byte."""

    length: int


class UploadRoutes:
    def __init__(self, hub: Hub, access: XetAccess) -> None:
        self.hub = hub
        self.access = access
        self._xorbs = Slots(XORBS_AT_ONCE, "xorbs")

    def routes(self) -> list[Route]:
        at = "/cas/{generation}"
        rows = [
            Route(
                "POST",
                at + "/v1/xorb-grants/{domain}/{xorb}",
                self.grant,
                "write or propose",
                body=GrantBody,
                answers=(201,),
            ),
            Route("PUT", at + "/grants/{token}", self.put, "signed", body=bytes),
            Route(
                "POST",
                at + "/v1/xorb-commits/{domain}/{xorb}/grant/{grant}",
                self.commit,
                "write or propose",
            ),
            Route(
                "POST", at + "/v1/telemetry", self.telemetry, "token", body=bytes, answers=(204,)
            ),
        ]
        # The second pair of words is that of hf_xet 1.1, the second prefix that of 1.2 and older.
        for xorbs, chunks in (("xorbs", "chunks"), ("xorb", "chunk")):
            for base in (at + "/v1", at):
                xorb, chunk = f"{base}/{xorbs}/{{domain}}/{{xorb}}", f"{base}/{chunks}"
                rows += [
                    Route("POST", xorb, self.post, "write or propose", body=bytes),
                    Route("HEAD", xorb, self.head, "token"),
                    Route("GET", chunk + "/{domain}/{chunk}", self.chunk, "token"),
                ]
        return rows

    def chunk(self, request: Request, params: Params) -> Response:
        """Xorbs that the caller may read and that are likely to hold what it is about to send."""
        self.access.current(params)
        actor = self.access.asker(request).actor
        chunk = XetHash(params["chunk"]).raw
        found = []
        for xorb, oids in self.hub.catalog.blobs.offers(actor, chunk, OFFERS_MAX).items():
            index = self._sound(xorb)
            shown = None if index is None else self._shown(index, oids)
            if index is not None and shown is not None:
                self.hub.store.touch_xorb(xorb)  # offered: it stays for as long as the answer does
                lengths = index.raw_lengths.tolist()
                found.append((xorb, shown, lengths, index.stored_bytes))
        if not found:
            raise NotFound("No file that you may read has this chunk.")
        now_s = int(time.time())
        shard = build_dedup_shard(
            found,
            hmac_key=self._key(actor),
            created_s=now_s,
            expiry_s=now_s + min(OFFER_S_MAX, self.hub.settings.gc_grace_s * 3 // 4),
        )
        return Response(shard, media_type="application/octet-stream")

    def _sound(self, xorb: XetHash) -> XorbIndex | None:
        """The xorb's index; None when it cannot be built upon."""
        try:
            return self.hub.store.xorb(xorb)
        except Corrupt as error:
            log.error("not offered for dedup: %s", error.message)
            return None

    def _shown(self, index: XorbIndex, oids: Sequence[Digest]) -> list[bytes] | None:
        """The xorb's chunk hashes, random ones in place of chunks that none of these files uses:
        even a keyed hash would let the asker confirm a guess at somebody's chunk. None when no
        chunk is left."""
        hashes = index.hashes
        shown = [secrets.token_bytes(len(chunk)) for chunk in hashes]
        used = False
        for oid in oids:
            try:
                file = self.hub.store.file(oid)
            except Corrupt as error:
                log.error("not offered for dedup: %s", error.message)
                continue
            for part in reconstruct.uses(file, index) if file is not None else ():
                shown[part.start : part.stop] = hashes[part.start : part.stop]
                used = True
        return shown if used else None

    def _key(self, actor: Actor) -> bytes:
        """Under which a person's answers are written: the same for all, so that their client
        hashes each of its chunks once."""
        mark = self.hub.signer.fingerprint("xet-dedup", {"user": actor.user_id})
        return hashlib.sha256(mark.encode("ascii")).digest()

    def head(self, request: Request, params: Params) -> Response:
        """How long the serialized xorb is, for those to whom `chunk` would offer it."""
        self.access.current(params)
        actor = self.access.asker(request).actor
        xorb = XetHash(params["xorb"])
        index = self._sound(xorb)
        chunks = [] if index is None else index.hashes
        # An unknown xorb is looked for just as a foreign one.
        asked = [xorb.raw, *chunks[:1], *filter(is_dedup_eligible, chunks)]
        offers = (self.hub.catalog.blobs.offers(actor, chunk, OFFERS_MAX) for chunk in asked)
        if index is None or not any(xorb in some for some in offers):
            raise NotFound("No file that you may read has this xorb.")
        return Response(headers={"Content-Length": str(index.stored_bytes)})

    async def post(self, request: Request, params: Params) -> Response:
        """A xorb: whether it was known before is nobody's business."""
        self.access.current(params)
        await run(self.access.writer, request)
        await self._take(request, XetHash(params["xorb"]))
        return json_reply({"was_inserted": True})

    async def _take(self, request: Request, xorb: XetHash) -> None:
        async with self._xorbs.one():
            writer = await run(self.hub.store.write_xorb, xorb)
            await feed(request, writer, XORB_BODY_BYTES_MAX)
            await run(writer.finish)

    async def grant(self, request: Request, params: Params) -> Response:
        """An address that takes one xorb. 404 where grants are off: clients then post it."""
        self.access.current(params)
        if not self.hub.settings.xet_grants:
            raise NotFound("This hub gives no upload grants. Post the xorb.")
        body = await json_body(request, GrantBody)
        access = await run(self.access.writer, request)
        if not 0 < body.length <= XORB_BODY_BYTES_MAX:
            raise BadRequest(f"a xorb has 1 to {XORB_BODY_BYTES_MAX} bytes, not {body.length}")
        xorb = XetHash(params["xorb"])
        grant = self.access.sign(_GRANT, access, GRANT_TTL_S, xorb=xorb, length=body.length)
        url = f"{base_url(request)}/cas/g{self.hub.store.generation}/grants/{grant}"
        return json_reply({"id": grant, "method": "PUT", "url": url, "headers": {}}, status=201)

    async def put(self, request: Request, params: Params) -> Response:
        """A xorb under a grant: verified and kept here, at once."""
        self.access.current(params)
        _, payload = await run(self.access.signed, _GRANT, params["token"])
        if declared_bytes(request) not in (None, payload["length"]):
            raise BadRequest(f"this grant is for a xorb of {payload['length']} bytes")
        await self._take(request, XetHash(payload["xorb"]))
        return Response(status_code=200)

    def commit(self, request: Request, params: Params) -> Response:
        """The client may go on. Nothing is left to do, `put` answered when the xorb was durable;
        and nothing is looked up, or the answer would tell what others have stored."""
        self.access.current(params)
        self.access.writer(request)
        try:
            payload = self.hub.signer.open(_GRANT, params["grant"])
        except Forbidden:
            raise NotFound("This grant has expired. Ask for a new one.") from None
        if payload["xorb"] != XetHash(params["xorb"]):
            raise NotFound("This grant is for another xorb.")
        return json_reply({"was_inserted": True})

    async def telemetry(self, request: Request, params: Params) -> Response:
        """Taken and dropped: this hub does not collect what clients tell of themselves."""
        self.access.current(params)
        await run(self.access.asker, request)
        await read_body(request, TELEMETRY_BYTES_MAX)
        return Response(status_code=204)
