"""Lineage while repos come, go and change: nothing stays wrong, and nobody is forgotten."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save
from sqlalchemy import update

from headwater.catalog import schema as s
from headwater.catalog.files import Files
from headwater.errors import Corrupt, NotFound, Unavailable
from headwater.lineage.isolated import Isolated, Stopped
from headwater.lineage.units import Unit, UnitFile
from headwater.names import Digest, RepoId
from headwater.store.store import Store
from headwater.work.trace import AGAIN_MAX, Tracer
from work.lineage_world import LineageWorld

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "lineage")]

from kin_kit import base, trained  # noqa: E402  (found through the folder)
from lineage_kit import Tensors  # noqa: E402

ROOT = base()
CHILD = trained(ROOT, 5)
GRANDCHILD = trained(CHILD, 6)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LineageWorld]:
    made = LineageWorld(tmp_path)
    yield made
    made.close()


def key(tensors: Tensors) -> str:
    data = save(tensors)
    oid = Digest(hashlib.sha256(data).hexdigest())
    return Unit("x", (UnitFile("x", oid, len(data)),)).key


def weights(tensors: Tensors) -> dict[str, bytes]:
    return {"model.safetensors": save(tensors)}


def family(world: LineageWorld) -> None:
    world.publish("lab/base", weights(ROOT))
    world.publish("ann/child", weights(CHILD))
    world.publish("bob/grand", weights(GRANDCHILD))
    world.look()
    assert world.parents("bob/grand") == [("ann/child", "tuned")]


@pytest.mark.parametrize("error", [NotFound, Corrupt])
def test_a_relative_whose_bytes_are_gone_stands_in_nobody_s_way(
    world: LineageWorld, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    world.publish("lab/base", weights(ROOT))
    world.publish("eve/lost", weights(GRANDCHILD), private=True)
    world.look()
    lost = hashlib.sha256(save(GRANDCHILD)).hexdigest()
    world.work.rest()
    world.work.blocks._kept.__init__(1)  # type: ignore[misc]
    real = Store.read

    def read(store: Store, oid: Digest, *args: Any) -> Any:
        if oid == lost:
            raise error(f"no blob {oid}")
        return real(store, oid, *args)

    monkeypatch.setattr(Store, "read", read)
    world.publish("ann/child", weights(CHILD))
    world.look()
    assert world.parents("ann/child") == [("lab/base", "tuned")]
    found = world.lineage("ann/child")
    assert found["models"][0]["state"] == "compared"
    assert lost not in str(found)
    assert key(GRANDCHILD) not in str(found)


def test_a_relative_that_stops_the_worker_is_left_out_for_good(
    world: LineageWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish("lab/base", weights(ROOT))
    world.publish("eve/bomb", weights(GRANDCHILD))
    world.look()
    bomb = key(GRANDCHILD)
    real, tries = Isolated.trace, []

    def trace(isolated: Isolated, target: Any, others: Any, *args: Any, **more: Any) -> Any:
        names = [one.name for one in others]
        tries.append(len(names))
        if bomb in (target.name, *names):
            raise Stopped("it took more than 1 s")
        return real(isolated, target, others, *args, **more)

    monkeypatch.setattr(Isolated, "trace", trace)
    world.publish("ann/child", weights(CHILD))
    world.look()
    assert world.parents("ann/child") == [("lab/base", "tuned")]
    (model,) = world.lineage("eve/bomb")["models"]
    assert (model["state"], model["reason"]) == (
        "failed", "comparing it did not end: it took more than 1 s",
    )  # fmt: skip
    tries.clear()
    world.publish("bob/other", weights(trained(ROOT, 8)))
    world.look()
    assert bomb not in str(tries)
    assert world.lineage("bob/other")["models"][0]["state"] == "compared"


def test_a_deleted_parent_gives_way_to_the_next(world: LineageWorld) -> None:
    family(world)
    world.catalog.repos.delete(world.actor("ann"), "model", "ann/child")
    assert world.parents("bob/grand") == []
    world.work.sweep()
    world.look()
    assert world.parents("bob/grand") == [("lab/base", "tuned")]


def test_replaced_weights_are_nobody_s_parent_though_the_store_was_away(
    world: LineageWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    family(world)
    world.publish("ann/child", weights(base(9)))

    def away(*_: object) -> None:
        raise Unavailable("the store is away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tracer, "trace", away)
        with pytest.raises(Unavailable):
            world.look()
    world.look()
    assert world.parents("bob/grand") == [("lab/base", "tuned")]


def test_a_busy_database_is_no_empty_repo(
    world: LineageWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish("lab/base", weights(ROOT))

    def busy(*_: object, **__: object) -> None:
        raise Unavailable("the database is busy; try again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Files, "list", busy)
        with pytest.raises(Unavailable):
            world.look()
    assert world.look() == 1
    assert world.lineage("lab/base")["models"]


class Enqueued:
    """Jobs as the engine takes them: an id once, ever."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.repos: list[int] = []

    def enqueue(self, kind: str, id: str, arg: dict[str, Any], lane: str | None = None) -> None:
        if id not in self.ids:
            self.ids.add(id)
            self.repos.append(arg["repo"])


