"""git-lfs 3: the batch API with its own media type, Basic credentials, PUT, verify, locks."""

import base64
import hashlib
from collections.abc import Iterator

import httpx
import pytest
from replay_kit import LARGE, Scene

MEDIA = "application/vnd.git-lfs+json"
NEW = hashlib.shake_256(b"git-lfs").digest(70_000)
OID = hashlib.sha256(NEW).hexdigest()
TRANSFERS = ["lfs-standalone-file", "basic", "ssh"]


@pytest.fixture
def lfs(scene: Scene) -> Iterator[httpx.Client]:
    pair = base64.b64encode(f"{scene.owner}:{scene.token}".encode()).decode()
    headers = {"Accept": MEDIA, "Content-Type": f"{MEDIA}; charset=utf-8",
               "User-Agent": "git-lfs/3.7.0 (GitHub; linux amd64; go 1.24.4)",
               "Authorization": f"Basic {pair}"}  # fmt: skip
    with scene.client(token=False, **headers) as client:
        yield client


def batch(lfs: httpx.Client, scene: Scene, operation: str, oid: str, size: int) -> httpx.Response:
    body = {"operation": operation, "objects": [{"oid": oid, "size": size}],
            "transfers": TRANSFERS, "ref": {"name": "refs/heads/main"},
            "hash_algo": "sha256"}  # fmt: skip
    return lfs.post(f"/{scene.repo}.git/info/lfs/objects/batch", json=body,
                    headers={"Content-Type": MEDIA})  # fmt: skip


def test_an_upload(scene: Scene, lfs: httpx.Client) -> None:
    locks = lfs.post(f"/{scene.repo}.git/info/lfs/locks/verify", json={})
    assert locks.status_code == 404, "what tells git-lfs that there is no locking"
    answer = batch(lfs, scene, "upload", OID, len(NEW))
    assert answer.headers["content-type"].startswith(MEDIA)
    body = answer.json()
    assert body.get("transfer", "basic") == "basic"
    (found,) = body["objects"]
    assert (found["oid"], found["size"]) == (OID, len(NEW))
    upload, verify = found["actions"]["upload"], found["actions"]["verify"]
    for action in (upload, verify):
        assert action["href"].startswith(scene.url)
        assert all(isinstance(v, str) for v in action.get("header", {}).values())
    put = httpx.put(upload["href"], content=NEW, trust_env=False,
                    headers={"Content-Type": "application/octet-stream"})  # fmt: skip
    assert put.status_code == 200
    done = lfs.post(verify["href"], json={"oid": OID, "size": len(NEW)})
    assert done.status_code == 200
    again = batch(lfs, scene, "upload", OID, len(NEW)).json()["objects"][0]
    assert "actions" not in again, "what is here is not sent twice"


def test_a_download(scene: Scene, lfs: httpx.Client) -> None:
    answer = batch(lfs, scene, "download", scene.large_oid, len(LARGE))
    (found,) = answer.json()["objects"]
    href = found["actions"]["download"]["href"]
    assert httpx.get(href, trust_env=False).content == LARGE
    part = httpx.get(href, headers={"Range": f"bytes=100-{len(LARGE) - 1}"}, trust_env=False)
    assert (part.status_code, part.content) == (206, LARGE[100:]), "it goes on where it stopped"


def test_an_object_that_is_not_here(scene: Scene, lfs: httpx.Client) -> None:
    (found,) = batch(lfs, scene, "download", "0" * 64, 5).json()["objects"]
    assert found["error"]["code"] == 404
    assert found["error"]["message"]
    assert "actions" not in found


def test_without_credentials_it_hears_401(scene: Scene) -> None:
    """And then asks git for a password."""
    with scene.client(token=False, Accept=MEDIA) as nobody:
        assert batch(nobody, scene, "download", scene.large_oid, 1).status_code == 401
