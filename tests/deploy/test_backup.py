"""The backup of docs/operations.md, taken while the hub serves: catalog first, then the store."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from live import LiveHub
from raw import Raw
from receiver import receiver

FOUND = 65  # exit code of `headwater check` when something is wrong


def copy_catalog(source: Path, target: Path) -> None:
    """What `sqlite3 catalog.sqlite .backup` does."""
    target.mkdir(exist_ok=True)
    with (
        closing(sqlite3.connect(source / "catalog.sqlite")) as old,
        closing(sqlite3.connect(target / "catalog.sqlite")) as new,
    ):
        old.backup(new)


def copy_store(source: Path, target: Path) -> None:
    """What `rsync -a --exclude tmp/` does on the first run."""
    shutil.copytree(source / "store", target / "store", ignore=shutil.ignore_patterns("tmp"))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LiveHub]:
    """A hub of the test's own: a shared one would push in between by itself."""
    hub = LiveHub(tmp_path / "hub")
    hub.start()
    try:
        yield hub
    finally:
        hub.kill()


@pytest.fixture
def restored(tmp_path: Path) -> Iterator[LiveHub]:
    """A hub over the copy; not started."""
    hub = LiveHub(tmp_path / "restored")
    hub.admin_token = "known"  # made by the other hub: its first start is not the first
    try:
        yield hub
    finally:
        hub.kill()


def push(hub: LiveHub, repo: str, data: bytes) -> None:
    with Raw(hub.url, hub.token("ann")) as raw:
        raw.create(repo)
        oid, status = raw.lfs(repo, data)
        assert status == 200
        lines = [
            {"key": "header", "value": {"summary": "push"}},
            {"key": "lfsFile",
             "value": {"path": "w.bin", "algo": "sha256", "oid": oid, "size": len(data)}},
        ]  # fmt: skip
        reply = raw.http.post(
            f"/api/models/{repo}/commit/main",
            content="\n".join(map(json.dumps, lines)),
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert reply.status_code == 200, reply.text


def backup(
    hub: LiveHub, target: Path, first: Callable[[Path, Path], None], then: Callable[..., None]
) -> None:
    push(hub, "ann/before", b"before" * 1000)
    target.mkdir(parents=True)
    first(hub.data, target)
    push(hub, "ann/between", b"between" * 1000)
    then(hub.data, target)


def test_catalog_then_store_is_whole_and_serves_with_a_new_generation(
    hub: LiveHub, restored: LiveHub
) -> None:
    backup(hub, restored.data, copy_catalog, copy_store)
    assert restored.cli_ok("check", "--bytes") == "clean"

    path = restored.data / "store" / "FORMAT"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, "generation": fields["generation"] + 1}))
    restored.start()
    with Raw(restored.url, hub.token("ann")) as raw:  # tokens outlive the secret
        got = raw.http.get("/ann/before/resolve/main/w.bin")
        assert (got.status_code, got.content) == (200, b"before" * 1000)
        assert raw.http.get("/ann/between/resolve/main/w.bin").status_code == 404
        token = raw.http.get("/api/models/ann/before/xet-read-token/main").json()
        assert token["casUrl"].endswith(f"/cas/g{fields['generation'] + 1}")


def test_store_then_catalog_leaves_a_name_without_bytes(hub: LiveHub, restored: LiveHub) -> None:
    """Why the order matters; and `check` says so."""
    backup(hub, restored.data, copy_store, copy_catalog)
    checked = restored.cli("check")
    assert checked.returncode == FOUND
    assert "ann/between" in checked.stdout


def test_what_a_webhook_waits_for_outlives_the_jobs(hub: LiveHub, restored: LiveHub) -> None:
    """`jobs.sqlite`, `jobs/` and `tmp/` are not in the backup: the catalog knows what waits."""
    with receiver() as got:
        hub.stop()
        toml = 'outbound_allow = "127.0.0.1"\nwebhook_retry_s = 1.0\n'
        (hub.data / "headwater.toml").write_text(toml + "job_threads = 0\n")  # nothing is told
        hub.start()
        body = {"url": got.url, "domains": ["repo"], "watched": [{"type": "user", "name": "ann"}]}
        with Raw(hub.url, hub.token("ann")) as raw:
            assert raw.http.post("/api/settings/webhooks", json=body).status_code == 200
        push(hub, "ann/before", b"before" * 1000)
        restored.data.mkdir(parents=True)
        copy_catalog(hub.data, restored.data)
        copy_store(hub.data, restored.data)
        hub.kill()
        assert got.requests == []
        (restored.data / "headwater.toml").write_text(toml)
        restored.start()
        got.wait_for(2)
        told = [(one.json["event"]["action"], one.json["event"]["scope"]) for one in got.requests]
        assert told == [("create", "repo"), ("update", "repo.content")]
        assert {path.name for path in restored.data.iterdir()} >= {"jobs.sqlite", "jobs"}
        restored.stop()
    assert restored.cli_ok("check", "--bytes") == "clean"
