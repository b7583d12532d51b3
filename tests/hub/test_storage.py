"""What a repo takes: owners hear how long its files are, and only the hub's admins the rest."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from rights_world import World

from headwater.catalog.actors import OPERATOR
from headwater.catalog.commits import Plan, PutLfs
from headwater.hub import storage
from headwater.names import Digest, RepoPath
from store.pack_kit import model, safetensors, tuned

BASE = model(1, width=256)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def put(world: World, full: str, path: str, data: bytes) -> Digest:
    """Commit a large file."""
    with world.store.write_plain(len(data)) as writer:
        writer.write(data)
        blob = writer.finish(None, len(data))
    world.catalog.blobs.uploaded(OPERATOR, blob.oid, blob.size_bytes)
    repo = world.catalog.repos.find(OPERATOR, "model", full)
    plan = Plan("main", (PutLfs(RepoPath(path), blob.oid, None),), "add")
    world.catalog.commits.apply(OPERATOR, repo, plan)
    return blob.oid


def test_owners_see_lengths_and_admins_see_what_it_takes(world: World) -> None:
    full = world.fresh("public")
    base = put(world, full, "base.safetensors", safetensors(BASE))
    child = put(world, full, "child.safetensors", safetensors(tuned(BASE, 2)))
    put(world, full, "copy.safetensors", safetensors(BASE))
    assert world.store.pack(base) is not None
    assert world.store.pack(child, [base]) is not None
    seen = world.ask("operator-admin", "GET", f"/api/models/{full}/storage")
    assert seen.status == 200
    files = {file["path"]: file for file in seen.json["files"]}
    assert set(files) == {"w.bin", "base.safetensors", "child.safetensors", "copy.safetensors"}
    assert files["base.safetensors"]["means"]["planes"] > 0
    assert files["child.safetensors"]["means"]["delta"] > 0
    assert files["copy.safetensors"]["storedBytes"] == files["base.safetensors"]["storedBytes"]
    once = [files[path] for path in ("w.bin", "base.safetensors", "child.safetensors")]
    assert seen.json["logicalBytes"] == sum(file["size"] for file in once)
    assert seen.json["storedBytes"] == sum(file["storedBytes"] for file in once)
    assert sum(seen.json["means"].values()) == seen.json["logicalBytes"]
    assert seen.json["truncated"] is False
    owner = world.ask("owner", "GET", f"/api/models/{full}/storage").json
    assert set(owner) == {"logicalBytes", "files", "truncated"}
    assert all(set(file) == {"path", "oid", "size"} for file in owner["files"])
    assert owner["logicalBytes"] == seen.json["logicalBytes"]


def test_an_owner_hears_the_same_whatever_others_hide(world: World) -> None:
    """A guess at somebody's private weights, packed against them, looks like any other file."""
    private = world.fresh("private", owner="elsewhere")
    hidden = put(world, private, "model.safetensors", safetensors(BASE))
    replies = []
    for bases in ((), (hidden,)):
        full = world.fresh("public")
        guess = put(world, full, "model.safetensors", safetensors(tuned(BASE, 3)))
        if bases:
            world.store.pack(hidden)
            assert world.store.pack(guess, bases) is not None
        replies.append(world.ask("owner", "GET", f"/api/models/{full}/storage"))
    assert replies[0].body == replies[1].body
    assert replies[0].headers.keys() == replies[1].headers.keys()


def test_a_reply_has_a_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    full = world.fresh("public")
    put(world, full, "a.safetensors", safetensors(BASE))
    address = f"/api/models/{full}/storage"
    monkeypatch.setattr(storage, "FILES_MAX", 1)
    reply = world.ask("owner", "GET", address).json
    assert (len(reply["files"]), reply["truncated"]) == (1, True)
    monkeypatch.setattr(storage, "FILES_MAX", 9)
    monkeypatch.setattr(storage, "TENSORS_MAX", 0)
    reply = world.ask("operator-admin", "GET", address).json
    assert reply["truncated"] is True
    assert ["storedBytes" in file for file in reply["files"]] == [True, False]


def test_a_bucket(world: World) -> None:
    bucket = world.fresh("private", "bucket")
    reply = world.ask("owner", "GET", f"/api/buckets/{bucket}/storage")
    assert reply.json == {"logicalBytes": 0, "files": [], "truncated": False}
    assert world.ask("stranger", "GET", f"/api/buckets/{bucket}/storage").status == 404
