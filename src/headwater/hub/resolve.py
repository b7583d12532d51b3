"""Downloads: `/{repo}/resolve/{revision}/{path}`, where every one begins.

HEAD and GET answer 200 with all headers themselves. A redirect to the same host would be followed
by the client and lose the Xet headers on the way; there is nothing to gain by one here.

    ordinary file   bytes from the catalog, ETag is git's id
    LFS, plain      streamed from the store, ETag is the SHA-256
    LFS, chunked    the same, and `X-Xet-Hash` + `Link` for clients that speak Xet
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog.actors import Actor
from headwater.catalog.models import Entry, Repo, Revision
from headwater.catalog.rights import GATE_FREE, demand
from headwater.errors import Corrupt, EntryNotFound, NotFound
from headwater.hub.callers import caller_of
from headwater.hub.context import Hub
from headwater.hub.replies import base_url
from headwater.hub.routing import Route
from headwater.hub.stream import BytesReply
from headwater.hub.templates import Params
from headwater.hub.where import repo_of
from headwater.names import RepoPath

# Files of strangers open in a browser as text or as a download, never as a page of ours.
_SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
_EXPOSED = (
    "X-Repo-Commit, X-Request-Id, X-Error-Code, X-Error-Message, X-Linked-Size, X-Linked-ETag, "
    "X-Xet-Hash, ETag, Link, Accept-Ranges, Content-Range"
)
COUNTER_HEADER = "x-hf-download-counter"


class ResolveRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        cached = "/api/resolve-cache/{T}/{id}/{rev}/{path*}"
        return [
            Route("GET", "/{prefix}{id}/resolve/{rev}/{path*}", self.resolve, "bytes", head=True),
            Route("GET", "/{prefix}{id}/raw/{rev}/{path*}", self.raw, "bytes", head=True),
            Route("GET", cached, self.resolve, "bytes", head=True),
        ]

    def resolve(self, request: Request, params: Params) -> Response:
        actor, repo, revision, entry = self._find(request, params)
        self._count(request, actor, repo, entry)
        headers = _headers(revision, entry)
        if entry.lfs is None:
            body = self.hub.catalog.files.read(repo, entry)
            return _small(request, body, headers)
        oid, size = entry.lfs.oid, entry.lfs.size_bytes
        headers["X-Linked-Size"] = str(size)
        headers["X-Linked-ETag"] = f'"{oid}"'
        if entry.lfs.xet_hash and self.hub.settings.xet:
            base = base_url(request)
            token = f"{base}/api/{repo.type}s/{repo.full}/xet-read-token/{revision.commit}"
            terms = f"{self.hub.cas_url(request)}/v1/reconstructions/{entry.lfs.xet_hash}"
            headers["X-Xet-Hash"] = entry.lfs.xet_hash
            headers["Link"] = f'<{token}>; rel="xet-auth", <{terms}>; rel="xet-reconstruction-info"'

        def read(start: int, stop: int) -> Iterator[bytes | memoryview]:
            try:
                yield from self.hub.store.read(oid, start, stop)
            except NotFound as error:
                raise Corrupt(
                    f"{entry.path} of {repo.full}: its bytes are missing from the store; "
                    "upload the file again"
                ) from error
            except Corrupt as error:
                raise Corrupt(f"{entry.path} of {repo.full}: {error.message}") from error

        return BytesReply(request, read, size, headers=headers)

    def raw(self, request: Request, params: Params) -> Response:
        """As `resolve`, but an LFS file answers with its pointer's text, as git sees it."""
        _, repo, revision, entry = self._find(request, params)
        body = self.hub.catalog.files.read(repo, entry)
        headers = _headers(revision, entry)
        headers["ETag"] = f'"{entry.oid}"'
        return _small(request, body, headers)

    def _find(self, request: Request, params: Params) -> tuple[Actor, Repo, Revision, Entry]:
        """Who, what, where; the gate is asked before it is told whether a file exists."""
        actor = self.hub.actor(request)
        repo = repo_of(self.hub, actor, params)
        path = RepoPath(params["path"])
        if path not in GATE_FREE:
            demand(actor, repo, "bytes")
        revision = self.hub.catalog.refs.resolve(repo, params["rev"])
        try:
            entry = self.hub.catalog.files.find(repo, revision.tree, path)
            if entry.kind != "file":
                raise EntryNotFound(f"{path} is a folder; list it with the tree route")
        except EntryNotFound as error:
            # With the commit the client can remember that this file does not exist there.
            error.headers = {"X-Repo-Commit": revision.commit}
            raise
        return actor, repo, revision, entry

    def _count(self, request: Request, actor: Actor, repo: Repo, entry: Entry) -> None:
        marked = request.headers.get(COUNTER_HEADER, "") in ("1", "true")
        caller = caller_of(request, actor)
        self.hub.catalog.counting.note(repo, entry.path, caller, marked=marked)


def _small(request: Request, body: bytes, headers: dict[str, str]) -> Response:
    """A file that the catalog holds whole."""
    return BytesReply(
        request, lambda start, stop: iter([body[start:stop]]), len(body), headers=headers
    )


def _headers(revision: Revision, entry: Entry) -> dict[str, str]:
    name = entry.path.name
    text = name.lower().endswith((".json", ".md", ".txt", ".yaml", ".yml", ".py", ".jinja"))
    return {
        "X-Repo-Commit": revision.commit,
        "ETag": f'"{entry.etag}"',
        "Accept-Ranges": "bytes",
        "Content-Type": "text/plain; charset=utf-8" if text else "application/octet-stream",
        "Content-Disposition": _disposition(name),
        "Cache-Control": "no-cache" if revision.ref else "private, max-age=3600",
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": _EXPOSED,
        "Vary": "Authorization",
        **_SAFE_HEADERS,
    }


def _disposition(name: str) -> str:
    plain = name.encode("ascii", "replace").decode().replace('"', "'").replace("\\", "_")
    return f"inline; filename*=UTF-8''{quote(name, safe='')}; filename=\"{plain}\";"
