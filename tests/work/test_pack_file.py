"""Packing one file after its bases: the order, what becomes of failures, and what is due again."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headwater.errors import Corrupt, NoSpace, Unavailable
from headwater.jobs.jobs import Again, Jobs, Kind, Run
from headwater.names import Digest
from headwater.settings import Settings
from headwater.store.store import Store
from headwater.work import packing as packing_module
from headwater.work.packing import LANE, PackWork
from store.pack_kit import model, safetensors, tuned
from work.pack_world import World, opened

BASE = model(1)


class Enqueued(Jobs):
    """Jobs that are only noted; the engine and its processes have tests of their own."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.lanes: set[str | None] = set()
        self.kinds: dict[str, Kind] = {}

    def register(self, kind: Kind) -> None:
        self.kinds[kind.name] = kind

    def enqueue(
        self,
        kind: str,
        id: str,
        arg: dict[str, Any],
        *,
        lane: str | None = None,
        delay_s: float = 0,
    ) -> None:
        if id not in self.ids:
            self.ids.append(id)
        self.lanes.add(lane)

    def oids(self) -> list[str]:
        return [id.split("-")[1] for id in self.ids]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with opened(tmp_path) as made:
        yield made


def test_roots_come_first_and_once(world: World) -> None:
    root = world.publish("alice/root", BASE, private=True)
    middle = world.publish("alice/middle", tuned(BASE, 2), "alice/root")
    leaf = world.publish("alice/leaf", tuned(BASE, 3), "alice/middle")
    assert world.packer.order(leaf) == [root, middle, leaf]
    for oid in world.packer.order(leaf):
        assert world.packer.pack(oid) is not None
    assert world.packer.order(leaf) == [leaf], "what is settled is not packed for another"
    assert "planes" in world.means(root)
    assert "delta" in world.means(middle)
    assert "delta" in world.means(leaf)
    assert all(world.packer.pack(oid) is None for oid in (root, middle, leaf)), "nothing is due"


def test_cards_that_name_each_other(world: World) -> None:
    a = world.publish("alice/a", BASE, "alice/b")
    b = world.publish("alice/b", tuned(BASE, 2), "alice/a")
    data = {oid: world.bytes_of(oid) for oid in (a, b)}
    assert world.packer.order(a) == [b, a]
    for _ in range(3):  # until nothing is due any more
        for oid in (b, a):
            world.packer.pack(oid)
    assert [world.packer.pack(oid) for oid in (a, b)] == [None, None]
    assert {oid: world.bytes_of(oid) for oid in (a, b)} == data


def test_a_base_that_is_named_later_is_used(world: World) -> None:
    base = world.publish("alice/base", BASE)
    child = world.publish("alice/child", tuned(BASE, 2))
    for oid in (base, child):
        world.packer.pack(oid)
    assert "delta" not in world.means(child)
    world.name("alice/child", "alice/base")
    made = world.packer.pack(child)
    assert made is not None
    assert made.after_bytes < made.before_bytes
    assert "delta" in world.means(child)


def test_what_gains_nothing_is_kept_as_it_is(world: World) -> None:
    oid = world.publish("alice/m", random.Random(1).randbytes(200_000))
    made = world.packer.pack(oid)
    assert made is not None
    assert (made.state, made.before_bytes) == ("kept", made.after_bytes)
    found = world.store.find(oid)
    assert found is not None
    assert found.layout == "plain"
    assert world.packer.pack(oid) is None
    assert world.packer.pack(oid, again=True) is not None


def test_a_damaged_file_stays_as_it_is_and_is_not_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    oid = world.publish("alice/m", BASE)
    for error in (Corrupt("blob x is damaged"), ValueError("a bug in the codec")):
        with monkeypatch.context() as patch:
            patch.setattr(Store, "pack", raising(error))
            made = world.packer.pack(oid, again=True)
        assert made is not None
        assert made.state == "failed"
        assert str(error.args[0]) in (made.error or "")
        assert world.state(oid) == "failed"
        assert world.packer.pack(oid) is None
    assert world.bytes_of(oid) == safetensors(BASE)
    made = world.packer.pack(oid, again=True)
    assert made is not None
    assert made.state == "packed"


def test_a_disk_that_is_full_leaves_no_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    oid = world.publish("alice/m", BASE)
    jobs = Enqueued()
    PackWork(Settings(data=Path("/nonexistent"), pack_after_s=0), world.catalog, world.store, jobs)
    handler = jobs.kinds["pack.blob"].handler
    time.sleep(0.005)
    for error in (NoSpace("full"), Unavailable("being swept")):
        with monkeypatch.context() as patch:
            patch.setattr(Store, "pack", raising(error))
            with pytest.raises(Again):
                handler(run(), {"oid": oid})
        assert world.state(oid) is None
    assert handler(run(), {"oid": oid}) == "packed"
    assert handler(run(), {"oid": oid}) == "nothing to do"


def test_a_blob_that_is_gone_is_nothing_to_do(world: World) -> None:
    oid = world.publish("alice/m", BASE)
    world.store.delete_blob(oid)
    assert world.packer.pack(oid) is None
    assert world.packer.pack(Digest("0" * 64)) is None
    assert world.state(oid) is None


