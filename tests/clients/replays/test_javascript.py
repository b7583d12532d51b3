"""@huggingface/hub, the JavaScript client: what it sends, and each field that it reads."""

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from replay_kit import LARGE, LARGE_PATH, SMALL, Scene

EXPAND = ["pipeline_tag", "private", "gated", "downloads", "likes", "lastModified"]
MEDIA = "application/vnd.git-lfs+json"
NEW = hashlib.shake_256(b"javascript").digest(50_000)


@pytest.fixture
def js(scene: Scene) -> Iterator[httpx.Client]:
    with scene.client() as client:
        yield client


def entry(item: dict[str, Any], name: str) -> None:
    """The fields of a ModelEntry."""
    assert item["id"] == name
    assert len(item["_id"]) == 24
    assert item["private"] is True
    assert item["gated"] is False
    assert isinstance(item["downloads"], int)
    assert isinstance(item["likes"], int)
    datetime.fromisoformat(item["lastModified"])


def test_model_info_asks_for_head(scene: Scene, js: httpx.Client) -> None:
    """Without a revision it says `HEAD`, git's name for the default branch."""
    query = urlencode([("expand", name) for name in [*EXPAND, "sha", "siblings"]])
    info = js.get(f"/api/models/{scene.repo}/revision/HEAD?{query}")
    assert info.status_code == 200
    entry(info.json(), scene.repo)
    main = js.get(f"/api/models/{scene.repo}/revision/main").json()
    assert info.json()["sha"] == main["sha"]


def test_list_models(scene: Scene, js: httpx.Client) -> None:
    pairs = [("limit", "500"), ("author", scene.owner), *(("expand", name) for name in EXPAND)]
    (found,) = js.get(f"/api/models?{urlencode(pairs)}").json()
    entry(found, scene.repo)


def test_list_files(scene: Scene, js: httpx.Client) -> None:
    """The revision stands there unescaped; `expand` brings the last commit of each."""
    items = js.get(f"/api/models/{scene.repo}/tree/main?recursive=true&expand=true").json()
    by_path = {item["path"]: item for item in items}
    assert by_path["sub"]["type"] == "directory"
    large = by_path[LARGE_PATH]
    assert (large["type"], large["size"]) == ("file", len(LARGE))
    assert (large["lfs"]["oid"], large["lfs"]["size"]) == (scene.large_oid, len(LARGE))
    assert large["lfs"]["pointerSize"] > 100
    for item in items:
        assert {"id", "title", "date"} <= item["lastCommit"].keys()
        datetime.fromisoformat(item["lastCommit"]["date"])


def test_paths_info(scene: Scene, js: httpx.Client) -> None:
    """JSON, where Python sends a form."""
    body = {"paths": ["config.json", LARGE_PATH, "sub", "none"], "expand": True}
    found = js.post(f"/api/models/{scene.repo}/paths-info/main", json=body).json()
    assert [(item["path"], item["type"]) for item in found] == [
        ("config.json", "file"), (LARGE_PATH, "file"), ("sub", "directory")]  # fmt: skip
    assert found[1]["lfs"]["oid"] == scene.large_oid
    assert all(datetime.fromisoformat(item["lastCommit"]["date"]) for item in found)


@pytest.mark.parametrize(("path", "data"), [("config.json", SMALL), (LARGE_PATH, LARGE)])
def test_file_download_info(scene: Scene, js: httpx.Client, path: str, data: bytes) -> None:
    headers = {"Range": "bytes=0-0", "Accept": "application/vnd.xet-fileinfo+json, */*"}
    reply = js.get(f"/{scene.repo}/resolve/main/{path}", headers=headers)
    assert reply.is_success
    assert reply.headers["ETag"]
    assert reply.headers["content-range"].split("/")[1] == str(len(data))
    gone = js.get(f"/{scene.repo}/resolve/main/none", headers=headers)
    assert (gone.status_code, gone.headers["X-Error-Code"]) == (404, "EntryNotFound")


def test_list_commits(scene: Scene, js: httpx.Client) -> None:
    commits = js.get(f"/api/models/{scene.repo}/commits/main?limit=100").json()
    assert scene.commit in [commit["id"] for commit in commits]
    for commit in commits:
        assert commit["authors"][0]["user"]
        assert isinstance(commit["title"], str)
        assert isinstance(commit["message"], str)
        datetime.fromisoformat(commit["date"])


def test_upload_files(scene: Scene, js: httpx.Client) -> None:
    """Preupload, LFS with `sha_256` (its own spelling), PUT without a type, NDJSON joined by LF."""
    files = [("js/small.txt", b"hello"), ("js/large.bin", NEW)]
    asked = {"files": [{"path": path, "size": len(data),
                        "sample": base64.b64encode(data[:512]).decode()}
                       for path, data in files]}  # fmt: skip
    told = js.post(f"/api/models/{scene.repo}/preupload/main", json=asked).json()["files"]
    modes = {item["path"]: item["uploadMode"] for item in told}
    assert modes == {"js/small.txt": "regular", "js/large.bin": "lfs"}
    oid = hashlib.sha256(NEW).hexdigest()
    batch = {"operation": "upload", "transfers": ["basic", "multipart"], "hash_algo": "sha_256",
             "ref": {"name": "main"}, "objects": [{"oid": oid, "size": len(NEW)}]}  # fmt: skip
    reply = js.post(f"/{scene.repo}.git/info/lfs/objects/batch", content=json.dumps(batch),
                    headers={"Accept": MEDIA, "Content-Type": MEDIA})  # fmt: skip
    assert reply.status_code == 200, reply.text
    (found,) = reply.json()["objects"]
    upload = found["actions"]["upload"]
    assert "chunk_size" not in upload.get("header", {})
    put = httpx.put(upload["href"], content=NEW, trust_env=False,
                    headers={"X-Request-Id": reply.headers["X-Request-Id"]})  # fmt: skip
    assert put.status_code == 200
    lines = [
        {"key": "header", "value": {"summary": "from a browser"}},
        {"key": "lfsFile", "value": {"path": "js/large.bin", "algo": "sha256", "oid": oid,
                                     "size": len(NEW)}},
        {"key": "file", "value": {"content": base64.b64encode(b"hello").decode(),
                                  "path": "js/small.txt", "encoding": "base64"}},
    ]  # fmt: skip
    made = js.post(
        f"/api/models/{scene.repo}/commit/main",
        content="\n".join(map(json.dumps, lines)),
        headers={"Content-Type": "application/x-ndjson"},
    ).json()
    assert {"commitOid", "commitUrl", "hookOutput"} <= made.keys()
    assert js.get(f"/{scene.repo}/resolve/main/js/large.bin").content == NEW


def test_life_of_a_repo(scene: Scene, js: httpx.Client) -> None:
    body = {"name": "from-js", "private": False, "organization": scene.owner, "type": "model"}
    assert js.post("/api/repos/create", json=body).status_code == 200
    gone = {"name": "from-js", "organization": scene.owner, "type": "model"}
    assert js.request("DELETE", "/api/repos/delete", json=gone).status_code == 200
