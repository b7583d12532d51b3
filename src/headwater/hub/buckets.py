"""Buckets over HTTP: made, listed, filled in batches, read by path.

    POST /api/buckets/{id}         GET, DELETE the same; PUT …/settings
    GET  /api/buckets/{namespace}  those of a user or organisation; `me` is the caller
    POST …/batch                   NDJSON of addFile, copyFile, deleteFile
    GET  …/tree[/{prefix}]         POST …/paths-info
    GET  /buckets/{id}/resolve/{path}

Shapes are those that huggingface_hub 2.x reads. Uploads and downloads of bytes go over Xet;
`resolve` streams as well, for whoever has no Xet client.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.buckets import BucketFile, BucketFolder, behind
from headwater.catalog.clock import iso
from headwater.catalog.listing import LIMIT_DEFAULT, Query
from headwater.catalog.models import Repo
from headwater.errors import BadRequest, Conflict
from headwater.hub import wire
from headwater.hub.bodies import NDJSON, json_body, ndjson_lines
from headwater.hub.bucket_batch import BATCH_BYTES_MAX, LINE_BYTES_MAX, read_batch
from headwater.hub.context import Hub
from headwater.hub.pages import decode_cursor, encode_cursor, flag, limit_of
from headwater.hub.replies import base_url, json_reply, next_link
from headwater.hub.repos import located, url_of
from headwater.hub.resolve import file_headers, stored_reply, xet_headers
from headwater.hub.routing import Route
from headwater.hub.stream import RANGES
from headwater.hub.templates import Params
from headwater.hub.threads import run
from headwater.hub.where import ME, bucket_name
from headwater.names import RepoId, RepoPath

BODY_BYTES_MAX = 64 * 2**10
TREE_PAGE = 1000
PATHS_MAX = 1000
PATHS_BODY_BYTES_MAX = 4 * 2**20
PREFIX_CHARS_MAX = 1024
SIGN_IN = "Sign in with a write token to create or change a bucket."


class BucketSettings(wire.Wire, frozen=True, kw_only=True):
    private: bool


class BucketPaths(wire.Wire, frozen=True, kw_only=True):
    paths: list[str]


class BucketRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        at = "/api/buckets/{namespace}/{name}"
        tree = ("recursive", "limit", "cursor")
        return [
            Route("GET", "/api/buckets/{namespace}", self.listing, "anyone",
                  query=("search", "limit", "cursor")),
            Route("POST", at, self.create, "create", body=wire.Visible),
            Route("GET", at, self.info, "see"),
            Route("DELETE", at, self.delete, "manage"),
            Route("PUT", at + "/settings", self.settings, "manage", body=BucketSettings),
            Route("GET", at + "/tree", self.tree, "bytes", query=tree),
            Route("GET", at + "/tree/{path*}", self.tree, "bytes", query=tree),
            Route("POST", at + "/paths-info", self.paths_info, "bytes", body=BucketPaths),
            Route("POST", at + "/batch", self.batch, "write", body=bytes, media=NDJSON),
            Route("GET", "/buckets/{namespace}/{name}/resolve/{path*}", self.resolve, "bytes",
                  head=True, answers=RANGES),
        ]  # fmt: skip

    # The bucket

    async def create(self, request: Request, params: Params) -> Response:
        body = await json_body(request, wire.Visible, BODY_BYTES_MAX)
        return await run(self._create, request, params, body)

    def _create(self, request: Request, params: Params, body: wire.Visible) -> Response:
        actor = self.hub.signed_in(request, SIGN_IN)
        rid = RepoId.parse("bucket", bucket_name(actor, params))
        try:
            bucket = self.hub.catalog.repos.create(actor, rid, private=body.is_private)
        except Conflict as error:
            raise located(error, request, rid) from None
        return json_reply(
            {"url": url_of(request, bucket), "name": bucket.full, "id": bucket.hub_id}
        )

    def listing(self, request: Request, params: Params) -> Response:
        actor = self.hub.actor(request)
        owner = params["namespace"]
        if owner == ME:
            owner = self.hub.signed_in(request, "Sign in to list your own buckets.").name
        self.hub.catalog.accounts.find(owner)
        search = request.query_params.get("search")
        cursor = request.query_params.get("cursor")
        query = Query(
            "bucket",
            search=(search,) if search else (),
            author=owner,
            limit=limit_of(request, LIMIT_DEFAULT),
            cursor=decode_cursor(cursor, tuple[int, int]) if cursor else None,
        )
        page = self.hub.catalog.listing.page(actor, query)
        totals = self.hub.catalog.buckets.totals([listed.repo for listed in page.rows])
        headers = {}
        if page.cursor is not None:
            headers["Link"] = next_link(request, encode_cursor(page.cursor))
        rows = [_info(listed.repo, *totals[listed.repo.id]) for listed in page.rows]
        return json_reply(rows, headers=headers)

    def info(self, request: Request, params: Params) -> Response:
        bucket = self._bucket(request, params, "see")
        return json_reply(_info(bucket, *self.hub.catalog.buckets.totals([bucket])[bucket.id]))

    def delete(self, request: Request, params: Params) -> Response:
        actor = self.hub.signed_in(request, SIGN_IN)
        self.hub.catalog.repos.delete(actor, "bucket", bucket_name(actor, params))
        return json_reply({})

    async def settings(self, request: Request, params: Params) -> Response:
        body = await json_body(request, BucketSettings, BODY_BYTES_MAX)
        return await run(self._settings, request, params, body)

    def _settings(self, request: Request, params: Params, body: BucketSettings) -> Response:
        actor = self.hub.signed_in(request, SIGN_IN)
        bucket = self.hub.catalog.repos.set(
            actor, "bucket", bucket_name(actor, params), private=body.private
        )
        return json_reply({"name": bucket.full, "private": bucket.private})

    # Its files

    def tree(self, request: Request, params: Params) -> Response:
        bucket = self._bucket(request, params, "bytes")
        prefix = params.get("path", "")
        if len(prefix) > PREFIX_CHARS_MAX:
            raise BadRequest(f"a prefix has at most {PREFIX_CHARS_MAX} characters")
        limit = min(limit_of(request, TREE_PAGE), TREE_PAGE)
        cursor = request.query_params.get("cursor")
        found = self.hub.catalog.buckets.tree(
            bucket,
            prefix,
            recursive=flag(request, "recursive"),
            after=decode_cursor(cursor, list[str])[0] if cursor else None,
            limit=limit + 1,
        )
        headers = {}
        if len(found) > limit:
            found = found[:limit]
            headers["Link"] = next_link(request, encode_cursor([behind(found[-1])]))
        return json_reply([_item(entry) for entry in found], headers=headers)

    async def paths_info(self, request: Request, params: Params) -> Response:
        body = await json_body(request, BucketPaths, PATHS_BODY_BYTES_MAX)
        if len(body.paths) > PATHS_MAX:
            raise BadRequest(f"at most {PATHS_MAX} paths at once; this asks for {len(body.paths)}")
        return await run(self._paths_info, request, params, body)

    def _paths_info(self, request: Request, params: Params, body: BucketPaths) -> Response:
        bucket = self._bucket(request, params, "bytes")
        found = self.hub.catalog.buckets.paths(bucket, body.paths)
        return json_reply([_item(entry) for entry in found])

    async def batch(self, request: Request, params: Params) -> Response:
        """200 with what failed, when something did; 422 when nothing could be done."""
        await run(self._bucket, request, params, "write")  # before a body of megabytes is read
        lines = ndjson_lines(request, line_bytes_max=LINE_BYTES_MAX, limit_bytes=BATCH_BYTES_MAX)
        changes, failed = await read_batch(lines)
        return await run(self._batch, request, params, changes, failed)

    def _batch(
        self, request: Request, params: Params, changes: list[Any], failed: list[tuple[str, str]]
    ) -> Response:
        actor = self.hub.actor(request)
        sent = len(changes) + len(failed)
        failed = failed + self.hub.catalog.buckets.apply(actor, bucket_name(actor, params), changes)
        body = {
            "success": not failed,
            "processed": sent,
            "succeeded": sent - len(failed),
            "failed": [{"path": path, "error": reason} for path, reason in failed],
        }
        return json_reply(body, status=422 if failed and len(failed) == sent else 200)

    def resolve(self, request: Request, params: Params) -> Response:
        """The file, with where its Xet parts are for clients that speak it."""
        bucket = self._bucket(request, params, "bytes")
        file = self.hub.catalog.buckets.find(bucket, RepoPath(params["path"]))
        headers = file_headers(file.path, file.xet_hash)
        headers |= {
            "Cache-Control": "no-cache",
            "X-Linked-Size": str(file.size_bytes),
            "X-Linked-ETag": f'"{file.xet_hash}"',
        }
        headers |= xet_headers(
            self.hub,
            request,
            file.xet_hash,
            f"{base_url(request)}/api/buckets/{bucket.full}/xet-read-token",
        )
        name = f"{file.path} of bucket {bucket.full}"
        return stored_reply(self.hub, request, file.oid, file.size_bytes, name, headers)

    def _bucket(self, request: Request, params: Params, verb: Any) -> Repo:
        actor = self.hub.actor(request)
        return self.hub.catalog.repos.find(actor, "bucket", bucket_name(actor, params), verb)


def _info(bucket: Repo, files: int, size_bytes: int) -> dict[str, Any]:
    return {
        "id": bucket.full,
        "_id": bucket.hub_id,
        "private": bucket.private,
        "visibility": "private" if bucket.private else "public",
        "createdAt": iso(bucket.created_ms),
        "updatedAt": iso(bucket.updated_ms),
        "size": size_bytes,
        "totalFiles": files,
    }


def _item(entry: BucketFile | BucketFolder) -> dict[str, Any]:
    if isinstance(entry, BucketFolder):
        return {"type": "directory", "path": entry.path}
    return {
        "type": "file",
        "path": entry.path,
        "size": entry.size_bytes,
        "xetHash": entry.xet_hash,
        "mtime": iso(entry.mtime_ms),
        "uploadedAt": iso(entry.uploaded_ms),
    }