def test_unpacked_stays_so_until_somebody_packs_it(world: World) -> None:
    base = world.publish("alice/base", BASE)
    child = world.publish("alice/child", tuned(BASE, 2), "alice/base")
    for oid in (base, child):
        world.packer.pack(oid)
    assert world.packer.unpack(child)
    assert not world.packer.unpack(child)
    assert world.means(child).keys() == {"plain"}
    assert world.bytes_of(child) == safetensors(tuned(BASE, 2))
    assert world.packer.pack(child) is None
    made = world.packer.pack(child, again=True)
    assert made is not None
    assert made.state == "packed"


def test_ticks_enqueue_what_lies_quiet(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Enqueued()
    settings = Settings(data=Path("/nonexistent"), pack_after_s=900)
    work = PackWork(settings, world.catalog, world.store, jobs)
    base = world.publish("alice/base", BASE)
    child = world.publish("alice/child", tuned(BASE, 2), "alice/base")
    tick(work)
    assert jobs.ids == [], "younger than pack_after_s"
    with pytest.raises(Again) as young:
        jobs.kinds["pack.blob"].handler(run(), {"oid": child})
    assert 890 < (young.value.after_s or 0) <= 901
    later(monkeypatch, 901)
    tick(work)
    assert sorted(jobs.oids()) == sorted([base, child])
    assert jobs.lanes == {LANE}
    tick(work)
    assert len(jobs.ids) == 2
    assert jobs.kinds["pack.blob"].handler(run(), {"oid": child}) == "packed"
    assert world.state(base) == "packed", "the base came first, in the same job"
    tick(work)
    assert len(jobs.ids) == 2
    # A new base: the child is due again, after the cooldown and not before.
    world.publish("alice/other", tuned(BASE, 3))
    world.name("alice/child", "alice/other")
    later(monkeypatch, 901 + 901)
    world.packer.pack(world.packer.order(child)[0])
    tick(work)
    assert [oid for oid in jobs.oids()[2:] if oid == child] == []
    later(monkeypatch, 901 + 4 * 901)
    tick(work)
    assert child in jobs.oids()[2:]


def test_a_base_that_keeps_coming_is_not_waited_for_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Enqueued()
    settings = Settings(data=Path("/nonexistent"), pack_after_s=900)
    PackWork(settings, world.catalog, world.store, jobs)
    child = world.publish("alice/child", tuned(BASE, 2), "alice/base")
    later(monkeypatch, 1000)
    base = world.publish("alice/base", BASE)
    handler = jobs.kinds["pack.blob"].handler
    with pytest.raises(Again):
        handler(run(), {"oid": child})
    assert handler(run(attempt=9), {"oid": child}) == "packed"
    assert world.state(base) is None


def test_what_nobody_asks_for_becomes_small(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Enqueued()
    settings = Settings(data=Path("/nonexistent"), pack_after_s=0, pack_small_after_s=86_400)
    work = PackWork(settings, world.catalog, world.store, jobs)
    base = world.publish("alice/base", BASE)
    child = world.publish("alice/child", tuned(BASE, 2), "alice/base")
    handler = jobs.kinds["pack.blob"].handler
    later(monkeypatch, 1)
    assert handler(run(), {"oid": child}) == "packed"
    tick(work)
    assert [id for id in jobs.ids if id.startswith("small-")] == []
    later(monkeypatch, 2 * 86_400)
    tick(work)
    small = [id for id in jobs.ids if id.startswith("small-")]
    assert sorted(id.split("-")[1] for id in small) == sorted([base, child])
    assert handler(run(), {"oid": child, "small": True}) == "small"
    assert handler(run(), {"oid": child, "small": True}) == "nothing to do"
    assert world.state(child) == "small"
    assert world.bytes_of(child) == safetensors(tuned(BASE, 2))
    later(monkeypatch, 5 * 86_400)
    tick(work)
    assert {id.split("-")[1] for id in jobs.ids if id.startswith("small-")} == {base, child}
    assert world.packer.pack(child, again=True) is not None
    assert world.state(child) == "small"  # it stays so


def test_packing_can_be_switched_off(world: World) -> None:
    jobs = Enqueued()
    settings = Settings(data=Path("/nonexistent"), pack_after_s=-1)
    work = PackWork(settings, world.catalog, world.store, jobs)
    world.publish("alice/m", BASE)
    tick(work)
    assert jobs.ids == []


def test_more_than_a_page_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full page is looked at again; what was settled makes room for the next."""
    monkeypatch.setattr(packing_module, "PAGE", 2)
    jobs = Enqueued()
    settings = Settings(data=Path("/nonexistent"), pack_after_s=0)
    work = PackWork(settings, world.catalog, world.store, jobs)
    oids = [world.publish(f"alice/m{n}", b"%d" % n * 70_000) for n in range(5)]
    for _ in range(5):
        later(monkeypatch, 1)
        tick(work)
        for oid in jobs.oids():
            world.catalog.packing.settle(Digest(oid), "kept", "")
    assert sorted(jobs.oids()) == sorted(oids)


def run(attempt: int = 1) -> Run:
    return Run("pack-x", attempt, lambda name, function: function())


def tick(work: PackWork) -> None:
    """As if it were time for a look."""
    work._next_s = 0.0
    work.tick()


def raising(error: Exception) -> Any:
    def pack(*_: Any, **__: Any) -> None:
        raise error

    return pack


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The clock of the catalog runs ahead."""

    def now_ms() -> int:
        return int((time.time() + seconds) * 1000)

    for module in ("catalog.blobs", "catalog.packing", "work.packing"):
        monkeypatch.setattr(f"headwater.{module}.now_ms", now_ms)
