"""What the Xet tests share: a CAS on loopback over a folder of its own, and clients for it.

The server runs in a thread of the test, so a test can look into its store and catalog. Clients are
the real `hf_xet`, each with a cache folder of its own (else it would dedup against what an earlier
one sent without asking), or plain requests that do what no real client would.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import hf_xet
import numpy as np
import uvicorn

from headwater.catalog.actors import OPERATOR, Actor
from headwater.catalog.blobs import link
from headwater.catalog.catalog import Catalog
from headwater.catalog.models import Repo
from headwater.hub.connection import Connection
from headwater.hub.context import Hub
from headwater.hub.routing import Route, Router
from headwater.hub.signing import Signer
from headwater.hub.xet_routes import xet_routes
from headwater.names import RepoId, XetHash
from headwater.settings import Settings
from headwater.store import Store

SECRET = b"xet tests: thirty-two bytes or more"


def make_hub(folder: Path, **settings: Any) -> Hub:
    """A hub with nobody and nothing in it."""
    chosen = Settings(data=folder, **settings)
    catalog = Catalog.open(chosen.catalog_url, upload_ttl_s=chosen.upload_ttl_s, secret=SECRET)
    return Hub(
        settings=chosen,
        catalog=catalog,
        store=Store.open(folder / "store"),
        signer=Signer(SECRET),
    )


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Cas:
    """A served hub."""

    def __init__(self, folder: Path, port: int, hub: Hub) -> None:
        self.folder = folder
        self.port = port
        self.hub = hub
        self.requests: list[str] = []  # "METHOD path", in the order they came
        self._clients = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # People and repos

    def user(self, name: str, role: str = "write") -> str:
        """A token of `name`, who is made if need be."""
        accounts = self.hub.catalog.accounts
        if name not in [account.name for account in accounts.list("user")]:
            accounts.create(name, "user")
        made = len(self.hub.catalog.tokens.list(name))
        return self.hub.catalog.tokens.create(name, f"t{made}", role)  # type: ignore[arg-type]

    def actor(self, token: str) -> Actor:
        return self.hub.catalog.tokens.actor(token)

    def repo(self, full: str, *, private: bool = False) -> Repo:
        rid = RepoId.parse("model", full)
        return self.hub.catalog.repos.create(OPERATOR, rid, private=private)

    def hold(self, full: str, xet_hash: str) -> None:
        """As if the operator had committed the file to the repo."""
        catalog = self.hub.catalog
        oid = catalog.blobs.by_xet_hash(XetHash(xet_hash))
        assert oid is not None
        repo = catalog.repos.find(OPERATOR, "model", full)
        blob = self.hub.store.find(oid)
        assert blob is not None
        with catalog.db.write() as conn:
            link(catalog.db, conn, OPERATOR, repo.id, [(oid, blob.size_bytes)])

    # Plain requests

    def ask(
        self,
        method: str,
        url: str,
        *,
        token: str | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request to a whole address, or to a path of this server."""
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, target, body, sent)
            reply = connection.getresponse()
            return Answer(reply.status, reply.headers, reply.read())
        finally:
            connection.close()

    def access(self, token: str | None, full: str, verb: str, rev: str = "main") -> Answer:
        path = f"/api/models/{full}/xet-{verb}-token/{quote(rev, safe='')}"
        return self.ask("GET", path, token=token)

    def key(self, token: str | None, full: str, verb: str) -> tuple[str, str]:
        """The path of the CAS and an access token."""
        answer = self.access(token, full, verb)
        assert answer.status == 200, answer.body
        return urlsplit(answer.json["casUrl"]).path, answer.json["accessToken"]

    # Real clients

    def _session(self, **config: Any) -> hf_xet.XetSession:
        self._clients += 1
        os.environ["HF_XET_CACHE"] = str(self.folder / "clients" / str(self._clients))
        chosen = {"telemetry.enabled": False, "client.retry_base_delay": "50ms"} | config
        return hf_xet.XetSession(hf_xet.XetConfig().with_config(chosen))

    def _door(self, token: str | None, full: str, verb: str, rev: str = "main") -> dict[str, Any]:
        refresh = f"{self.url}/api/models/{full}/xet-{verb}-token/{rev}"
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return {"token_refresh_url": refresh, "token_refresh_headers": headers}

    def upload(
        self,
        token: str,
        full: str,
        *files: bytes,
        sha256: Any = hf_xet.COMPUTE_SHA256,
        rev: str = "main",
        **config: Any,
    ) -> Sent:
        """What `hf_xet` says after sending these files in one session."""
        session = self._session(**config)
        commit = session.new_upload_commit(**self._door(token, full, "write", rev))
        handles = [commit.start_upload_bytes(data, sha256=sha256) for data in files]
        report = commit.wait_to_finish()
        hashes = [handle.result().xet_info.hash for handle in handles]
        return Sent(hashes, report.dedup_metrics.deduped_bytes)

    def download(
        self,
        token: str | None,
        full: str,
        xet_hash: str,
        size_bytes: int,
        start: int | None = None,
        stop: int | None = None,
        **config: Any,
    ) -> bytes:
        group = self._session(**config).new_download_stream_group(**self._door(token, full, "read"))
        info = hf_xet.XetFileInfo(xet_hash, size_bytes)
        return b"".join(group.download_stream(info, start, stop))


@dataclass(frozen=True)
class Sent:
    hashes: list[str]
    deduped_bytes: int


@contextmanager
def serve(rows: Callable[[Hub], Sequence[Route]] = xet_routes, **settings: Any) -> Iterator[Cas]:
    """A hub on a free port, over a fresh folder; with the Xet routes alone if nothing is said."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hub = make_hub(folder / "data", **settings)
        router = Router(rows(hub), hub.settings)
        seen: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.append(f"{scope['method']} {scope['path']}")
            await router(scope, receive, send)

        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # at once: a test that is faster than the thread waits in line
        config = uvicorn.Config(
            app,
            http=Connection,
            loop="uvloop",
            lifespan="off",
            log_level="warning",
            timeout_graceful_shutdown=5,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            cas = Cas(folder, listener.getsockname()[1], hub)
            cas.requests = seen
            yield cas
        finally:
            server.should_exit = True
            thread.join()
            listener.close()
            hub.labelling.close()
            hub.catalog.close()


def weights(count: int, seed: int = 0) -> bytes:
    """`count` bfloat16 values, normally distributed like the weights of a layer."""
    values = np.random.default_rng(seed).standard_normal(count, np.float32) * 0.02
    return (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
