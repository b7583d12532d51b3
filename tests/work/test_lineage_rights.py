"""What lineage tells nobody who may not know: names, hashes, times and copies of private models."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.numpy import save

from headwater.catalog.actors import Scope
from headwater.work.lineage import LineageWork
from work.lineage_world import LineageWorld

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "lineage")]

from kin_kit import base, stored, trained  # noqa: E402  (found through the folder)
from lineage_kit import Tensors  # noqa: E402

ROOT = base()
CHILD = trained(ROOT, 5)
GRANDCHILD = trained(CHILD, 6)
A, B = trained(ROOT, 11, 0.05), trained(ROOT, 12, 0.05)
MERGE = stored({name: ((A[name] + B[name]) / 2).astype("float32") for name in A})
ROUTES = (
    "", "/nearest", "/tree", "/tree?format=mermaid", "/tree?format=svg", "/tree?format=text",
    "/bom", "/bom?format=spdx",
)  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LineageWorld]:
    made = LineageWorld(tmp_path)
    yield made
    made.close()


def weights(tensors: Tensors, name: str = "model.safetensors") -> dict[str, bytes]:
    return {name: save(tensors)}


def sha(tensors: Tensors) -> bytes:
    return hashlib.sha256(save(tensors)).hexdigest().encode()


def card(base_model: str) -> str:
    return f"---\nbase_model: {base_model}\n---\n"


def all_of(world: LineageWorld, repo: str, user: str = "") -> bytes:
    return b"".join(world.get(f"/api/models/{repo}/lineage{rest}", user).body for rest in ROUTES)


def test_a_file_keeps_the_name_that_each_repo_gave_it(world: LineageWorld) -> None:
    world.publish("bob/mine", weights(ROOT, "project-orion.safetensors"), private=True)
    world.look()
    world.publish("eve/public", weights(ROOT))
    world.look()
    assert b"orion" not in all_of(world, "eve/public")
    assert b"model.safetensors" in world.get("/api/models/eve/public/lineage/bom").body


@pytest.mark.parametrize("private", [True, False])
def test_a_copy_s_card_does_not_speak_for_the_original(
    world: LineageWorld, *, private: bool
) -> None:
    """Else whoever copies a base could make it a child of theirs."""
    world.publish("lab/base", weights(ROOT))
    world.publish("eve/evil", weights(CHILD))
    world.look()
    world.publish("eve/copy", weights(ROOT), card("eve/evil"), private=private)
    world.look()
    assert world.parents("lab/base") == []
    assert world.parents("eve/evil") == [("lab/base", "tuned")]


def test_when_a_private_copy_came_is_not_told(world: LineageWorld) -> None:
    """Publicly ann/x came before bob/y; that ann had y before is hers to know."""
    world.publish("ann/early", weights(CHILD), private=True)
    world.publish("ann/x", weights(GRANDCHILD))
    world.publish("bob/y", weights(CHILD))
    world.look()
    assert world.parents("ann/x") == []
    assert world.parents("ann/x", "bob") == []
    assert world.parents("ann/x", "ann") == [("ann/early", "tuned")]


def test_parts_of_a_merge_that_are_not_to_be_seen(world: LineageWorld) -> None:
    world.publish("lab/base", weights(ROOT))
    world.publish("ann/a", weights(A))
    world.publish("bob/b", weights(B))
    world.publish("eve/m", weights(MERGE))
    world.look()
    assert world.parents("eve/m") == [("ann/a", "merged"), ("bob/b", "merged")]
    (line, *_) = world.lineage("eve/m")["parents"][0]["inferred"]["evidence"]
    assert "0.50 x ann/a" in line
    assert "0.50 x bob/b" in line
    world.catalog.repos.set(world.actor("ann"), "model", "ann/a", private=True)
    assert sha(A) not in all_of(world, "eve/m")
    assert world.parents("eve/m") == []
    world.look()
    assert sha(A) not in all_of(world, "eve/m")


def test_bytes_that_somebody_has_wait_like_any_others(
    world: LineageWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`compared` before its own turn would say that somebody else has these bytes."""
    world.publish("bob/secret", weights(CHILD), private=True)
    world.look()
    files = {"a.safetensors": save(base(9)), "b.safetensors": save(CHILD), "c.safetensors": save(A)}
    world.publish("eve/probe", files)
    seen: list[set[str]] = []
    real = LineageWork._sketch

    def sketch(work: LineageWork, *args: object) -> None:
        seen.append({one["state"] for one in world.lineage("eve/probe", "eve")["models"]})
        real(work, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(LineageWork, "_sketch", sketch)
    world.look()
    assert seen == [{"waiting"}, {"waiting"}]
    assert {one["state"] for one in world.lineage("eve/probe")["models"]} == {"compared"}


def test_a_card_is_quoted_to_those_who_may_read_it(world: LineageWorld) -> None:
    world.publish("ann/base", weights(ROOT), private=True)
    world.publish("ann/s", weights(CHILD), "# trained from scratch\n", private=True)
    world.look()
    sees = [Scope("model", f"ann/{name}", ("repo.access.read",)) for name in ("s", "base")]
    world.tokens["narrow"] = world.catalog.tokens.create("ann", "n", "fineGrained", scopes=sees)
    assert world.lineage("ann/s", "narrow")["contradictions"] == []
    assert world.parents("ann/s", "narrow") == [], "nor of what is found among all that ann has"
    (said,) = world.lineage("ann/s", "ann")["contradictions"]
    assert said["kind"] == "from-scratch"


def test_hashes_are_for_those_who_may_read_the_files(world: LineageWorld) -> None:
    world.publish("ann/gated", weights(ROOT))
    world.publish("bob/child", weights(CHILD))
    world.catalog.repos.set(world.actor("ann"), "model", "ann/gated", gated="manual")
    world.look()
    for repo in ("ann/gated", "bob/child"):
        assert sha(ROOT) not in all_of(world, repo)
        assert sha(ROOT) not in all_of(world, repo, "bob")
    assert sha(ROOT) in all_of(world, "bob/child", "ann")


def test_knowing_the_hashes_of_shards_is_not_having_them(world: LineageWorld) -> None:
    """A file that is the very text of which a key is made is another model than the shards."""
    names = list(CHILD)
    shards = [{n: CHILD[n] for n in names[::2]}, {n: CHILD[n] for n in names[1::2]}]
    files = {f"model-0000{at}-of-00002.safetensors": save(s) for at, s in enumerate(shards, 1)}
    hashes = [hashlib.sha256(data).hexdigest() for data in files.values()]
    texts = ["\n".join(hashes), "\n".join(["headwater model", *hashes])]
    world.publish("eve/m", {f"{at}.bin": text.encode() for at, text in enumerate(texts)})
    world.look()
    world.publish("ann/secret", files, private=True)
    world.publish("lab/base", weights(ROOT))
    world.look()
    assert world.lineage("ann/secret", "ann")["models"][0]["state"] == "compared"
    assert world.parents("eve/m") == []
    for at in hashes:
        assert at.encode() not in all_of(world, "eve/m")
