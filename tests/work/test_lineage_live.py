"""A live hub finds out by itself who descends from whom, and goes on where a killed one stopped."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors.numpy import save

from live import LiveHub
from raw import Raw

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "lineage")]

from kin_kit import base, trained  # noqa: E402  (found through the folder)

ROOT = base()
WITHIN_S = 90.0  # a job of a dead process is taken over some ten seconds later
MODELS = {
    "lab/base": (save(ROOT), ""),
    "ann/child": (save(trained(ROOT, 5)), "---\nbase_model: lab/base\n---\n"),
    "eve/stranger": (save(base(7)), "---\nbase_model: lab/base\n---\n"),
}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LiveHub]:
    live = LiveHub(tmp_path)
    live.lineage = True
    live.start()
    try:
        yield live
    finally:
        live.kill()


def publish(hub: LiveHub, repo: str) -> None:
    data, card = MODELS[repo]
    with Raw(hub.url, hub.token(repo.split("/")[0])) as raw:
        raw.create(repo)
        oid, status = raw.lfs(repo, data)
        assert status == 200
        small = {"README.md": card.encode()} if card else {}
        assert raw.commit(repo, small, {"model.safetensors": (oid, len(data))}).status == 200


def lineage(hub: LiveHub, repo: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(
        f"{hub.url}/api/models/{repo}/lineage", trust_env=False
    ).json()
    return found


def looked(hub: LiveHub) -> bool:
    return all(
        [model["state"] for model in lineage(hub, repo)["models"]] == ["compared"]
        for repo in MODELS
    ) and bool(lineage(hub, "ann/child")["parents"][0]["inferred"])


def until_looked(hub: LiveHub) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not looked(hub):
        assert time.monotonic() < deadline, "not within its time"
        time.sleep(0.2)


def told(hub: LiveHub) -> None:
    (edge,) = lineage(hub, "ann/child")["parents"]
    assert (edge["parent"], edge["declared"], edge["kind"]) == ("lab/base", "finetune", "tuned")
    (said,) = lineage(hub, "eve/stranger")["contradictions"]
    assert (said["kind"], said["parent"]) == ("unrelated", "lab/base")


def test_models_are_compared_as_they_come(hub: LiveHub) -> None:
    for repo in MODELS:
        publish(hub, repo)
    until_looked(hub)
    told(hub)


def test_a_killed_hub_goes_on_where_it_was(hub: LiveHub) -> None:
    """Killed at several moments of the jobs; at last everything is as if nothing had happened."""
    for repo in MODELS:
        publish(hub, repo)
    for wait_s in (0.5, 2.5, 4.0):
        time.sleep(wait_s)
        hub.kill()
        hub.start()
    until_looked(hub)
    told(hub)
    assert hub.cli("check", "--bytes").returncode == 0
