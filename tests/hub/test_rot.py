"""One flipped byte anywhere in the data folder: found by `check --bytes`, never served.

A real store with every kind of container (plain and chunked blob, xorb) and a real catalog are
damaged one byte at a time. A download then gives the right bytes or an error, and the check names
the damage. In the database a flip may hit free space or a time stamp and change no byte that is
served; there only the first half of the promise is asked.
"""

import hashlib
import os
import random
import shutil
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi

from effort import FULL
from live import LiveHub
from raw import Raw

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

FLIPS_PER_FILE = 3 if FULL else 1
DATABASE_FLIPS = 25 if FULL else 6
REPO = "owner/m"


def publish(hub: LiveHub, token: str) -> dict[str, bytes]:
    rng = random.Random(7)
    files = {"plain.bin": rng.randbytes(700_000), "chunked.bin": rng.randbytes(900_000),
             "config.json": b'{"model_type": "x"}'}  # fmt: skip
    with Raw(hub.url, token) as raw:
        raw.create(REPO)
        oid, status = raw.lfs(REPO, files["plain.bin"])
        assert status == 200
        lfs = {"plain.bin": (oid, len(files["plain.bin"]))}
        inline = {"config.json": files["config.json"]}
        assert raw.commit(REPO, inline, lfs).status == 200
    api = HfApi(endpoint=hub.url, token=token)
    source = hub.data.parent / "chunked.bin"
    source.write_bytes(files["chunked.bin"])
    api.upload_file(path_or_fileobj=source, path_in_repo="chunked.bin", repo_id=REPO)
    return files


def flip(path: Path, at: int, mask: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ mask]))


def served(hub: LiveHub, token: str, files: dict[str, bytes]) -> list[str]:
    """Ask for every file; those that were not served. A wrong byte fails the test here."""
    refused = []
    with Raw(hub.url, token) as raw:
        for name, data in files.items():
            try:
                reply = raw.get(REPO, name)
                body, status = reply.content, reply.status_code
            except httpx.RemoteProtocolError:  # the connection was cut before the bad piece
                refused.append(name)
                continue
            if status == 200:
                assert hashlib.sha256(body).digest() == hashlib.sha256(data).digest(), name
            else:
                assert status >= 400
                assert reply.json()["error"], "the error says what happened"
                refused.append(name)
    return refused


def test_a_flipped_byte_of_the_store_is_found_and_never_served(tmp_path: Path) -> None:
    hub = LiveHub(tmp_path / "hub")
    hub.start()
    token = hub.token("owner")
    files = publish(hub, token)
    assert served(hub, token, files) == []
    kept = [p for p in hub.store.rglob("*") if p.suffix in (".plain", ".chunked", ".xorb")]
    assert {p.suffix for p in kept} == {".plain", ".chunked", ".xorb"}
    rng = random.Random(11)
    for path in kept:
        size = path.stat().st_size
        ends = [0, size - 1] if FULL else [size - 1]
        for at in [*rng.sample(range(size), FLIPS_PER_FILE), *ends]:
            mask = 1 << rng.randrange(8)
            flip(path, at, mask)
            hub.restart()  # nothing remembered: what is on disk is what counts
            where = f"{path.suffix} at {at} of {size}"
            name = "plain.bin" if path.suffix == ".plain" else "chunked.bin"
            assert served(hub, token, files) == [name], where
            checked = hub.cli("check", "--bytes")
            assert checked.returncode == 65, f"{where}: {checked.stdout}"
            flip(path, at, mask)
    assert hub.cli("check", "--bytes").returncode == 0
    hub.stop()


def test_a_flipped_byte_of_the_catalog_serves_no_wrong_byte(tmp_path: Path) -> None:
    hub = LiveHub(tmp_path / "hub")
    hub.start()
    token = hub.token("owner")
    files = publish(hub, token)
    hub.stop()
    database = hub.data / "catalog.sqlite"
    for left in hub.data.glob("catalog.sqlite-*"):
        assert os.path.getsize(left) == 0 or left.name.endswith("-shm"), "a clean stop checkpoints"
    sound = tmp_path / "sound.sqlite"
    shutil.copy(database, sound)
    rng = random.Random(13)
    for at in rng.sample(range(database.stat().st_size), DATABASE_FLIPS):
        flip(database, at, 1 << rng.randrange(8))
        try:
            hub.start()
        except Exception:
            pass  # it refused to start on a damaged catalog: nothing was served
        else:
            served(hub, token, files)
            hub.kill()
        for left in hub.data.glob("catalog.sqlite*"):
            left.unlink()
        shutil.copy(sound, database)
