"""Packing by itself: a live hub packs a family that was uploaded, and nobody notices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from live import LiveHub
from raw import Raw
from store.pack_kit import model, safetensors, tuned
from work.pack_world import opened

BASE = model(1, width=256, layers=3)
PACKED_WITHIN_S = 60.0
TAKEN_OVER_WITHIN_S = 90.0  # a job of a dead process, some ten seconds later


def publish(hub: LiveHub, repo: str, data: bytes, base: str = "") -> str:
    """A model of one file, whose card names a base; its SHA-256."""
    with Raw(hub.url, hub.token(repo.split("/")[0])) as raw:
        raw.create(repo)
        oid, status = raw.lfs(repo, data)
        assert status == 200
        card = f"---\nbase_model: {base}\n---\n# A model\n".encode()
        small = {"README.md": card} if base else {}
        assert raw.commit(repo, small, {"model.safetensors": (oid, len(data))}).status == 200
    return oid


def all_right(hub: LiveHub, files: dict[str, bytes]) -> None:
    """Whole, and by ranges."""
    with Raw(hub.url, None) as raw:
        for repo, data in files.items():
            assert raw.get(repo, "model.safetensors").content == data
            for start, stop in ((0, 0), (5, 300_000), (len(data) - 9, len(data) - 1)):
                part = raw.http.get(
                    f"/{repo}/resolve/main/model.safetensors",
                    headers={"Range": f"bytes={start}-{stop}"},
                )
                assert part.status_code == 206
                assert part.content == data[start : stop + 1]


def until(what: Callable[[], bool], seconds: float = PACKED_WITHIN_S) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "not within its time"
        time.sleep(0.1)


def forms(hub: LiveHub, oid: str) -> list[str]:
    """How the store has a blob."""
    return sorted(path.suffix for path in (hub.store / "blobs").glob(f"*/*/{oid}.*"))


def temporary(hub: LiveHub) -> list[Path]:
    """What a packing job is just writing."""
    return [path for path in (hub.store / "tmp").iterdir() if "tensor" in path.name]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LiveHub]:
    live = LiveHub(tmp_path)
    live.data.mkdir()
    (live.data / "headwater.toml").write_text("pack_after_s = 0\n")
    live.start()
    try:
        yield live
    finally:
        live.kill()


def test_a_family_is_packed_and_read_as_before(hub: LiveHub) -> None:
    """Base and child, the child a difference; every byte and range as it was uploaded."""
    files = {"ann/base": safetensors(BASE), "ann/child": safetensors(tuned(BASE, 2))}
    base = publish(hub, "ann/base", files["ann/base"])
    child = publish(hub, "ann/child", files["ann/child"], "ann/base")

    def packed() -> bool:
        all_right(hub, files)
        return forms(hub, base) == forms(hub, child) == [".packed"]

    until(packed)
    with opened(hub.data) as world:

        def means() -> dict[str, int]:
            usage = world.store.usage(child)
            return usage.means if usage else {}

        until(lambda: "delta" in means())
        until(lambda: world.state(child) == "packed")
        all_right(hub, files)
        assert list(world.store.check(data=True)) == []


def test_a_killed_job_is_done_by_the_next_process(hub: LiveHub) -> None:
    """The hub dies while it packs: nothing is lost, and another takes the job over."""
    big = model(5, width=1024, layers=4, vocabulary=4000)
    files = {"ann/big": safetensors(big)}
    oid = publish(hub, "ann/big", files["ann/big"])
    until(lambda: bool(temporary(hub)))
    hub.kill()
    assert forms(hub, oid) == [".plain"]
    hub.start()
    all_right(hub, files)
    until(lambda: forms(hub, oid) == [".packed"], TAKEN_OVER_WITHIN_S)
    all_right(hub, files)
