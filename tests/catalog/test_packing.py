"""What waits to be packed, against what, and how a row goes: on both databases."""

from __future__ import annotations

import random

import pytest
from catalog_kit import commit, commit_lfs, digest, link, repo, upload
from sqlalchemy import delete, select, update

from headwater.catalog import kin
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.catalog import Catalog
from headwater.catalog.clock import day_of, now_ms
from headwater.catalog.kin import BYTES_MIN
from headwater.catalog.models import Repo
from headwater.catalog.packing import Look, fingerprint
from headwater.names import Digest, RepoId, XetHash

LATER_MS = 10**15
MODEL = "model.safetensors"


def weights(seed: int, size_bytes: int = BYTES_MIN) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def published(
    catalog: Catalog,
    actor: Actor,
    full: str,
    seed: int,
    base: str = "",
    *,
    path: str = MODEL,
    private: bool = False,
    relation: str = "finetune",
) -> tuple[Repo, Digest]:
    """A model of one file, whose card names its base."""
    made = repo(catalog, actor, full, private=private)
    if base:
        named(catalog, actor, made, base, relation)
    commit_lfs(catalog, actor, made, path, weights(seed))
    return made, digest(weights(seed))


def named(
    catalog: Catalog, actor: Actor, made: Repo, base: str, relation: str = "finetune"
) -> None:
    card = f"---\nbase_model: {base}\nbase_model_relation: {relation}\n---\n"
    commit(catalog, actor, made, {"README.md": card.encode()})


def look(catalog: Catalog, oid: Digest) -> Look:
    found = catalog.packing.look(oid)
    assert found is not None
    return found


def waiting(catalog: Catalog) -> list[Digest]:
    return catalog.packing.waiting(0, LATER_MS, 100)


def test_what_waits_is_large_held_and_never_packed(catalog: Catalog, alice: Actor) -> None:
    home, first = published(catalog, alice, "alice/m", 1)
    commit_lfs(catalog, alice, home, "small.bin", weights(2, BYTES_MIN - 1))
    unheld = upload(catalog, alice, weights(3))
    commit_lfs(catalog, alice, home, "second.bin", weights(4))
    second = digest(weights(4))
    assert set(waiting(catalog)) == {first, second}
    assert len(catalog.packing.waiting(0, LATER_MS, 1)) == 1
    catalog.packing.settle(first, "packed", "")
    catalog.packing.settle(second, "failed", "", "x" * 9_999 + "\0")
    assert waiting(catalog) == []
    row = look(catalog, second).row
    assert row is not None
    assert (row.state, len(row.error or "")) == ("failed", 500)
    link(catalog, alice, home, unheld, "third.bin")
    assert waiting(catalog) == [unheld]


def test_what_came_a_moment_ago_does_not_wait_yet(catalog: Catalog, alice: Actor) -> None:
    """Neither by when the repo got it nor by when its bytes came last."""
    _, oid = published(catalog, alice, "alice/m", 1)
    created = look(catalog, oid).created_ms
    with catalog.db.read() as conn:
        came = conn.execute(select(s.repo_blob.c.created_ms)).scalar_one()
    assert catalog.packing.waiting(0, came - 1, 9) == []
    assert catalog.packing.waiting(0, max(came, created), 9) == [oid]
    assert catalog.packing.waiting(came + 1, LATER_MS, 9) == []
    with catalog.db.write() as conn:
        conn.execute(update(s.blob).values(created_ms=came + 1000))
    assert catalog.packing.waiting(0, came, 9) == []


def test_bases_come_from_cards_old_names_and_earlier_commits(
    catalog: Catalog, alice: Actor, bob: Actor
) -> None:
    base, root = published(catalog, alice, "alice/base", 1, private=True)
    commit_lfs(catalog, alice, base, "other.safetensors", weights(2))
    commit_lfs(catalog, alice, base, "notes.txt", weights(3))
    other = digest(weights(2))
    child, first = published(catalog, bob, "bob/child", 4, "Alice/Base")
    assert look(catalog, first).roots == (root, other), "the same path first; only weights"
    commit_lfs(catalog, bob, child, MODEL, weights(5))
    second = digest(weights(5))
    assert look(catalog, second).roots == (root, other, first)
    assert look(catalog, first).roots == (root, other), "what came later is no base"
    catalog.repos.move(alice, "model", "alice/base", RepoId.parse("model", "alice/renamed"))
    assert look(catalog, first).roots == (root, other)
    catalog.repos.delete(alice, "model", "alice/renamed")
    assert look(catalog, second).roots == (first,)


