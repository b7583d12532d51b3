"""A reply lost on its way, and the request sent again: one effect, never a wrong error (F18).

Each is sent twice, byte for byte. The second answer is the first one's, or a 409 that clients take
for "it is done"; and what the hub keeps is the same after it as before it, audit rows included.
"""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.hub.routes import table
from headwater.names import Digest, RepoId, XetHash
from hub.xet_kit import Answer, Cas, serve
from raw import Raw

OLD, NEW = random.Random(1).randbytes(20_000), random.Random(2).randbytes(30_000)
COUNTED = (
    s.audit, s.event, s.repo, s.ref, s.git_object, s.repo_blob, s.withdrawn, s.bucket_file,
    s.bucket_change, so.discussion, so.discussion_event, so.repo_like, so.webhook,
    so.access_request,
)  # fmt: skip
CARD = b"---\nlicense: mit\n---\n"


class World:
    """Ann with a model (a large file, replaced once; a pull request), a gated one, a bucket."""

    def __init__(self, cas: Cas) -> None:
        self.cas = cas
        self.ann, self.bob = cas.user("ann"), cas.user("bob")
        self.shas: list[str] = []
        with Raw(cas.url, self.ann) as raw:
            raw.create("ann/m")
            raw.create("ann/gated")
            for data in (OLD, NEW):
                oid, _ = raw.lfs("ann/m", data)
                self.shas.append(oid)
                assert raw.commit("ann/m", lfs={"w.bin": (oid, len(data))}).status == 200
        catalog = cas.hub.catalog
        ann = cas.actor(self.ann)
        catalog.repos.create(ann, RepoId.parse("bucket", "ann/b"))
        catalog.repos.set(ann, "model", "ann/gated", gated="manual")
        self.xet = XetHash("ab" * 32)
        blob = cas.hub.store.find(Digest(self.shas[1]))
        assert blob is not None
        catalog.blobs.uploaded(ann, blob.oid, blob.size_bytes, xet_hash=self.xet)
        lines = [
            {"key": "header", "value": {"summary": "Propose", "description": ""}},
            {"key": "file", "value": {"path": "new.txt", "content": "new"}},
        ]
        made = self.send("/api/models/ann/m/commit/main?create_pr=1", lines)
        assert made.status == 200, made.body

    def send(self, path: str, body: Any, who: str = "") -> Answer:
        """`body`: JSON, or a list of lines of it."""
        lines = body if isinstance(body, list) else [body]
        raw = b"\n".join(json.dumps(line).encode() for line in lines)
        return self.cas.ask("POST", path, token=who or self.ann, body=raw)

    def kept(self) -> dict[str, int]:
        with self.cas.hub.catalog.db.read() as conn:
            return {
                t.name: conn.execute(select(func.count()).select_from(t)).scalar_one()
                for t in COUNTED
            }


@pytest.fixture
def world() -> Iterator[World]:
    with serve(table) as cas:
        yield World(cas)


def again(world: World, path: str, body: Any, who: str = "") -> tuple[Answer, Answer]:
    first = world.send(path, body, who)
    assert first.status == 200, first.body
    before = world.kept()
    second = world.send(path, body, who)
    assert world.kept() == before, "done twice"
    return first, second


def bucket_lines(world: World) -> list[dict[str, Any]]:
    return [
        {"type": "addFile", "path": "x", "xetHash": world.xet, "mtime": 1},
        {"type": "addFile", "path": "d/y", "xetHash": world.xet, "mtime": 1},
    ]


@pytest.mark.parametrize("rewrite", [False, True])
def test_large_files_deleted(world: World, rewrite: bool) -> None:
    body = {"deletions": {"sha": world.shas[:1], "rewriteHistory": rewrite}}
    _, second = again(world, "/api/models/ann/m/lfs-files/batch", body)
    assert second.status == 200


def test_a_squash(world: World) -> None:
    first, second = again(world, "/api/models/ann/m/super-squash/main", {"message": "one"})
    assert (second.status, second.json) == (200, first.json)


def test_a_duplicate_is_there_already(world: World) -> None:
    first, second = again(world, "/api/models/ann/m/duplicate", {"repository": "ann/copy"})
    assert second.status == 409
    assert second.json["url"] == first.json["url"]


def test_a_merge(world: World) -> None:
    _, second = again(world, "/api/models/ann/m/discussions/1/merge", {})
    assert second.status == 409
    assert "merged already" in second.json["error"]


def test_a_bucket_batch(world: World) -> None:
    first, second = again(world, "/api/buckets/ann/b/batch", bucket_lines(world))
    assert (second.status, second.json) == (200, first.json)
    drop = [{"type": "deleteFile", "path": "x"}]
    first, second = again(world, "/api/buckets/ann/b/batch", drop)
    assert (second.status, second.json) == (200, first.json)


def test_a_like(world: World) -> None:
    _, second = again(world, "/api/models/ann/m/like", {}, world.bob)
    assert second.status == 200


def test_somebody_let_in(world: World) -> None:
    """HF's own words for the client: 400 for who has access."""
    path = "/api/models/ann/gated/user-access-request/grant"
    _, second = again(world, path, {"user": "bob"})
    assert second.status == 400
    assert "already" in second.json["error"]


def test_a_request_that_is_accepted(world: World) -> None:
    ask = world.send("/api/models/ann/gated/user-access-request", {}, world.bob)
    assert ask.status == 200, ask.body
    path = "/api/models/ann/gated/user-access-request/handle"
    _, second = again(world, path, {"user": "bob", "status": "accepted"})
    assert second.status == 404


def test_asking_for_access(world: World) -> None:
    path = "/api/models/ann/gated/user-access-request"
    _, second = again(world, path, {}, world.bob)
    assert second.status == 200
