"""Squash, duplicate, and deleting large files, over HTTP: statuses, shapes, and what stays shut."""

import hashlib
import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from headwater.app import Floors
from headwater.catalog.inspection import inspect
from headwater.cli.gc import collect
from headwater.hub.routes import table
from hub.test_possession import SECRET, Known, Person
from hub.xet_kit import Answer, Cas, serve
from raw import Raw

OLD, NEW = random.Random(1).randbytes(70_000), random.Random(2).randbytes(80_000)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class World:
    """Ann with a model of two large files, one of them in the history only; Eve with a token."""

    def __init__(self, cas: Cas) -> None:
        self.cas = cas
        self.ann, self.eve = cas.user("ann"), cas.user("eve")
        with Raw(cas.url, self.ann) as raw:
            raw.create("ann/m")
            for data in (OLD, NEW):
                oid, status = raw.lfs("ann/m", data)
                assert status == 200
                made = raw.commit(
                    "ann/m", {"a.txt": data[:9].hex().encode()}, {"w.bin": (oid, len(data))}
                )
                assert made.status == 200

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = "ann") -> Answer:
        known = {"ann": self.ann, "eve": self.eve}
        raw = None if body is None else json.dumps(body).encode()
        return self.cas.ask(method, path, token=known.get(token or "", token), body=raw)

    def post(self, path: str, body: Any, *, token: str | None = "ann") -> Answer:
        return self.ask("POST", f"/api/models/{path}", body, token=token)

    def delete(self, *shas: str, rewrite: bool, token: str | None = "ann") -> Answer:
        body = {"deletions": {"sha": list(shas), "rewriteHistory": rewrite}}
        return self.post("ann/m/lfs-files/batch", body, token=token)

    def floors(self) -> Floors:
        hub = self.cas.hub
        return Floors(hub.settings, hub.store, hub.catalog, b"")

    def damage(self) -> list[Any]:
        catalog = self.cas.hub.catalog
        found = inspect(catalog.db, catalog.git, self.cas.hub.store, data=True)
        return [*found, *self.cas.hub.store.check(data=True)]


@pytest.fixture
def world() -> Iterator[World]:
    with serve(table) as cas:
        yield World(cas)


