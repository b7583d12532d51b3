"""One hub in-process, asked as git asks: for what no real git would send."""

import asyncio
import base64
import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from http_kit import Answer, _receive, scope
from sqlalchemy import func, select

from headwater.catalog import schema as s
from headwater.catalog.catalog import Catalog
from headwater.formats.pkt_line import FLUSH, Mark, pkt, read_pkt
from headwater.hub.context import Hub
from headwater.hub.routes import table
from headwater.hub.routing import Router
from headwater.hub.signing import Signer
from headwater.names import Digest, RepoId
from headwater.settings import Settings
from headwater.store import Store
from packs import pack as packed

NOTHING = "0" * 40
PIECE_BYTES = 64 * 2**10


class GitHub:
    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = Settings(data=folder, **settings)
        self.catalog = Catalog.open(self.settings.catalog_url, upload_ttl_s=3600, secret=b"s" * 32)
        store = Store.open(folder / "store")
        self.hub = Hub(self.settings, self.catalog, store, Signer(b"s" * 32))
        self.router = Router(table(self.hub), self.settings)
        self.catalog.accounts.create("ann")
        self.token = self.catalog.tokens.create("ann", "t", "write")
        self.ann = self.catalog.tokens.actor(self.token)
        self.repo = self.catalog.repos.create(self.ann, RepoId.parse("model", "ann/m"))

    @property
    def head(self) -> str:
        return str(self.catalog.refs.head(self.repo))

    def ask(
        self, method: str, path: str, body: bytes = b"", *, token: str | None = "", **headers: str
    ) -> Answer:
        """One request; the token of Ann unless another, or None, is given."""
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(message)

        named = {"host": "hub.example"} | {k.replace("_", "-"): v for k, v in headers.items()}
        if token is not None:
            pair = base64.b64encode(f"any:{token or self.token}".encode()).decode()
            named["authorization"] = f"Basic {pair}"
        pieces = [body[at : at + PIECE_BYTES] for at in range(0, len(body), PIECE_BYTES)]
        made = scope(method, path.encode(), named)
        asyncio.run(self.router(made, _receive(pieces, False), send))
        heads = {n.decode().lower(): v.decode("latin-1") for n, v in sent[0]["headers"]}
        return Answer(sent[0]["status"], heads, b"".join(m.get("body", b"") for m in sent[1:]))

    def post(self, service: str, body: bytes, **more: Any) -> Answer:
        kind = f"application/x-{service}-request"
        return self.ask("POST", f"/ann/m.git/{service}", body, content_type=kind, **more)

    def push(
        self,
        pack: bytes,
        *commands: tuple[str, str, str],
        words: str = "report-status",
        **more: Any,
    ) -> list[str]:
        """The lines of the report; `commands` are (ref, old, new)."""
        lines = [f"{old} {new} {ref}" for ref, old, new in commands]
        lines[0] += f"\0{words}"
        body = b"".join(map(pkt, lines)) + FLUSH + pack
        answer = self.post("git-receive-pack", body, **more)
        assert answer.status == 200, answer
        return [line.decode().rstrip("\n") for line in packets(answer.body) if line is not FLUSH]

    def push_main(self, entries: Sequence[bytes], new: str) -> list[str]:
        return self.push(packed(entries), ("refs/heads/main", self.head, new))

    def audits(self) -> list[str]:
        with self.catalog.db.read() as conn:
            return list(conn.execute(select(s.audit.c.action).order_by(s.audit.c.id)).scalars())

    def objects(self) -> int:
        with self.catalog.db.read() as conn:
            return int(conn.execute(select(func.count()).select_from(s.git_object)).scalar_one())

    def uploaded(self, data: bytes) -> None:
        """Ann has sent these bytes by LFS."""
        self.catalog.blobs.uploaded(self.ann, Digest(sha256(data).hexdigest()), len(data))


@contextmanager
def git_hub(**settings: Any) -> Iterator[GitHub]:
    with tempfile.TemporaryDirectory() as folder:
        made = GitHub(Path(folder), **settings)
        try:
            yield made
            left = list((Path(folder) / "tmp").glob("*"))
            assert left == [], "a request left files behind"
        finally:
            made.catalog.close()


def packets(body: bytes) -> list[bytes]:
    """Every packet; FLUSH for each mark."""
    stream = io.BytesIO(body)
    found = []
    while stream.tell() < len(body):
        line = read_pkt(stream.read)
        found.append(FLUSH if isinstance(line, Mark) else line)
    return found
