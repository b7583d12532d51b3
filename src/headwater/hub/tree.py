"""What a revision holds: info, tree, paths-info, history, and the listing of repos."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.actors import Actor
from headwater.catalog.clock import iso
from headwater.catalog.listing import Page, cursor_behind
from headwater.catalog.models import CommitInfo, Entry, Repo, Revision
from headwater.errors import BadRequest
from headwater.hub import wire
from headwater.hub.bodies import FORM_OR_JSON, form_or_json
from headwater.hub.context import Hub
from headwater.hub.info import MASKED_OID, Describe, info_fields, list_fields
from headwater.hub.listing_query import QUERY, query_of
from headwater.hub.pages import decode_cursor, encode_cursor, flag, limit_of
from headwater.hub.replies import json_reply, next_link
from headwater.hub.routing import Route
from headwater.hub.security import file_status
from headwater.hub.templates import Params
from headwater.hub.threads import run
from headwater.hub.where import repo_of, type_of
from headwater.names import RepoPath

TREE_PAGE = 1000
TREE_PAGE_EXPANDED = 100  # each entry then costs a walk through the history
COMMITS_PAGE = 50
PATHS_MAX = 1000
LISTED_SIBLINGS_MAX = 50_000  # of a page's repos together; the one that reaches it is the last
PATHS_BODY_BYTES_MAX = 4 * 2**20
INFO_QUERY = ("blobs", "expand*", "securityStatus")
TREE_QUERY = ("recursive", "expand", "limit", "cursor")


class TreeRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.describe = Describe(hub.catalog, hub.labelling)

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/api/{T}", self.listing, "anyone", query=QUERY),
            Route("GET", "/api/{T}/{id}", self.info, "see", query=INFO_QUERY),
            Route("GET", "/api/{T}/{id}/revision/{rev}", self.info, "see", query=INFO_QUERY),
            Route("GET", "/api/{T}/{id}/tree/{rev}", self.tree, "see", query=TREE_QUERY),
            Route("GET", "/api/{T}/{id}/tree/{rev}/{path*}", self.tree, "see", query=TREE_QUERY),
            Route(
                "POST",
                "/api/{T}/{id}/paths-info/{rev}",
                self.paths_info,
                "see",
                body=wire.PathsInfo,
                media=FORM_OR_JSON,
            ),
            Route(
                "GET",
                "/api/{T}/{id}/commits/{rev}",
                self.commits,
                "see",
                query=("limit", "cursor", "expand*", "expand[]*"),
            ),
        ]

    # Listing and info

    def listing(self, request: Request, params: Params) -> Response:
        actor = self.hub.actor(request)
        type = type_of(params)
        fields = list_fields(
            type,
            request.query_params.getlist("expand"),
            full=flag(request, "full"),
            card=flag(request, "cardData"),
            config=flag(request, "config"),
        )
        query = query_of(request, type)
        page = self.hub.catalog.listing.page(actor, query) if query else Page((), None)
        rows: list[dict[str, Any]] = []
        cursor, files = page.cursor, 0
        for listed in page.rows:
            if query and files >= LISTED_SIBLINGS_MAX:
                cursor = cursor_behind(query, page.rows[len(rows) - 1])
                break
            rows.append(self.describe(listed, fields, actor=actor))
            files += len(rows[-1].get("siblings", ()))
        headers: dict[str, str] = {}
        if query and cursor is not None:
            headers["Link"] = next_link(request, encode_cursor([query.sort, *cursor]))
        return json_reply(rows, headers=headers)

    def info(self, request: Request, params: Params) -> Response:
        actor = self.hub.actor(request)
        repo = repo_of(self.hub, actor, params)
        fields = info_fields(repo.type, request.query_params.getlist("expand"))
        revision = None
        if "rev" in params:
            revision = self.hub.catalog.refs.resolve(repo, params["rev"])
        listed = self.hub.catalog.listing.one(repo)
        body = self.describe(
            listed,
            fields,
            actor=actor,
            first_look=True,
            security=flag(request, "securityStatus"),
            revision=revision,
            blobs=flag(request, "blobs"),
            masked=not self.hub.catalog.may_read_bytes(actor, repo),
        )
        headers = {"X-Repo-Commit": body["sha"]} if body.get("sha") else {}
        return json_reply(body, headers=headers)

    # Files

    def tree(self, request: Request, params: Params) -> Response:
        actor = self.hub.actor(request)
        repo = repo_of(self.hub, actor, params)
        revision = self.hub.catalog.refs.resolve(repo, params["rev"])
        folder = RepoPath(params["path"]) if params.get("path") else None
        expand = flag(request, "expand")
        limit = min(limit_of(request, TREE_PAGE), TREE_PAGE_EXPANDED if expand else TREE_PAGE)
        after = None
        if cursor := request.query_params.get("cursor"):
            after = decode_cursor(cursor, list[str])[0]
        entries = self.hub.catalog.files.list(
            repo,
            revision.tree,
            folder,
            recursive=flag(request, "recursive"),
            after=after,
            limit=limit + 1,
        )
        headers: dict[str, str] = {"X-Repo-Commit": revision.commit}
        if len(entries) > limit:
            entries = entries[:limit]
            headers["Link"] = next_link(request, encode_cursor([entries[-1].path]))
        return json_reply(self._items(actor, repo, revision, entries, expand), headers=headers)

    async def paths_info(self, request: Request, params: Params) -> Response:
        body = await form_or_json(request, PATHS_BODY_BYTES_MAX)
        paths = body.get("paths") or []
        paths = [paths] if isinstance(paths, str) else paths
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise BadRequest('"paths" must be a list of paths')
        asked = body.get("expand", False)
        asked = asked[0] if isinstance(asked, list) and asked else asked
        expand = str(asked).lower() in ("true", "1")
        if len(paths) > PATHS_MAX:
            raise BadRequest(f"at most {PATHS_MAX} paths at once; this asks for {len(paths)}")
        return await run(self._paths_info, request, params, paths, expand)

    def _paths_info(
        self, request: Request, params: Params, paths: list[str], expand: bool
    ) -> Response:
        actor = self.hub.actor(request)
        repo = repo_of(self.hub, actor, params)
        revision = self.hub.catalog.refs.resolve(repo, params["rev"])
        entries = self.hub.catalog.files.paths(repo, revision.tree, paths)
        return json_reply(
            self._items(actor, repo, revision, entries, expand),
            headers={"X-Repo-Commit": revision.commit},
        )

    def _items(
        self, actor: Actor, repo: Repo, revision: Revision, entries: list[Entry], expand: bool
    ) -> list[dict[str, Any]]:
        last: dict[str, CommitInfo] = {}
        masked = not self.hub.catalog.may_read_bytes(actor, repo)
        if expand:
            verdicts = self.hub.labelling.verdicts(repo, entries)
            last = self.hub.catalog.history.last_touched(
                repo, revision.commit, [entry.path for entry in entries]
            )
        offer_xet = self.hub.settings.xet and not masked
        items = [_item(entry, last.get(entry.path), masked, offer_xet) for entry in entries]
        if expand:
            for item, entry in zip(items, entries, strict=True):
                if entry.kind == "file":
                    verdict = verdicts.get(entry.etag)
                    item["securityFileStatus"] = file_status(entry, verdict, masked=masked)
        return items

    # History

    def commits(self, request: Request, params: Params) -> Response:
        repo = repo_of(self.hub, self.hub.actor(request), params)
        start = self.hub.catalog.refs.resolve(repo, params["rev"]).commit
        limit = min(limit_of(request, COMMITS_PAGE), COMMITS_PAGE)
        skip = False
        if cursor := request.query_params.get("cursor"):
            at = decode_cursor(cursor, list[str])[0]
            start, skip = self.hub.catalog.refs.resolve(repo, at).commit, True
        found = self.hub.catalog.history.list(repo, start, limit + 1, skip=skip)
        headers: dict[str, str] = {}
        if len(found) > limit:
            found = found[:limit]
            headers["Link"] = next_link(request, encode_cursor([found[-1].oid]))
        asked = request.query_params
        formatted = "formatted" in asked.getlist("expand") + asked.getlist("expand[]")
        return json_reply([_commit(info, formatted) for info in found], headers=headers)


def _item(entry: Entry, last: CommitInfo | None, masked: bool, offer_xet: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": entry.kind,
        "oid": entry.oid,
        "size": entry.size_bytes,
        "path": entry.path,
    }
    if entry.lfs:
        body["lfs"] = {
            "oid": MASKED_OID if masked else entry.lfs.oid,
            "size": entry.lfs.size_bytes,
            "pointerSize": entry.lfs.pointer_bytes,
        }
        if entry.lfs.xet_hash and offer_xet:
            body["xetHash"] = entry.lfs.xet_hash
    if last is not None:
        body["lastCommit"] = {"id": last.oid, "title": last.title, "date": iso(last.at_ms)}
    return body


def _commit(info: CommitInfo, formatted: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": info.oid,
        "title": info.title,
        "message": info.body,
        "authors": [{"user": info.author}],
        "date": iso(info.at_ms),
    }
    if formatted:
        body["formatted"] = {"title": info.title, "message": info.body}
    return body