def error(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.headers["X-Error-Code"]


def test_squash(world: World) -> None:
    made = world.post("ann/m/super-squash/main", {"message": "one"})
    assert made.status == 200
    (only,) = world.ask("GET", "/api/models/ann/m/commits/main").json
    assert (only["title"], only["id"]) == ("one", made.json["commitOid"])
    assert world.ask("GET", "/ann/m/resolve/main/w.bin").body == NEW
    assert error(world.post("ann/m/super-squash/nowhere", {"message": "x"})) == (
        404,
        "RevisionNotFound",
    )
    world.ask("POST", "/api/models/ann/m/tag/main", {"tag": "v1"})
    refused = world.post("ann/m/super-squash/v1", {"message": "x"})
    assert error(refused) == (400, "BadRequest")
    assert "Invalid reference for a branch" in refused.json["error"]
    assert world.post("ann/m/super-squash/main", {}).status == 200  # a message of our own
    assert error(world.post("ann/m/super-squash/main", {"message": 3})) == (400, "BadRequest")
    assert world.post("ann/m/super-squash/main", {"message": "x"}, token="eve").status == 403
    pull = quote("refs/pr/1", safe="")
    assert world.post(f"ann/m/super-squash/{pull}", {"message": "x"}).status == 404


def test_one_gc_gives_the_space_back(world: World) -> None:
    world.post("ann/m/super-squash/main", {"message": "one"})
    gone = collect(world.floors(), 0, dry_run=False)
    assert (gone["blobs"], gone["bytes"]) == (1, len(OLD))
    assert gone["git objects"] > 0
    assert world.ask("GET", "/ann/m/resolve/main/w.bin").body == NEW
    assert world.damage() == []
    assert collect(world.floors(), 0, dry_run=False) == dict.fromkeys(gone, 0)


def test_listing_in_pages(world: World) -> None:
    path: str | None = "/api/models/ann/m/lfs-files?limit=1"
    found = []
    while path:
        answer = world.ask("GET", path)
        assert answer.status == 200
        found += answer.json
        link = answer.headers["Link"]
        path = link[1:].partition(">")[0].removeprefix(world.cas.url) if link else None
    assert [(f["fileOid"], f["size"]) for f in found] == [(sha(NEW), 80_000), (sha(OLD), 70_000)]
    assert {(f["filename"], f["ref"]) for f in found} == {("w.bin", "refs/heads/main")}
    assert set(found[0]) == {"fileOid", "oid", "filename", "ref", "pushedAt", "size"}
    for cursor in ("x", "WzEsMl0", "WzEsImEiXQ"):  # no base64 of ours; [1,2]; [1,"a"]
        assert world.ask("GET", f"/api/models/ann/m/lfs-files?cursor={cursor}").status == 400
    assert world.ask("GET", "/api/models/ann/m/lfs-files", token="eve").status == 403


def test_deleted_without_rewriting(world: World) -> None:
    before = world.ask("GET", "/api/models/ann/m/refs").json
    done = world.delete(sha(NEW), rewrite=False)
    assert done.json == {"success": True, "deleted": 1, "rewritten": 0}
    assert world.ask("GET", "/api/models/ann/m/refs").json == before
    for method in ("GET", "HEAD"):
        got = world.ask(method, "/ann/m/resolve/main/w.bin")
        assert error(got) == (410, "EntryNotFound")
        assert "w.bin" in got.headers["X-Error-Message"]
        assert got.headers["X-Repo-Commit"] is None  # else the client would remember an absence
    tree = {item["path"]: item for item in world.ask("GET", "/api/models/ann/m/tree/main").json}
    assert tree["w.bin"]["lfs"]["oid"] == sha(NEW)
    assert b"oid sha256:" + sha(NEW).encode() in world.ask("GET", "/ann/m/raw/main/w.bin").body
    asked = {"operation": "download", "objects": [{"oid": sha(NEW), "size": len(NEW)}]}
    batch = world.ask("POST", "/ann/m.git/info/lfs/objects/batch", asked).json
    assert batch["objects"][0]["error"]["code"] == 404
    assert world.ask("GET", "/api/models/ann/m").json["usedStorage"] == len(OLD)
    assert world.damage() == []
    assert collect(world.floors(), 0, dry_run=False)["bytes"] == len(NEW)
    assert world.damage() == []
    with Raw(world.cas.url, world.ann) as raw:  # and back again
        raw.lfs("ann/m", NEW)
        assert raw.commit("ann/m", lfs={"w2.bin": (sha(NEW), len(NEW))}).status == 200
        assert raw.get("ann/m", "w.bin").content == NEW


def test_deleted_from_the_whole_history(world: World) -> None:
    first = world.ask("GET", "/api/models/ann/m/commits/main").json
    done = world.delete(sha(OLD), rewrite=True)
    assert done.json["deleted"] == 1
    assert done.json["rewritten"] == 2
    after = world.ask("GET", "/api/models/ann/m/commits/main").json
    assert [c["title"] for c in after] == [c["title"] for c in first]
    assert [c["date"] for c in after] == [c["date"] for c in first]
    assert after[-1]["id"] == first[-1]["id"]
    assert after[0]["id"] != first[0]["id"]
    old = world.ask("GET", f"/ann/m/resolve/{first[1]['id']}/w.bin")  # until gc
    assert error(old) == (410, "EntryNotFound")
    collect(world.floors(), 0, dry_run=False)
    old = world.ask("GET", f"/ann/m/resolve/{first[1]['id']}/w.bin")
    assert error(old) == (404, "RevisionNotFound")
    assert world.ask("GET", f"/ann/m/resolve/{after[1]['id']}/w.bin").status == 404
    assert world.ask("GET", "/ann/m/resolve/main/w.bin").body == NEW
    assert world.damage() == []


def test_what_cannot_be_deleted(world: World) -> None:
    assert world.delete(rewrite=True).json["deleted"] == 0
    assert world.delete("0" * 64, rewrite=True).json["deleted"] == 0
    assert world.delete("nonsense", rewrite=True).status == 400
    assert world.delete(*[sha(NEW)] * 1001, rewrite=True).status == 413
    assert world.post("ann/m/lfs-files/batch", {"deletions": {}}).status == 400
    assert world.delete(sha(NEW), rewrite=True, token="eve").status == 403
    assert world.delete(sha(NEW), rewrite=True, token=None).status == 401
    assert world.ask("GET", "/ann/m/resolve/main/w.bin").body == NEW


def test_duplicate(world: World) -> None:
    body = {"repository": "eve/copy", "secrets": [{"key": "a", "value": "b"}], "hardware": "t4"}
    made = world.post("ann/m/duplicate", body, token="eve")
    assert made.status == 200
    assert made.json == {"url": f"{world.cas.url}/eve/copy", "filesCopyPending": False}
    topic, _, said = made.headers["X-HF-Warning"].partition("; ")
    assert topic == "duplicate"
    assert "secrets" in said
    assert "hardware" in said
    assert world.ask("GET", "/eve/copy/resolve/main/w.bin", token=None).body == NEW
    commits = [
        world.ask("GET", f"/api/models/{r}/commits/main").json for r in ("ann/m", "eve/copy")
    ]
    assert commits[0] == commits[1]
    again = world.post("ann/m/duplicate", {"repository": "eve/Copy"}, token="eve")
    assert error(again) == (409, "Conflict")
    assert again.json["url"] == f"{world.cas.url}/eve/copy"
    private = {"repository": "eve/two", "visibility": "private"}
    made = world.post("ann/m/duplicate", private, token="eve")
    assert made.headers["X-HF-Warning"] is None
    assert world.ask("GET", "/api/models/eve/two", token="eve").json["private"]
    assert world.post("ann/m/duplicate", {"repository": "ann/x"}, token="eve").status == 403
    assert world.post("ann/m/duplicate", {"repository": "eve/../x"}, token="eve").status == 400
    assert world.post("ann/m/duplicate", {"repository": "eve/x"}, token=None).status == 401
    assert world.damage() == []


def test_copy_a_file_across_repos(world: World) -> None:
    ann, eve = Person(world.cas, "ann", "ann/xet"), Person(world.cas, "eve", "eve/m")
    ann.send(SECRET)
    item = world.ask("GET", "/api/models/ann/xet/tree/main").json[-1]
    file = {"sha256": item["lfs"]["oid"], "xetHash": item["xetHash"], "filename": "w.bin"}
    body = {"target": {"type": "model", "name": "eve/m"}, "files": [file]}
    assert world.post("ann/xet/lfs-files/duplicate", body, token="eve").json == {"failed": []}
    world.ask("DELETE", "/api/repos/delete", {"name": "xet", "organization": "ann"})
    line = {"key": "lfsFile", "value": {"path": "w.bin", "algo": "sha256", "oid": SECRET.oid}}
    assert eve.commit(line).status == 200
    assert eve.ask("GET", "/eve/m/resolve/main/w.bin").body == SECRET.data
    plain = {"sha256": sha(NEW), "xetHash": "0" * 64, "filename": "w.bin"}
    for source in ("ann/m", "eve/m"):  # it came by LFS; it is not there
        refused = world.post(
            f"{source}/lfs-files/duplicate", body | {"files": [plain]}, token="eve"
        )
        assert [f["sha256"] for f in refused.json["failed"]] == [sha(NEW)]
    many = body | {"files": [file] * 1001}
    assert world.post("eve/m/lfs-files/duplicate", many, token="eve").status == 413
    assert world.post("eve/m/lfs-files/duplicate", body, token=None).status == 401


def test_private_is_missing_at_every_route(world: World) -> None:
    world.ask("PUT", "/api/models/ann/m/settings", {"private": True})
    doors = [
        ("POST", "super-squash/main", {"message": "x"}),
        ("POST", "duplicate", {"repository": "eve/copy"}),
        ("GET", "lfs-files", None),
        ("POST", "lfs-files/batch", {"deletions": {"sha": [sha(NEW)]}}),
        (
            "POST",
            "lfs-files/duplicate",
            {
                "target": {"type": "model", "name": "eve/t"},
                "files": [{"sha256": sha(NEW), "xetHash": "0" * 64}],
            },
        ),
    ]
    for method, route, body in doors:
        for token in ("eve", None):
            told = []
            for repo in ("ann/m", "ann/x"):
                got = world.ask(method, f"/api/models/{repo}/{route}", body, token=token)
                said = {k: v for k, v in got.json.items() if k != "requestId"}
                told.append((got.status, json.dumps(said).replace(repo, "R")))
            assert told[0] == told[1], route
            assert told[0][0] == (404 if token else 401), route


def test_a_rename_inside_a_commit(world: World) -> None:
    """`oldPath` moves: the old name goes, the content named in the line stands under the new."""
    eve = Person(world.cas, "ann", "ann/r")
    value = {"path": "a.txt", "content": "one", "encoding": "utf-8"}
    assert eve.commit({"key": "file", "value": value}).status == 200
    moved = {"path": "d/b.txt", "content": "one", "encoding": "utf-8", "oldPath": "a.txt"}
    assert eve.commit({"key": "file", "value": moved}).status == 200
    paths = [i["path"] for i in eve.ask("GET", "/api/models/ann/r/tree/main?recursive=1").json]
    assert paths == [".gitattributes", "d", "d/b.txt"]
    assert eve.commit({"key": "file", "value": moved}).status == 404  # nothing to move any more
    assert eve.ask("GET", "/ann/r/resolve/main/d/b.txt").body == b"one"
    entry = {"key": "deletedEntry", "value": {"path": "d"}}
    assert eve.commit(entry).status == 200
    assert eve.commit(entry).status == 404
    paths = [i["path"] for i in eve.ask("GET", "/api/models/ann/r/tree/main").json]
    assert paths == [".gitattributes"]


def test_a_deleted_file_comes_back_in_its_place(world: World) -> None:
    """The pointer is there already: preupload asks for the bytes, and the commit revives them."""
    asked = {"files": [{"path": "w.bin", "size": len(NEW), "sample": "AAAA"}]}
    known = world.post("ann/m/preupload/main", asked).json["files"][0]
    assert known["oid"] == sha(NEW)
    world.delete(sha(NEW), rewrite=False)
    assert "oid" not in world.post("ann/m/preupload/main", asked).json["files"][0]
    head = world.ask("GET", "/api/models/ann/m").json["sha"]
    with Raw(world.cas.url, world.ann) as raw:
        assert raw.commit("ann/m", lfs={"w.bin": (sha(NEW), len(NEW))}).status == 400
        raw.lfs("ann/m", NEW)
        made = raw.commit("ann/m", lfs={"w.bin": (sha(NEW), len(NEW))})
        assert (made.status, made.body["commitOid"]) == (200, head)  # nothing else changed
        assert raw.get("ann/m", "w.bin").content == NEW
    assert world.damage() == []


def test_a_deleted_file_is_gone_from_xet_too(world: World) -> None:
    """Neither its file hash nor its chunks lead anywhere, though the store has the bytes still."""
    ann = Person(world.cas, "ann", "ann/xet")
    ann.send(SECRET)
    known = Known(SECRET, "ann/xet")
    doors = [
        f"/v2/reconstructions/{SECRET.hash}",
        f"/v1/reconstructions/{SECRET.hash}",
        f"/v1/chunks/default/{known.chunk}",
    ]
    assert [ann.call("GET", door).status for door in doors] == [200, 200, 200]
    body = {"deletions": {"sha": [SECRET.oid], "rewriteHistory": False}}
    assert world.post("ann/xet/lfs-files/batch", body).json["deleted"] == 1
    assert [ann.call("GET", door).status for door in doors] == [404, 404, 404]
    item = world.ask("GET", "/api/models/ann/xet/tree/main").json[-1]
    assert (item["path"], "xetHash" in item) == ("w.bin", False)
    got = world.ask("HEAD", "/ann/xet/resolve/main/w.bin")
    assert (got.status, got.headers["X-Xet-Hash"]) == (410, None)
    assert world.damage() == []
