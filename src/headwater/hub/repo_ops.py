"""Operations on whole repos: squash a branch, duplicate a repo, list and delete large files."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.clock import iso
from headwater.catalog.duplicate import Wanted
from headwater.catalog.lfs_files import LfsFile
from headwater.errors import BadRequest, Conflict, TooLarge
from headwater.hub.bodies import json_body
from headwater.hub.context import Hub
from headwater.hub.pages import LIMIT_MAX, decode_cursor, encode_cursor, limit_of
from headwater.hub.replies import json_reply, next_link
from headwater.hub.repos import located, url_of
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.hub.threads import run
from headwater.hub.where import repo_of, type_of
from headwater.hub.wire import Type, Visible, Wire
from headwater.names import Digest, RepoId, XetHash

BODY_BYTES_MAX = 1 * 2**20
FILES_MAX = 1000  # of one request; clients cut their lists at this number


class SquashBranch(Wire, frozen=True, kw_only=True):
    message: str | None = None


class Deletions(Wire, frozen=True, kw_only=True):
    sha: list[str]
    rewrite_history: bool = True


class LfsFilesBatch(Wire, frozen=True, kw_only=True):
    deletions: Deletions


class DuplicateRepo(Visible, frozen=True, kw_only=True):
    repository: str
    resource_group_id: str | None = None
    hardware: Any = None
    sleep_time_seconds: Any = None
    secrets: Any = None
    variables: Any = None
    volumes: Any = None

    @property
    def ignored(self) -> list[str]:
        """What was asked for and is not offered: this hub runs no Spaces and has no groups."""
        asked = {
            "resourceGroupId": self.resource_group_id,
            "hardware": self.hardware,
            "sleepTimeSeconds": self.sleep_time_seconds,
            "secrets": self.secrets,
            "variables": self.variables,
            "volumes": self.volumes,
        }
        return [name for name, value in asked.items() if value is not None]


class CopyTarget(Wire, frozen=True, kw_only=True):
    type: Type
    name: str


class CopiedFile(Wire, frozen=True, kw_only=True):
    xet_hash: str
    sha256: str
    filename: str = ""


class DuplicateLfsFiles(Wire, frozen=True, kw_only=True):
    target: CopyTarget
    files: list[CopiedFile]


class RepoOpsRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        at = "/api/{T}/{id}"
        files = f"{at}/lfs-files"
        page = ("limit", "cursor")
        return [
            Route(
                "POST",
                f"{at}/super-squash/{{ref}}",
                self.squash,
                "write or propose",
                body=SquashBranch,
            ),
            Route("POST", f"{at}/duplicate", self.duplicate, "bytes", body=DuplicateRepo),
            Route("GET", files, self.lfs_files, "write", query=page),
            Route("POST", f"{files}/batch", self.delete_files, "write", body=LfsFilesBatch),
            Route(
                "POST",
                f"{files}/duplicate",
                self.copy_files,
                "bytes and propose",
                body=DuplicateLfsFiles,
            ),
        ]

    async def squash(self, request: Request, params: Params) -> Response:
        body = await json_body(request, SquashBranch, BODY_BYTES_MAX)
        return await run(self._squash, request, params, body)

    def _squash(self, request: Request, params: Params, body: SquashBranch) -> Response:
        actor = self.hub.actor(request)
        repo = repo_of(self.hub, actor, params)
        ref = params["ref"]
        message = body.message or f"Super-squash branch '{ref}'"
        commit = self.hub.catalog.squash.apply(actor, repo, ref, message)
        return json_reply({"success": True, "commitOid": commit})

    async def duplicate(self, request: Request, params: Params) -> Response:
        body = await json_body(request, DuplicateRepo, BODY_BYTES_MAX)
        return await run(self._duplicate, request, params, body)

    def _duplicate(self, request: Request, params: Params, body: DuplicateRepo) -> Response:
        actor = self.hub.actor(request)
        source = repo_of(self.hub, actor, params, "bytes")
        rid = RepoId.parse(type_of(params), body.repository)
        try:
            made = self.hub.catalog.duplicate.repo(actor, source, rid, private=body.is_private)
        except Conflict as error:
            raise located(error, request, rid) from None
        headers = {}
        if ignored := body.ignored:
            headers["X-HF-Warning"] = (
                f"duplicate; {', '.join(ignored)}: not offered by this hub, and ignored"
            )
        url = url_of(request, made)
        # Links to bytes are made with the repo: nothing is pending.
        return json_reply({"url": url, "filesCopyPending": False}, headers=headers)

    def lfs_files(self, request: Request, params: Params) -> Response:
        repo = repo_of(self.hub, self.hub.actor(request), params, "write")
        limit = limit_of(request, LIMIT_MAX)
        after = None
        if cursor := request.query_params.get("cursor"):
            after = _cursor(cursor)
        found = self.hub.catalog.lfs_files.page(repo, after, limit + 1)
        headers: dict[str, str] = {}
        if len(found) > limit:
            found = found[:limit]
            last = found[-1]
            headers["Link"] = next_link(request, encode_cursor([last.pushed_ms, last.oid]))
        return json_reply([_item(file) for file in found], headers=headers)

    async def delete_files(self, request: Request, params: Params) -> Response:
        body = await json_body(request, LfsFilesBatch, BODY_BYTES_MAX)
        return await run(self._delete_files, request, params, body)

    def _delete_files(self, request: Request, params: Params, body: LfsFilesBatch) -> Response:
        actor = self.hub.actor(request)
        repo = repo_of(self.hub, actor, params, "write")
        asked = body.deletions
        _limited(len(asked.sha))
        oids = [Digest(sha) for sha in dict.fromkeys(asked.sha)]
        done = self.hub.catalog.lfs_files.delete(actor, repo, oids, rewrite=asked.rewrite_history)
        return json_reply({"success": True, "deleted": done.files, "rewritten": done.commits})

    async def copy_files(self, request: Request, params: Params) -> Response:
        body = await json_body(request, DuplicateLfsFiles, BODY_BYTES_MAX)
        return await run(self._copy_files, request, params, body)

    def _copy_files(self, request: Request, params: Params, body: DuplicateLfsFiles) -> Response:
        actor = self.hub.signed_in(request, "Sign in with a write token to copy files.")
        source = repo_of(self.hub, actor, params, "bytes")
        _limited(len(body.files))
        wanted = [Wanted(Digest(file.sha256), XetHash(file.xet_hash)) for file in body.files]
        target = body.target
        failed = self.hub.catalog.duplicate.files(actor, source, target.type, target.name, wanted)
        why = f"{source.full} has no such file under this SHA-256 and Xet hash"
        return json_reply({"failed": [{"sha256": oid, "error": why} for oid in failed]})


def _limited(count: int) -> None:
    if count > FILES_MAX:
        raise TooLarge(f"at most {FILES_MAX} files at once; this asks for {count}")


def _cursor(text: str) -> tuple[int, str]:
    at_ms, oid = decode_cursor(text, tuple[int, str])
    if not 0 <= at_ms < 2**63:
        raise BadRequest("this cursor is not one of ours; start from the first page")
    return at_ms, Digest(oid)


def _item(file: LfsFile) -> dict[str, Any]:
    return {
        "fileOid": file.oid,
        "oid": file.oid,
        "filename": file.path or file.oid,  # clients want a text here
        "ref": file.ref,
        "pushedAt": iso(file.pushed_ms),
        "size": file.size_bytes,
    }
