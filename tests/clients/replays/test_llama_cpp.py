"""llama.cpp's `-hf ns/name[:quant]`: refs, tree at the commit, HEAD, GET, resume.

`MODEL_ENDPOINT` is taken as it is, with a slash at its end. A token that is shorter than 37
characters or holds other than letters and digits is dropped with a warning.
"""

import re
from collections.abc import Iterator

import httpx
import pytest
from replay_kit import LARGE, LARGE_PATH, Scene

HEX40 = re.compile(r"[0-9A-Fa-f]{40}\Z")
OID = re.compile(r"([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})\Z")
REPO_ID = re.compile(r"[A-Za-z0-9_]+(?:[.-][A-Za-z0-9_]+)*/[A-Za-z0-9_]+(?:[.-][A-Za-z0-9_]+)*\Z")


@pytest.fixture
def llama(scene: Scene) -> Iterator[httpx.Client]:
    with scene.client(
        **{"User-Agent": "llama-cpp/b9999-0123abc", "Accept": "application/json"}
    ) as client:
        yield client


def test_our_tokens_are_tokens_to_it(scene: Scene) -> None:
    assert 37 <= len(scene.token) <= 256
    assert re.fullmatch(r"hf_[A-Za-z0-9]+", scene.token)
    assert REPO_ID.match(scene.repo)


def test_the_whole_way(scene: Scene, llama: httpx.Client) -> None:
    refs = llama.get(f"/api/models/{scene.repo}/refs").json()
    commits = {branch["name"]: branch["targetCommit"] for branch in refs["branches"]}
    assert HEX40.match(commits["main"])
    tree = llama.get(f"/api/models/{scene.repo}/tree/{commits['main']}?recursive=true")
    assert tree.headers["content-type"].startswith("application/json")
    files = {}
    for item in tree.json():
        assert isinstance(item["type"], str)
        assert isinstance(item["path"], str)
        if item["type"] == "file":
            files[item["path"]] = item["lfs"]["oid"] if "lfs" in item else item["oid"]
    assert all(OID.match(oid) for oid in files.values())
    assert files[LARGE_PATH] == scene.large_oid
    address = f"/{scene.repo}/resolve/{commits['main']}/{LARGE_PATH}"
    head = llama.head(address)
    assert 200 <= head.status_code < 300, "it follows no redirect of a HEAD"
    assert head.headers["etag"]
    assert int(head.headers["content-length"]) == len(LARGE)
    assert head.headers["accept-ranges"] == "bytes"
    whole = llama.get(address)
    assert (whole.status_code, whole.content) == (200, LARGE)
    assert whole.headers["etag"] == head.headers["etag"]


def test_it_resumes(scene: Scene, llama: httpx.Client) -> None:
    """Anything but 206 ends the download."""
    address = f"/{scene.repo}/resolve/{scene.commit}/{LARGE_PATH}"
    rest = llama.get(address, headers={"Range": "bytes=1000-"})
    assert (rest.status_code, rest.content) == (206, LARGE[1000:])


def test_every_file_is_in_the_first_page_of_the_tree(scene: Scene, llama: httpx.Client) -> None:
    """It does not follow `Link`; folders come as entries, too, and are passed over."""
    tree = llama.get(f"/api/models/{scene.repo}/tree/{scene.commit}?recursive=true")
    assert "link" not in tree.headers
    assert set(scene.made) <= {item["path"] for item in tree.json()}


def test_what_it_shows_of_an_error(scene: Scene) -> None:
    with scene.client(token=False) as nobody:
        refs = nobody.get(f"/api/models/{scene.repo}/refs")
    assert refs.status_code == 401
    assert isinstance(refs.json()["error"], str)
