"""Publishing: preupload (what goes which way) and commit (all of it, at once)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.commits import Plan
from headwater.catalog.models import Entry, Repo
from headwater.errors import BadRequest, TooLarge
from headwater.formats.git_patterns import IgnoreRules, LfsRules
from headwater.hub import wire
from headwater.hub.bodies import NDJSON, json_body, ndjson_lines
from headwater.hub.commit_body import CommitReader
from headwater.hub.context import Hub
from headwater.hub.pages import flag
from headwater.hub.replies import base_url, json_reply
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.hub.threads import run
from headwater.hub.where import publish_verb, repo_of
from headwater.names import RepoPath

PREUPLOAD_BYTES_MAX = 8 * 2**20
PREUPLOAD_FILES_MAX = 1000  # clients ask for 256 at once
GITATTRIBUTES_BYTES_MAX = 256 * 2**10
# Base64 of the largest inline file, plus room for a long path: one line, one file.
LINE_OVERHEAD_BYTES = 16 * 2**10


class CommitRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST",
                "/api/{T}/{id}/preupload/{rev}",
                self.preupload,
                "write or propose",
                body=wire.Preupload,
                query=("create_pr",),
            ),
            Route(
                "POST",
                "/api/{T}/{id}/commit/{rev}",
                self.commit,
                "write or propose",
                body=wire.CommitLine,
                query=("create_pr",),
                media=NDJSON,
            ),
        ]

    async def preupload(self, request: Request, params: Params) -> Response:
        body = await json_body(request, wire.Preupload, PREUPLOAD_BYTES_MAX)
        if len(body.files) > PREUPLOAD_FILES_MAX:
            raise TooLarge(f"at most {PREUPLOAD_FILES_MAX} files at once")
        return await run(self._preupload, request, params, body)

    def _preupload(self, request: Request, params: Params, body: wire.Preupload) -> Response:
        actor = self.hub.actor(request)
        repo = repo_of(self.hub, actor, params, publish_verb(request, params))
        revision = self.hub.catalog.refs.resolve(repo, params["rev"])
        tells = self.hub.catalog.may_read_bytes(actor, repo)  # one may propose behind a gate
        paths = [RepoPath(file.path) for file in body.files]
        known = {
            entry.path: entry
            for entry in self.hub.catalog.files.paths(
                repo, revision.tree, [*paths, ".gitattributes"]
            )
            if entry.kind == "file" and not (entry.lfs and entry.lfs.gone)  # send it again
        }
        text = (body.git_attributes or "").encode()
        lfs = LfsRules(text or self._small(repo, known.get(RepoPath(".gitattributes"))))
        ignore = IgnoreRules((body.git_ignore or "").encode())
        files = []
        for path, file in zip(paths, body.files, strict=True):
            answer: dict[str, Any] = {
                "path": path,
                "uploadMode": self._mode(path, file, lfs.matches),
                "shouldIgnore": ignore.matches(path),
            }
            if path in known and tells:
                answer["oid"] = known[path].etag
            files.append(answer)
        return json_reply({"files": files, "commitOid": revision.commit})

    def _small(self, repo: Repo, entry: Entry | None) -> bytes:
        if entry is None or entry.lfs or entry.size_bytes > GITATTRIBUTES_BYTES_MAX:
            return b""
        return self.hub.catalog.files.read(repo, entry)

    def _mode(
        self, path: RepoPath, file: wire.PreuploadFile, is_lfs: Callable[[RepoPath], bool]
    ) -> str:
        """`lfs` by attribute, by size, or when the sample is not text; else `regular`."""
        if not 0 <= file.size <= self.hub.settings.file_bytes_max:
            raise TooLarge(
                f"{path}: {file.size} bytes; the limit is {self.hub.settings.file_bytes_max}"
            )
        if file.size == 0:
            return "regular"
        if is_lfs(path) or file.size > self.hub.settings.regular_bytes_max:
            return "lfs"
        return "lfs" if _is_binary(file.sample) else "regular"

    async def commit(self, request: Request, params: Params) -> Response:
        create_pr = flag(request, "create_pr")
        repo = await run(self._may, request, params)
        limit = self.hub.settings.regular_bytes_max * 4 // 3 + LINE_OVERHEAD_BYTES
        reader = CommitReader(
            lambda contents: self.hub.catalog.commits.stage(repo, contents),
            self.hub.settings.regular_bytes_max,
        )
        lines = ndjson_lines(
            request, line_bytes_max=limit, limit_bytes=self.hub.settings.commit_bytes_max
        )
        plan = await reader.read(lines, params["rev"], create_pr=create_pr)
        return await run(self._commit, request, repo, plan)

    def _may(self, request: Request, params: Params) -> Repo:
        """Refused before the body is read, and asked again when the commit is made."""
        actor = self.hub.actor(request)
        repo = repo_of(self.hub, actor, params, publish_verb(request, params))
        self.hub.catalog.refs.resolve(repo, params["rev"])
        return repo

    def _commit(self, request: Request, repo: Repo, plan: Plan) -> Response:
        # Looked up again: the body may have taken minutes, and the token may be revoked by now.
        made = self.hub.catalog.commits.apply(self.hub.actor(request), repo, plan)
        at = f"{base_url(request)}/{repo.prefix}{repo.full}"
        body: dict[str, Any] = {
            "success": True,
            "commitOid": made.oid,
            "commitUrl": f"{at}/commit/{made.oid}",
            "hookOutput": "",
        }
        if made.pr is not None:
            body["pullRequestUrl"] = f"{at}/discussions/{made.pr}"
        return json_reply(body)


def _is_binary(sample: str) -> bool:
    """Whether the first bytes of a file are not UTF-8 text."""
    try:
        head = base64.b64decode(sample, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("a sample is not base64") from None
    if b"\0" in head:
        return True
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start < len(head) - 3  # a character cut at the sample's end is still text
    return False
