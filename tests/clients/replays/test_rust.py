"""hf-hub, the Rust client of candle and TGI (0.3 and 0.4): what it sends, what it reads.

It asks with `Range: bytes=0-0` instead of HEAD, follows relative redirects only, and stops at a
missing ETag, X-Repo-Commit or Content-Range.
"""

from collections.abc import Iterator

import httpx
import pytest
from replay_kit import LARGE, LARGE_PATH, SMALL, Scene

AGENT = "unkown/None; hf-hub/0.4.3; rust/unknown"


@pytest.fixture
def rust(scene: Scene) -> Iterator[httpx.Client]:
    with scene.client(**{"User-Agent": AGENT}) as client:
        yield client


@pytest.mark.parametrize("revision", ["main", "v1", "feature%2Fone"])
def test_info(scene: Scene, rust: httpx.Client, revision: str) -> None:
    info = rust.get(f"/api/models/{scene.repo}/revision/{revision}")
    assert info.status_code == 200
    body = info.json()
    assert body["sha"] == scene.commit
    names = [sibling["rfilename"] for sibling in body["siblings"]]
    assert set(scene.made) <= set(names)


def test_info_with_blobs(scene: Scene, rust: httpx.Client) -> None:
    body = rust.get(f"/api/models/{scene.repo}/revision/main?blobs=true").json()
    by_name = {sibling["rfilename"]: sibling for sibling in body["siblings"]}
    assert by_name["config.json"]["size"] == len(SMALL)
    assert len(by_name["config.json"]["blobId"]) == 40
    lfs = by_name[LARGE_PATH]["lfs"]
    assert (lfs["sha256"], lfs["size"]) == (scene.large_oid, len(LARGE))
    assert lfs["pointerSize"] > 100


@pytest.mark.parametrize(("path", "data"), [("config.json", SMALL), (LARGE_PATH, LARGE)])
@pytest.mark.parametrize("revision", ["main", "feature%2Fone"])
def test_metadata_then_the_file(
    scene: Scene, rust: httpx.Client, path: str, data: bytes, revision: str
) -> None:
    address = f"/{scene.repo}/resolve/{revision}/{path}"
    first = rust.get(address, headers={"Range": "bytes=0-0"})
    assert first.status_code == 206, "a redirect to another host would lose the headers"
    etag = first.headers.get("x-linked-etag") or first.headers["etag"]
    etag = etag.replace('"', "")
    assert etag
    assert "/" not in etag, "it becomes a file name"
    assert first.headers["x-repo-commit"] == scene.commit
    assert int(first.headers["content-range"].split("/")[-1]) == len(data)
    assert first.content == data[:1]
    assert rust.get(address).content == data


def test_chunks_of_the_tokio_client(scene: Scene, rust: httpx.Client) -> None:
    """Both ends of each range are inclusive; the last reaches to the end."""
    size, step, got = len(LARGE), 100_000, b""
    for start in range(0, size, step):
        stop = min(start + step - 1, size - 1)
        part = rust.get(
            f"/{scene.repo}/resolve/main/{LARGE_PATH}", headers={"Range": f"bytes={start}-{stop}"}
        )
        assert part.status_code == 206
        got += part.content
    assert got == LARGE


def test_a_missing_file_is_404(scene: Scene, rust: httpx.Client) -> None:
    gone = rust.get(f"/{scene.repo}/resolve/main/none.bin", headers={"Range": "bytes=0-0"})
    assert (gone.status_code, gone.headers["x-error-code"]) == (404, "EntryNotFound")