def rounds(world: LineageWorld) -> Callable[[], None]:
    jobs = Enqueued()
    world.work.jobs = jobs  # type: ignore[assignment]

    def run(times: int = 4) -> None:
        for _ in range(times):
            world.work._next_s = world.work._round_s = 0.0
            world.work.tick()
            while jobs.repos:
                found = world.catalog.ancestry.repo(jobs.repos.pop(0))
                if found is not None:
                    world.work.look(*found)

    return run


def test_there_and_back_is_looked_at_each_time(world: LineageWorld) -> None:
    """Ids of jobs are used once: what a repo is again must have another one than it had then."""
    run = rounds(world)
    world.publish("lab/base", weights(ROOT))
    world.publish("ann/child", weights(CHILD))
    world.publish("bob/grand", weights(GRANDCHILD))
    run()
    for private in (True, False):
        world.catalog.repos.set(world.actor("ann"), "model", "ann/child", private=private)
        run()
        wanted = "lab/base" if private else "ann/child"
        assert world.parents("bob/grand") == [(wanted, "tuned")]


def test_jobs_that_never_end_well_hold_up_nobody(
    world: LineageWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than one page of what waits."""
    monkeypatch.setattr("headwater.work.lineage.PAGE", 5)
    jobs = Enqueued()
    world.work.jobs = jobs  # type: ignore[assignment]
    for number in range(12):
        world.publish(f"eve/r{number}", {}, "# nothing\n")
    last = world.publish("lab/base", weights(ROOT))
    for _ in range(4):
        world.work._next_s = 0.0
        world.work.tick()
    assert last.id in jobs.repos
    assert len(jobs.repos) == 13


def test_who_moves_to_another_owner_is_looked_at_again(world: LineageWorld) -> None:
    world.publish("lab/base", weights(ROOT))
    world.publish("ann/secret", weights(CHILD), private=True)
    world.publish("ann/child", weights(GRANDCHILD), private=True)
    world.look()
    world.catalog.accounts.create("acme", "org")
    world.catalog.accounts.set_role("acme", "ann", "admin")
    for name in ("secret", "child"):
        to = RepoId.parse("model", f"acme/{name}")
        world.catalog.repos.move(world.actor("ann"), "model", f"ann/{name}", to)
    world.look()
    assert world.parents("acme/child", "ann") == [("acme/secret", "tuned")]


def test_who_comes_out_of_quarantine_is_a_parent_again(world: LineageWorld) -> None:
    def disable(*, disabled: bool) -> None:
        with world.catalog.db.write() as conn:
            conn.execute(update(s.repo).where(s.repo.c.name == "base").values(disabled=disabled))

    world.publish("lab/base", weights(ROOT))
    world.look()
    disable(disabled=True)
    world.publish("ann/child", weights(CHILD))
    world.look()
    assert world.parents("ann/child") == []
    disable(disabled=False)
    world.look()
    assert world.parents("ann/child") == [("lab/base", "tuned")]


def test_more_children_than_are_traced_at_once_wait_for_their_turn(
    world: LineageWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    family(world)
    grand = key(GRANDCHILD)
    many = [f"{number:064x}" for number in range(AGAIN_MAX)]
    monkeypatch.setattr(Tracer, "_children", lambda *_: [*many, grand])
    monkeypatch.setattr(Tracer, "_one", lambda *_: [])
    world.work.tracer.trace(Isolated(), [key(CHILD)], time.monotonic() + 60)
    assert [one.repo.full for one in world.catalog.ancestry.unlooked(9)] == ["bob/grand"]


def test_both_parents_of_a_merge_that_a_card_names_are_here(world: LineageWorld) -> None:
    for name in ("base", "other"):
        world.publish(f"lab/{name}", {}, "---\nlicense: mit\n---\n")
    world.publish("ann/merge", {}, "---\nbase_model:\n- lab/base\n- lab/other\n---\n")
    nodes = world.lineage("lab/base", rest="/tree")["nodes"]
    assert {node["id"]: node["here"] for node in nodes} == {
        "lab/base": True, "lab/other": True, "ann/merge": True,
    }  # fmt: skip