def test_siblings_and_adapters_lie_beside(catalog: Catalog, alice: Actor, bob: Actor) -> None:
    _, root = published(catalog, alice, "alice/base", 1)
    _, tune = published(catalog, alice, "alice/tune", 2, "alice/base")
    adapter_path = "adapter_model.safetensors"
    _, adapter = published(
        catalog, bob, "bob/lora", 3, "alice/base", path=adapter_path, relation="adapter"
    )
    _, child = published(catalog, bob, "bob/child", 4, "alice/base")
    found = look(catalog, child)
    assert found.roots == (root,)
    assert found.beside == (adapter, tune)
    assert found.bases == (root, adapter, tune)
    assert look(catalog, root).bases == ()
    merged = repo(catalog, bob, "bob/merged")
    commit_lfs(catalog, bob, merged, MODEL, weights(5))
    card = b"---\nbase_model: [alice/base, bob/lora]\n---\n"
    commit(catalog, bob, merged, {"README.md": card})
    assert look(catalog, digest(weights(5))).roots == (root, adapter)


def test_a_ring_of_cards_and_a_card_that_names_itself(catalog: Catalog, alice: Actor) -> None:
    one, a = published(catalog, alice, "alice/a", 1, "alice/b")
    _, b = published(catalog, alice, "alice/b", 2, "alice/a")
    assert look(catalog, a).roots == (b,)
    assert look(catalog, b).roots == (a,)
    named(catalog, alice, one, "alice/a")
    assert look(catalog, a).roots == ()


