"""`headwater pack`, `unpack`, `stats` and `gc` over packed files, in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headwater.catalog.actors import OPERATOR
from headwater.cli.main import app
from headwater.errors import BadRequest, RepoNotFound, Unavailable
from headwater.store import Store
from headwater.store.locks import lock_of
from headwater.store.packing import PACK_LOCK
from store.pack_kit import grown, model, safetensors, tuned
from work.pack_world import World, opened

BASE = model(1, width=256)
CHILD = tuned(BASE, 2)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def world(data: Path) -> Iterator[World]:
    with opened(data) as made:
        yield made


def cli(data: Path, *args: str) -> Result:
    return CliRunner().invoke(app, [*args, "--data", str(data)])


def said(data: Path, *args: str) -> str:
    done = cli(data, *args)
    assert done.exception is None, done.exception
    return done.stdout


def stats(data: Path, *args: str) -> Any:
    return json.loads(said(data, "stats", "--json", *args))


def test_pack_does_bases_first_says_what_it_did_and_is_idempotent(world: World, data: Path) -> None:
    base = world.publish("alice/base", BASE)
    child = world.publish("alice/child", CHILD, "alice/base")
    lines = [line.split("\t") for line in said(data, "pack", "alice/child").splitlines()]
    assert [line[0] for line in lines] == [base, "alice/child/model.safetensors"]
    assert "planes=" in lines[0][2]
    assert "delta=" in lines[1][2]
    before, after = map(int, lines[1][1].split(" -> "))
    assert after < before / 2
    assert said(data, "pack", "alice/child") == ""
    assert said(data, "pack", "--all") == ""
    assert world.bytes_of(child) == safetensors(CHILD)
    # Once more on purpose: nothing is nearer than before, and nothing changes.
    again = said(data, "pack", "--all", "--again").splitlines()
    assert len(again) == 2
    assert world.bytes_of(child) == safetensors(CHILD)
    assert "clean" in said(data, "check", "--bytes")


def test_pack_wants_names_or_all(world: World, data: Path) -> None:
    world.publish("alice/m", BASE)
    for args in (("pack",), ("pack", "alice/m", "--all")):
        assert isinstance(cli(data, *args).exception, BadRequest)
    for name in ("alice/none", "datasets/alice/m"):
        assert isinstance(cli(data, "pack", name).exception, RepoNotFound)


def test_a_file_that_fails_is_named_and_the_others_are_packed(
    world: World, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = world.publish("alice/bad", BASE), world.publish("alice/good", CHILD)
    pack = Store.pack

    def failing(store: Store, oid: Any, *args: Any, **more: Any) -> Any:
        if oid == bad:
            raise ValueError("a bug of the codec")
        return pack(store, oid, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "pack", failing)
        done = cli(data, "pack", "--all")
    assert isinstance(done.exception, Unavailable)
    assert "alice/bad/model.safetensors\tfailed\t" in done.stdout
    assert (world.state(bad), world.state(good)) == ("failed", "packed")
    assert said(data, "pack", "--all") == ""
    assert "alice/bad" in said(data, "pack", "--all", "--again")


def test_unpack_and_back(world: World, data: Path) -> None:
    child = world.publish("alice/child", CHILD)
    said(data, "pack", "alice/child")
    assert said(data, "unpack", "alice/child") == "1 files unpacked\n"
    assert world.means(child).keys() == {"plain"}
    assert said(data, "pack", "alice/child") == "", "it stays unpacked until somebody insists"
    assert "planes=" in said(data, "pack", "alice/child", "--again")


def test_stats_count_what_is_shared_once_and_split_it(world: World, data: Path) -> None:
    longer = grown(BASE, 50, seed=3)
    world.publish("alice/base", BASE)
    world.publish("alice/longer", longer, "alice/base")
    world.publish("alice/alone", model(9))
    plain = stats(data)
    raw = {"alice/base": len(safetensors(BASE)), "alice/longer": len(safetensors(longer))}
    assert {name: plain["repos"][name]["logicalBytes"] for name in raw} == raw
    assert plain["repos"]["alice/base"]["means"] == {"plain": raw["alice/base"]}
    assert plain["families"]["alice/base"]["logicalBytes"] == sum(raw.values())
    said(data, "pack", "--all")
    packed = stats(data)
    rows = packed["repos"].values()
    total = packed["total"]
    assert sum(row["logicalBytes"] for row in rows) == total["logicalBytes"]
    assert abs(sum(row["storedBytes"] for row in rows) - total["storedBytes"]) <= len(rows)
    assert packed["families"]["alice/base"]["storedBytes"] < 0.75 * sum(raw.values())
    on_disk = sum(p.stat().st_size for p in (data / "store").rglob("*") if p.is_file())
    assert total["storedBytes"] <= on_disk < total["storedBytes"] + 10_000
    assert set(packed["families"]) == {"alice/base", "(no family)"}
    assert set(stats(data, "alice/longer")["repos"]) == {"alice/longer"}
    table = said(data, "stats", "--family").splitlines()
    assert table[0].split("\t")[:4] == ["family", "files", "logical bytes", "stored bytes"]
    assert [line.split("\t")[0] for line in table[1:]] == ["(no family)", "alice/base", "total"]


def test_gc_drops_tensors_with_their_last_file(world: World, data: Path) -> None:
    base = world.publish("alice/base", BASE)
    child = world.publish("alice/child", CHILD, "alice/base")
    said(data, "pack", "--all")
    assert "\t0 tensors" in said(data, "gc", "--grace-s", "0")
    world.catalog.repos.delete(OPERATOR, "model", "alice/base")
    first = said(data, "gc", "--grace-s", "0")
    assert "1 blobs" in first
    assert "\t0 tensors" in first, "the child leans on all of them"
    assert world.state(base) is None
    assert world.bytes_of(child) == safetensors(CHILD)
    on_disk = sum(p.stat().st_size for p in (data / "store").rglob("*") if p.is_file())
    left = stats(data)
    assert left["total"] == left["repos"]["alice/child"], "what it leans on is its own now"
    assert left["total"]["storedBytes"] <= on_disk < left["total"]["storedBytes"] + 10_000
    world.catalog.repos.delete(OPERATOR, "model", "alice/child")
    dry = said(data, "gc", "--grace-s", "0", "--dry-run")
    assert "1 blobs" in dry
    assert "\t0 tensors" not in said(data, "gc", "--grace-s", "0")
    assert [p for p in (data / "store").rglob("*.*") if p.suffix in (".tensor", ".packed")] == []
    assert "clean" in said(data, "check", "--bytes")


def test_gc_leaves_tensors_alone_while_something_is_packed(
    world: World, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish("alice/m", BASE)
    said(data, "pack", "--all")
    world.catalog.repos.delete(OPERATOR, "model", "alice/m")
    monkeypatch.setattr("headwater.store.packs.SWEEP_WAIT_S", 0.1)
    with lock_of(str(data / "store"), PACK_LOCK, shared=True, wait_s=1.0):
        done = cli(data, "gc", "--grace-s", "0")
    assert done.exception is None
    assert "left to the next gc" in done.stderr
    assert "1 blobs" in done.stdout
    assert "\t0 tensors" in done.stdout
    assert "\t0 tensors" not in said(data, "gc", "--grace-s", "0")
