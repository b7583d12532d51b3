"""Real clients before, while and after their files are packed: the same bytes, by every way.

One family: a base and a fine-tune that came by Xet, and one that came by LFS. All releases read it,
with Xet and without, while it is packed anew and swept; then a file is uploaded that the client
dedups against xorbs whose bytes are gone from the disk.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clientrun import CLIENTS, client_environ, run_client
from test_matrix import MODES, NEWEST, RELEASES

from live import LiveHub
from store.pack_kit import model, safetensors, tuned
from work.pack_world import opened

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]

SCRIPT = CLIENTS / "packed_script.py"
BASE = model(1, width=768, layers=2, vocabulary=2000)  # 10 MB: one xorb a file
PACKED_WITHIN_S = 120.0
TRAINED_BYTES = 200_000
SENT_SHARE_MAX = 0.10  # of an edited copy that the client may have to send: Xet's promise
FILE = "model.safetensors"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHub]:
    live = LiveHub(tmp_path_factory.mktemp("packed"))
    live.data.mkdir()
    (live.data / "headwater.toml").write_text("pack_after_s = 0\n")
    live.start()
    try:
        yield live
    finally:
        live.kill()


def publish(
    hub: LiveHub, repo: str, data: bytes, folder: Path, base: str = "", *, xet: bool = True
) -> None:
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(data)
    if base:
        (folder / "README.md").write_text(f"---\nbase_model: {base}\n---\n")
    environ = client_environ(hub, hub.token(repo.split("/")[0]), folder / "home", xet=xet)
    run_client(NEWEST, [SCRIPT, "publish", repo, folder], environ)


def fetched(hub: LiveHub, release: str, mode: str, folder: Path, *repos: str) -> dict[str, str]:
    environ = client_environ(hub, hub.token("ann"), folder / "home", xet=mode == "xet")
    done: dict[str, str] = json.loads(
        run_client(release, [SCRIPT, "fetch", folder / "files", *repos], environ)
    )
    return done


def xorb_bytes(hub: LiveHub) -> int:
    return sum(path.stat().st_size for path in hub.store.rglob("*.xorb"))


def wait_until_packed(hub: LiveHub, number: int) -> None:
    deadline = time.monotonic() + PACKED_WITHIN_S
    while len(list((hub.store / "blobs").rglob("*.packed"))) < number:
        assert time.monotonic() < deadline, hub.log_tail()
        time.sleep(0.2)


def test_clients_notice_nothing(
    hub: LiveHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child, plain = tuned(BASE, 2), tuned(BASE, 3)
    files = {
        "ann/base": safetensors(BASE),
        "ann/child": safetensors(child),
        "ann/plain": safetensors(plain),
    }
    publish(hub, "ann/base", files["ann/base"], tmp_path / "base")
    for repo, xet in (("ann/child", True), ("ann/plain", False)):
        publish(hub, repo, files[repo], tmp_path / repo, "ann/base", xet=xet)
    wanted = {f"{repo}/{FILE}": hashlib.sha256(data).hexdigest() for repo, data in files.items()}
    wait_until_packed(hub, 3)

    stopping = threading.Event()
    troubles: list[str] = []

    def care() -> None:
        """What an operator could do at the worst moment, again and again."""
        with opened(hub.data) as world:
            while not stopping.is_set():
                for command in (("pack", "--all", "--again"), ("gc", "--grace-s", "0")):
                    done = hub.cli(*command)
                    if done.returncode not in (0, 75):  # 75: busy, try again
                        troubles.append(f"{command}: {done.stdout}{done.stderr}")
                world.store.sweep_tensors(time.time())

    keeper = threading.Thread(target=care)
    keeper.start()
    try:
        with ThreadPoolExecutor(2) as pool:
            waiting = [
                pool.submit(
                    fetched, hub, release, mode, tmp_path / f"{release}-{mode}-{turn}", *files
                )
                for turn in range(2)
                for release in RELEASES
                for mode in MODES
            ]
            for one in waiting:
                assert one.result() == wanted
    finally:
        stopping.set()
        keeper.join()
    assert troubles == []

    # An hour later the stored forms of the xorbs go; what is left can still be built upon.
    with opened(hub.data) as world:
        world.store.release_xorbs([blob.oid for blob in world.store.blobs()])
        monkeypatch.setattr("headwater.store.packs.FADE_S", -1.0)
        world.store.sweep_tmp(1e9)
    assert xorb_bytes(hub) == 0, "every xorb is virtual by now"
    again = bytearray(files["ann/child"])  # trained on, but for its last tensors it is the child
    again[-TRAINED_BYTES:] = random.Random(4).randbytes(TRAINED_BYTES)
    publish(hub, "ann/again", bytes(again), tmp_path / "again", "ann/child")
    assert TRAINED_BYTES / 2 < xorb_bytes(hub) < SENT_SHARE_MAX * len(again)
    wait_until_packed(hub, 4)
    wanted[f"ann/again/{FILE}"] = hashlib.sha256(again).hexdigest()
    for release in RELEASES:
        for mode in MODES:
            folder = tmp_path / f"{release}-{mode}-last"
            assert fetched(hub, release, mode, folder, *files, "ann/again") == wanted
    assert hub.cli("check", "--bytes").returncode == 0