def test_many_parts_are_cut_at_a_limit(
    catalog: Catalog, alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By path: the part of the same name is never what is cut off."""
    base, root = published(catalog, alice, "alice/base", 1)
    for number in range(3):
        commit_lfs(catalog, alice, base, f"a-{number}.safetensors", weights(10 + number))
    _, child = published(catalog, alice, "alice/child", 2, "alice/base")
    assert look(catalog, child).roots == (root, *(digest(weights(n)) for n in (10, 11, 12)))
    monkeypatch.setattr(kin, "ROOTS_MAX", 2)
    assert look(catalog, child).roots == (root, digest(weights(10)))


def test_a_base_that_comes_late_makes_a_blob_due(catalog: Catalog, alice: Actor) -> None:
    """The fingerprint is of settled bases: a base that nobody could use yet does not count."""
    _, child = published(catalog, alice, "alice/child", 1, "alice/base")
    before = look(catalog, child)
    assert before.fingerprint == fingerprint(())
    catalog.packing.settle(child, "packed", before.fingerprint)
    assert catalog.packing.stale(0, 9) == []
    _, base = published(catalog, alice, "alice/base", 2)
    found = look(catalog, child)
    assert (found.unsettled, found.fingerprint) == ((base,), before.fingerprint)
    catalog.packing.settle(base, "kept", "")
    found = look(catalog, child)
    assert (found.unsettled, found.fingerprint) == ((), fingerprint((base,)))
    assert catalog.packing.stale(LATER_MS, 9) == [child, base]
    assert catalog.packing.stale(LATER_MS, 1) == [child]


def test_nothing_is_looked_up_again_on_a_quiet_hub(catalog: Catalog, alice: Actor) -> None:
    _, oid = published(catalog, alice, "alice/m", 1)
    catalog.packing.settle(oid, "packed", "")
    with catalog.db.write() as conn:  # a minute later
        conn.execute(update(s.packing).values(looked_ms=s.packing.c.looked_ms + 60_000))
    assert catalog.packing.stale(LATER_MS, 9) == []
    with catalog.db.write() as conn:
        conn.execute(update(s.repo).values(updated_ms=s.repo.c.updated_ms + 120_000))
    assert catalog.packing.stale(LATER_MS, 9) == [oid]
    for state in ("failed", "unpacked"):
        catalog.packing.settle(oid, state, "")  # type: ignore[arg-type]
        assert catalog.packing.stale(LATER_MS, 9) == [], "left alone until somebody asks"
    assert waiting(catalog) == []
    catalog.packing.forget(oid)
    assert waiting(catalog) == [oid]


def test_a_deleted_blob_loses_its_row_and_gets_none(catalog: Catalog, alice: Actor) -> None:
    home, oid = published(catalog, alice, "alice/m", 1)
    catalog.packing.settle(oid, "packed", "")
    assert not catalog.sweep.forget_blob(oid, LATER_MS, lambda: True), "a repo holds it"
    assert look(catalog, oid).row is not None
    catalog.repos.delete(alice, "model", home.full)
    assert catalog.sweep.forget_blob(oid, LATER_MS, lambda: True)
    assert catalog.packing.look(oid) is None
    catalog.packing.settle(oid, "packed", "")  # a job that ended a moment too late
    with catalog.db.read() as conn:
        assert conn.execute(select(s.packing)).all() == []


def test_blobs_that_share_a_xorb(catalog: Catalog, alice: Actor) -> None:
    xorb, other = XetHash.of_raw(bytes(range(32))), XetHash.of_raw(bytes(range(1, 33)))
    oids = [digest(weights(n)) for n in range(3)]
    for oid, xorbs in zip(oids, ((xorb,), (xorb, other), (other,)), strict=True):
        catalog.blobs.uploaded(alice, oid, BYTES_MIN, xorbs=xorbs)
    assert catalog.packing.sharing(oids[0]) == []
    for oid in oids:
        catalog.packing.settle(oid, "packed", "")
    assert set(catalog.packing.sharing(oids[0])) == set(oids[:2])
    assert set(catalog.packing.sharing(oids[1])) == set(oids)
    catalog.packing.settle(oids[1], "kept", "")
    assert catalog.packing.sharing(oids[0]) == oids[:1]
    assert catalog.holdings.xorbs(oids)[oids[1]] == {xorb, other}


def test_what_repos_hold(catalog: Catalog, alice: Actor, bob: Actor) -> None:
    home, first = published(catalog, alice, "alice/m", 1)
    commit_lfs(catalog, alice, home, MODEL, weights(2))
    second = digest(weights(2))
    commit_lfs(catalog, alice, home, "deep/er/w.bin", weights(3))
    files = catalog.holdings.files(home, 9)
    assert [(file.path, file.oid) for file in files.files] == [
        ("deep/er/w.bin", digest(weights(3))),
        (MODEL, second),
    ]
    assert not files.truncated
    assert catalog.holdings.files(home, 1).truncated
    assert set(catalog.holdings.blobs(home)) == {first, second, digest(weights(3))}
    copy, _ = published(catalog, bob, "bob/m", 1)
    holders = catalog.holdings.holders([first, second])
    assert holders == {first: {home.id, copy.id}, second: {home.id}}
    with catalog.db.write() as conn:
        conn.execute(delete(s.repo_blob).where(s.repo_blob.c.oid == second))
    assert [file.path for file in catalog.holdings.files(home, 9).files] == ["deep/er/w.bin"]


def test_families_are_connected_by_declared_bases(catalog: Catalog, alice: Actor) -> None:
    base, _ = published(catalog, alice, "alice/Base", 1)
    tune, _ = published(catalog, alice, "alice/tune", 2, "alice/base")
    again, _ = published(catalog, alice, "alice/again", 3, "alice/tune")
    alone, _ = published(catalog, alice, "alice/alone", 4, "nobody/here")
    assert catalog.holdings.families() == dict.fromkeys((base.id, tune.id, again.id), "alice/Base")
    assert alone.id in {one.id for one in catalog.holdings.repos()}
    catalog.repos.move(alice, "model", "alice/tune", RepoId.parse("model", "alice/moved"))
    assert catalog.holdings.families()[again.id] == "alice/Base"


def test_nothing_of_it_is_told(catalog: Catalog, alice: Actor, bob: Actor) -> None:
    """A private base is used, and its child's public page says what it said before."""
    published(catalog, alice, "alice/base", 1, private=True)
    child, oid = published(catalog, bob, "bob/child", 2, "alice/base")
    before = catalog.bases.of(bob, child)
    catalog.packing.settle(oid, "packed", look(catalog, oid).fingerprint)
    assert look(catalog, oid).roots
    assert catalog.bases.of(bob, child) == before
    assert before is not None
    assert before.parents[0].hub_id is None


@pytest.mark.parametrize("number", [0, 1, 600])
def test_many_oids_in_one_question(catalog: Catalog, number: int) -> None:
    """More than one IN takes."""
    oids = [digest(b"%d" % n) for n in range(number)]
    catalog.packing.looked(oids)
    assert catalog.holdings.holders(oids) == {}
    assert catalog.holdings.xorbs(oids) == {}


def test_what_nobody_has_asked_for_is_cold(catalog: Catalog, alice: Actor) -> None:
    """Packed long ago and not downloaded from any repo since; once small, it stays."""
    one, first = published(catalog, alice, "alice/one", 1)
    two, second = published(catalog, alice, "alice/two", 2)
    link(catalog, alice, two, first)
    for oid in (first, second):
        catalog.packing.settle(oid, "packed", "")
    before_ms = now_ms() + 1000
    assert catalog.packing.cold(before_ms - 10_000, 9) == []  # packed just now
    assert set(catalog.packing.cold(before_ms, 9)) == {first, second}
    assert len(catalog.packing.cold(before_ms, 1)) == 1
    day = s.download_day.insert().values(raw=1, marked=0, dedup=0)
    with catalog.db.write() as conn:
        conn.execute(day.values(repo_id=one.id, day=day_of(before_ms)))
        conn.execute(day.values(repo_id=two.id, day=day_of(before_ms) - 40))
    assert catalog.packing.cold(before_ms, 9) == [second]
    catalog.packing.settle(second, "small", "")
    assert catalog.packing.cold(before_ms, 9) == []
