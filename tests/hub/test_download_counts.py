"""Downloads are counted as the public hub counts them, however a client fetches its files.

The newest client takes a large file's hash from the tree and never asks for it by its path; older
ones and `HF_HUB_DISABLE_XET` do. Raw requests, marked ones and people are kept apart.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi, snapshot_download

from headwater.catalog.catalog import Catalog
from headwater.catalog.counting import Downloads
from live import LiveHub

REPO = "counter/m"
WAIT_S = 5.0  # counts are written each second


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LiveHub]:
    hub = LiveHub(tmp_path / "hub")
    hub.start()
    yield hub
    hub.stop()


def counted(hub: LiveHub) -> Downloads:
    catalog = Catalog.open(f"sqlite:///{hub.data / 'catalog.sqlite'}", upload_ttl_s=1, secret=b"s")
    try:
        actor = catalog.tokens.actor(hub.token("counter"))
        return catalog.counting.of(catalog.repos.find(actor, "model", REPO))
    finally:
        catalog.close()


def settled(hub: LiveHub, there: Callable[[Downloads], bool]) -> Downloads:
    """The counts once they are `there`, or after a while: three figures of one download may come
    a second apart."""
    until = time.monotonic() + WAIT_S
    while not there(now := counted(hub)) and time.monotonic() < until:
        time.sleep(0.2)
    return now


def more(before: Downloads, now: Downloads) -> bool:
    return now.raw > before.raw


def test_a_gguf_that_comes_by_xet_alone_is_a_download(hub: LiveHub, tmp_path: Path) -> None:
    api = HfApi(endpoint=hub.url, token=hub.token("counter"))
    api.create_repo(REPO)
    source = tmp_path / "w.gguf"
    source.write_bytes(b"GGUF" + bytes(range(256)) * 4000)
    api.upload_file(path_or_fileobj=source, path_in_repo="w.gguf", repo_id=REPO)
    assert counted(hub) == Downloads(0, 0, 0)
    for reader in ("first", "first", "second"):
        before = counted(hub)
        folder = snapshot_download(
            REPO, endpoint=hub.url, token=hub.token(reader), cache_dir=tmp_path / "fresh",
            local_dir=tmp_path / f"{reader}{before.raw}",
        )  # fmt: skip
        assert (Path(folder) / "w.gguf").read_bytes() == source.read_bytes()
        assert settled(hub, partial(more, before)).raw > before.raw
    people = settled(hub, lambda now: now.dedup == 2).dedup
    assert people == 2, "two people, whatever the number of requests"
    told = settled(hub, lambda now: api.model_info(REPO).downloads == now.raw)
    assert api.model_info(REPO).downloads == told.raw


def test_raw_marked_and_people_are_three_figures(hub: LiveHub) -> None:
    api = HfApi(endpoint=hub.url, token=hub.token("counter"))
    api.create_repo(REPO)
    for name in ("config.json", "notes.txt"):
        api.upload_file(path_or_fileobj=b"{}", path_in_repo=name, repo_id=REPO)
    before = counted(hub)
    at = f"{hub.url}/{REPO}/resolve/main"
    httpx.get(f"{at}/notes.txt")  # no query file, not marked: not a download
    for _ in range(3):
        httpx.get(f"{at}/config.json")
    httpx.get(f"{at}/notes.txt", headers={"X-HF-Download-Counter": "1"})
    time.sleep(1.5)
    after = settled(hub, lambda now: now.raw - before.raw == 3)
    assert (after.raw - before.raw, after.marked - before.marked) == (3, 1)
    assert after.dedup - before.dedup == 1
