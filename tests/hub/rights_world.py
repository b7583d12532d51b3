"""A small hub with everybody and every kind of repo, asked in-process: for the table of rights.

    world = World(folder)
    world.ask(actor, "GET", "/api/…")   one request as one of ACTORS
    world.fresh("gated")                a repo of the organisation `lab` that nobody touched yet
    world.changed(before)               whether the catalog changed, and how many audit rows it got

Written from docs/protocol.md, not from catalog/rights.py: the two are compared.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
from sqlalchemy import func, select

from headwater.catalog import schema as s
from headwater.catalog.actors import OPERATOR, Scope
from headwater.catalog.catalog import Catalog
from headwater.catalog.commits import Plan, PutFile, PutLfs
from headwater.hub.context import Hub
from headwater.hub.routes import table
from headwater.hub.routing import Router
from headwater.hub.signing import Signer
from headwater.names import Digest, RepoId, RepoPath, RepoType
from headwater.settings import Settings
from headwater.store.store import Store
from hub.http_kit import Answer, scope

SECRET = bytes(range(32))
Visibility = Literal["public", "private", "gated", "gated-private"]
VISIBILITIES: tuple[Visibility, ...] = ("public", "private", "gated", "gated-private")
WEIGHTS = b"weights" * 1000


@dataclass(frozen=True, slots=True)
class Caller:
    """What the rules look at: standing in `lab`, and what the token lets through."""

    name: str
    role: str | None = None  # in the organisation that owns the repos
    token: str = "write"  # write | read | narrow (fine-grained, of another repo) | none | revoked
    admin: bool = False  # of the hub


ACTORS = (
    Caller("anonymous", token="none"),
    Caller("stranger"),
    Caller("stranger-read", token="read"),
    Caller("former"),  # was a writer of `lab` until a moment ago
    Caller("reader", role="read"),
    Caller("contributor", role="contributor"),
    Caller("writer", role="write"),
    Caller("writer-read", role="write", token="read"),
    Caller("writer-narrow", role="write", token="narrow"),
    Caller("writer-revoked", role="write", token="revoked"),
    Caller("owner", role="admin"),
    Caller("operator-admin", admin=True),
)


class World:
    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data=folder)
        self.catalog = Catalog.open(
            self.settings.catalog_url, upload_ttl_s=self.settings.upload_ttl_s, secret=SECRET
        )
        self.store = Store.open(folder / "store")
        self.hub = Hub(self.settings, self.catalog, self.store, Signer(SECRET))
        self.rows = table(self.hub)
        self.router = Router(self.rows, self.settings)
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        database = folder / "catalog.sqlite"
        self._watch = sqlite3.connect(database, check_same_thread=False)
        self.tokens: dict[str, str | None] = {}
        self._people()
        self.oid = self._weights()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._watch.close()
        self.hub.labelling.close()
        self.catalog.close()

    def _people(self) -> None:
        accounts, tokens = self.catalog.accounts, self.catalog.tokens
        for org in ("lab", "elsewhere"):
            accounts.create(org, "org")
        for caller in ACTORS:
            if caller.token == "none":
                self.tokens[caller.name] = None
                continue
            accounts.create(caller.name, is_admin=caller.admin)
            role = caller.role or ("write" if caller.name == "former" else None)
            if role:
                accounts.set_role("lab", caller.name, role)  # type: ignore[arg-type]
            scopes = (Scope("model", "other/repo", ("repo.write", "repo.content.read")),)
            narrow = caller.token == "narrow"
            kind = "fineGrained" if narrow else "read" if caller.token == "read" else "write"
            self.tokens[caller.name] = tokens.create(
                caller.name, "t", kind, scopes=scopes if narrow else ()
            )
        accounts.set_role("lab", "former", None)
        tokens.revoke("writer-revoked", "t")

    def _weights(self) -> Digest:
        with self.store.write_plain(len(WEIGHTS)) as writer:
            writer.write(WEIGHTS)
            blob = writer.finish(None, len(WEIGHTS))
        self.catalog.blobs.uploaded(OPERATOR, blob.oid, blob.size_bytes)
        return blob.oid

    def fresh(self, visibility: Visibility, type: RepoType = "model", owner: str = "lab") -> str:
        """The full name of a new repo with a large file, a branch, a tag and a pull request."""
        name = f"r{next(self._numbers)}"
        repos = self.catalog.repos
        rid = RepoId(type, owner, name)
        repo = repos.create(OPERATOR, rid, private=visibility.endswith("private"))
        if type == "bucket":
            return rid.full
        card = self.catalog.commits.stage(repo, [b"# card"])
        changes = (
            PutFile(RepoPath("config.json"), card[0]),
            PutLfs(RepoPath("w.bin"), self.oid, None),
        )
        self.catalog.commits.apply(OPERATOR, repo, Plan("main", changes, "files"))
        self.catalog.refs.create_branch(OPERATOR, repo, "dev")
        self.catalog.refs.create_tag(OPERATOR, repo, "v1", "main", "")
        change = (PutFile(RepoPath("pr.txt"), card[0]),)
        self.catalog.commits.apply(
            OPERATOR, repo, Plan("main", change, "a pr", "why", create_pr=True)
        )
        if visibility.startswith("gated"):
            repos.set(OPERATOR, type, rid.full, gated="manual")
        return rid.full

    def comment(self, full: str) -> str:
        """The id of the first comment of the repo's pull request, which the operator wrote."""
        repo = self.catalog.repos.find(OPERATOR, "model", full)
        events = self.catalog.discussions.events(repo, 1)
        return next(event.id for event in events if event.kind == "comment")

    def collection(self) -> str:
        """`namespace/slug/item` of a new public collection of `lab` with one model in it."""
        collections = self.catalog.collections
        made = collections.create(OPERATOR, "lab", f"Title {next(self._numbers)}")
        filled = collections.add_item(
            OPERATOR, "lab", made.full_slug.split("/")[1], "model", self.fresh("public")
        )
        return f"{filled.full_slug}/{filled.items[0].hub_id}"

    def ask(
        self, caller: str, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Answer:
        token = self.tokens[caller]
        sent = {"host": "hub.example", **{k.replace("_", "-"): v for k, v in headers.items()}}
        if token:
            sent["authorization"] = f"Bearer {token}"
        if body is not None:
            sent["content-length"] = str(len(body))
        work = self._ask(scope(method, path.encode(), sent), body or b"")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _ask(self, made: dict[str, Any], body: bytes) -> Answer:
        sent: list[dict[str, Any]] = []
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.router(made, receive, send)
        named = {k.decode().lower(): v.decode("latin-1") for k, v in sent[0]["headers"]}
        return Answer(sent[0]["status"], named, b"".join(m.get("body", b"") for m in sent[1:]))

    def mark(self) -> tuple[int, int]:
        """For `changed`: where the catalog and its audit trail are now."""
        version = self._watch.execute("PRAGMA data_version").fetchone()[0]
        with self.catalog.db.read() as conn:
            return version, conn.execute(select(func.count()).select_from(s.audit)).scalar_one()

    def changed(self, before: tuple[int, int]) -> tuple[bool, int]:
        """(whether anything was written since, audit rows since)."""
        now = self.mark()
        return now[0] != before[0], now[1] - before[1]


def sample(kind: Any, name: str = "") -> Any:
    """A value that a struct, or a field of this name and type, takes: as little as it asks for."""
    info = msgspec.inspect.type_info(kind) if not isinstance(kind, msgspec.inspect.Type) else kind
    match info:
        case msgspec.inspect.StructType():
            fields = [f for f in info.fields if f.required]
            made = {f.encode_name: sample(f.type, f.encode_name) for f in fields}
            return made | ({info.tag_field: info.tag} if info.tag_field else {})
        case msgspec.inspect.StrType():
            return "sample"
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            return 1
        case msgspec.inspect.BoolType():
            return False
        case msgspec.inspect.LiteralType():
            return info.values[0]
        case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType():
            return []
        case msgspec.inspect.DictType():
            return {}
        case msgspec.inspect.UnionType():
            return sample(info.types[0], name)
        case msgspec.inspect.NoneType() | msgspec.inspect.AnyType() | msgspec.inspect.RawType():
            return None
    raise AssertionError(f"no sample for field {name} of {info}")
