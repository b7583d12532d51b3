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
from headwater.catalog.rights import demand_file
from headwater.errors import ContentGone, Corrupt, EntryNotFound, NotFound
from headwater.hub.callers import caller_of
from headwater.hub.context import Hub
from headwater.hub.replies import base_url
from headwater.hub.routing import Route
from headwater.hub.stream import RANGES, BytesReply
from headwater.hub.templates import Params
from headwater.hub.where import repo_of
from headwater.names import Digest, RepoPath, XetHash, shown

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
            Route(
                "GET",
                "/{prefix}{id}/resolve/{rev}/{path*}",
                self.resolve,
                "bytes",
                True,
                answers=RANGES,
            ),
            Route(
                "GET", "/{prefix}{id}/raw/{rev}/{path*}", self.raw, "bytes", True, answers=RANGES
            ),
            Route("GET", cached, self.resolve, "bytes", True, answers=RANGES),
        ]

    def resolve(self, request: Request, params: Params) -> Response:
        actor, repo, revision, entry = self._find(request, params)
        demand_content(repo, entry)
        self._count(request, actor, repo, entry)
        headers = _headers(revision, entry)
        if entry.lfs is None:
            body = self.hub.catalog.files.read(repo, entry)
            return _small(request, body, headers)
        oid, size = entry.lfs.oid, entry.lfs.size_bytes
        headers["X-Linked-Size"] = str(size)
        headers["X-Linked-ETag"] = f'"{oid}"'
        if entry.lfs.xet_hash:
            tokens = f"{base_url(request)}/api/{repo.type}s/{repo.full}/xet-read-token"
            headers |= xet_headers(
                self.hub, request, entry.lfs.xet_hash, f"{tokens}/{revision.commit}"
            )
        return stored_reply(self.hub, request, oid, size, f"{entry.path} of {repo.full}", headers)

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
        demand_file(actor, repo, path)
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


def demand_content(repo: Repo, entry: Entry) -> None:
    """ContentGone when the file's bytes were taken out of this repo for good."""
    if entry.lfs is not None and entry.lfs.gone:
        # Without the commit: a client that notes an absence would not see the file come back.
        raise ContentGone(
            f"{shown(entry.path)}: the content of this file was deleted from {repo.full} for "
            "good. Its owners can upload it again."
        )


def xet_headers(hub: Hub, request: Request, xet_hash: XetHash, token_url: str) -> dict[str, str]:
    """Where a client that speaks Xet finds the file's parts; nothing when the hub does not."""
    if not hub.settings.xet:
        return {}
    terms = f"{hub.cas_url(request)}/v1/reconstructions/{xet_hash}"
    link = f'<{token_url}>; rel="xet-auth", <{terms}>; rel="xet-reconstruction-info"'
    return {"X-Xet-Hash": xet_hash, "Link": link}


def stored_reply(
    hub: Hub, request: Request, oid: Digest, size_bytes: int, name: str, headers: dict[str, str]
) -> Response:
    """A blob of the store, verified as it leaves; damage is told with the file's `name`."""

    def read(start: int, stop: int) -> Iterator[bytes | memoryview]:
        try:
            yield from hub.store.read(oid, start, stop)
        except NotFound as error:
            raise Corrupt(
                f"{name}: its bytes are missing from the store; upload the file again"
            ) from error
        except Corrupt as error:
            raise Corrupt(f"{name}: {error.message}") from error

    return BytesReply(request, read, size_bytes, headers=headers)


def _small(request: Request, body: bytes, headers: dict[str, str]) -> Response:
    """A file that the catalog holds whole."""
    return BytesReply(
        request, lambda start, stop: iter([body[start:stop]]), len(body), headers=headers
    )


def _headers(revision: Revision, entry: Entry) -> dict[str, str]:
    return {
        "X-Repo-Commit": revision.commit,
        "Cache-Control": "no-cache" if revision.ref else "private, max-age=3600",
        **file_headers(entry.path, entry.etag),
    }


def file_headers(path: RepoPath, etag: str) -> dict[str, str]:
    """What goes with the bytes of any file, so that a browser takes them for nothing else."""
    text = path.name.lower().endswith((".json", ".md", ".txt", ".yaml", ".yml", ".py", ".jinja"))
    return {
        "ETag": f'"{etag}"',
        "Accept-Ranges": "bytes",
        "Content-Type": "text/plain; charset=utf-8" if text else "application/octet-stream",
        "Content-Disposition": _disposition(path.name),
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": _EXPOSED,
        "Vary": "Authorization",
        **_SAFE_HEADERS,
    }


def _disposition(name: str) -> str:
    plain = name.encode("ascii", "replace").decode().replace('"', "'").replace("\\", "_")
    return f"inline; filename*=UTF-8''{quote(name, safe='')}; filename=\"{plain}\";"
