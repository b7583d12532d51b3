"""GET /api/models/{id}/safetensors-metadata/{file}: the headers of a model's shards, at once.

    {"index": {"metadata": {…}}, "headers": {shard: header}}

For `….safetensors.index.json`, every shard beside it that the index names; for one safetensors
file, that file. Only files whose labels call them valid are sent, as they stand: nothing is
parsed here. The index's `weight_map` is left out, as it repeats what the headers say.
"""

from __future__ import annotations

import posixpath
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.models import Entry, Repo
from headwater.catalog.repos import MAIN
from headwater.errors import EntryNotFound, TooLarge, Unprocessable
from headwater.hub.context import Hub
from headwater.hub.replies import json_reply
from headwater.hub.resolve import demand_content
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.names import RepoPath, shown

INDEX_BYTES_MAX = 8 * 2**20  # the largest published index has 3 MB
SHARDS_MAX = 512
HEADERS_BYTES_MAX = 32 * 2**20  # of all shards; a model of a thousand layers has some MB
INDEX_ENDING = ".index.json"


class _Index(msgspec.Struct, frozen=True):
    weight_map: dict[str, str]
    metadata: dict[str, Any] = {}


class HeaderRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        address = "/api/models/{id}/safetensors-metadata/{path*}"
        return [Route("GET", address, self.headers, "bytes", answers=(200, 413, 422))]

    def headers(self, request: Request, params: Params) -> Response:
        actor = self.hub.actor(request)
        repo = self.hub.catalog.repos.find(actor, "model", params["id"], "bytes")
        revision = self.hub.catalog.refs.resolve(repo, MAIN)
        path = RepoPath(params["path"])
        entry = self.hub.catalog.files.find(repo, revision.tree, path)
        metadata: dict[str, Any] = {}
        names = [str(path)]
        if path.endswith(INDEX_ENDING):
            index = self._index(repo, entry)
            metadata = index.metadata
            folder = posixpath.dirname(path)
            names = sorted({posixpath.join(folder, name) for name in index.weight_map.values()})
        if len(names) > SHARDS_MAX:
            raise TooLarge(f"{len(names)} shards; up to {SHARDS_MAX} are read at once")
        found = self.hub.catalog.files.paths(repo, revision.tree, names)
        if missing := set(names) - {e.path for e in found if e.kind == "file"}:
            raise EntryNotFound(f"the index names {shown(min(missing))}, which is not there")
        raw = self._raw(repo, found)
        folder = posixpath.dirname(path)
        sent = {posixpath.relpath(name, folder or "."): text for name, text in raw.items()}
        return json_reply(
            {"index": {"metadata": metadata}, "headers": sent},
            headers={"X-Repo-Commit": revision.commit},
        )

    def _index(self, repo: Repo, entry: Entry) -> _Index:
        if entry.size_bytes > INDEX_BYTES_MAX:
            raise TooLarge(
                f"an index of {entry.size_bytes} bytes; up to {INDEX_BYTES_MAX} are read"
            )
        text = self._bytes(repo, entry, 0, entry.size_bytes)
        try:
            return msgspec.json.decode(text, type=_Index)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Unprocessable(f"{shown(entry.path)} is not an index of safetensors") from None

    def _raw(self, repo: Repo, entries: list[Entry]) -> dict[str, msgspec.Raw]:
        verdicts = self.hub.labelling.verdicts(repo, entries)
        raw: dict[str, msgspec.Raw] = {}
        left = HEADERS_BYTES_MAX
        for entry in entries:
            demand_content(repo, entry)
            verdict = verdicts.get(entry.etag)
            if verdict is None or verdict.kind != "safetensors" or verdict.status != "ok":
                reason = verdict.reason if verdict and verdict.reason else "not looked at yet"
                raise Unprocessable(f"{shown(entry.path)}: {reason}")
            length = int.from_bytes(self._bytes(repo, entry, 0, 8), "little")
            left -= length
            if left < 0:
                raise TooLarge(f"headers of over {HEADERS_BYTES_MAX} bytes; ask for ranges instead")
            raw[entry.path] = msgspec.Raw(self._bytes(repo, entry, 8, 8 + length))
        return raw

    def _bytes(self, repo: Repo, entry: Entry, start: int, stop: int) -> bytes:
        demand_content(repo, entry)
        if entry.lfs is None:
            return self.hub.catalog.files.read(repo, entry)[start:stop]
        pieces = self.hub.store.read(entry.lfs.oid, start, stop)
        return b"".join(bytes(piece) for piece in pieces)
