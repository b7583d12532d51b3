"""Who descends from whom, from the push to the reply: found by weights, told by rights."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.numpy import save

from headwater.names import Digest
from headwater.work.pack_file import Packer
from work.lineage_world import LineageWorld

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "lineage")]

from kin_kit import base, each, int8, pruned, trained  # noqa: E402  (found through the folder)
from lineage_kit import Tensors, to_gguf  # noqa: E402

ROOT = base()
CHILD = trained(ROOT, 5)
GRANDCHILD = trained(CHILD, 6)


def weights(tensors: Tensors) -> dict[str, bytes]:
    return {"model.safetensors": save(tensors)}


def card(**fields: str) -> str:
    lines = "\n".join(f"{key}: {value}" for key, value in fields.items())
    return f"---\n{lines}\n---\n# A model\n"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LineageWorld]:
    made = LineageWorld(tmp_path)
    yield made
    made.close()


def test_a_family_as_it_comes(world: LineageWorld, tmp_path: Path) -> None:
    """Nothing is declared; the weights tell, with the whole tree."""
    world.publish("lab/base", weights(ROOT))
    world.publish("ann/child", weights(CHILD))
    world.publish("bob/grandchild", weights(GRANDCHILD))
    path = to_gguf(tmp_path / "q.gguf", GRANDCHILD, "Q8_0")
    world.publish("bob/quants", {"model-Q8_0.gguf": path.read_bytes()})
    world.publish("eve/stranger", weights(base(7)))
    waiting = world.lineage("ann/child")
    assert [model["state"] for model in waiting["models"]] == [], "nobody looked yet"
    assert world.look() == 5
    assert world.look() == 0, "each is looked at once"
    assert world.parents("lab/base") == []
    assert world.parents("ann/child") == [("lab/base", "tuned")]
    assert world.parents("bob/grandchild") == [("ann/child", "tuned")]
    assert world.parents("bob/quants") == [("bob/grandchild", "quantized")]
    assert world.parents("eve/stranger") == []
    found = world.lineage("bob/quants")
    assert found["family"] == {
        "roots": ["lab/base"], "depth": 3, "baseShare": {"lab/base": 1.0},
        "ancestors": 3, "descendants": 0,
    }  # fmt: skip
    assert found["parents"][0]["inferred"]["decided"] is True
    assert found["parents"][0]["inferred"]["log10P"] < -100
    assert found["models"] == [
        {"path": "model-Q8_0.gguf", "size": path.stat().st_size, "state": "compared",
         "reason": None}
    ]  # fmt: skip
    tree = world.lineage("ann/child", rest="/tree")
    assert {node["id"] for node in tree["nodes"]} == {
        "lab/base", "ann/child", "bob/grandchild", "bob/quants",
    }  # fmt: skip
    near = world.lineage("bob/grandchild", rest="/nearest")["models"][0]["nearest"]
    assert next(one["id"] for one in near if one["related"]) == "ann/child"
    assert all(one["id"] != "eve/stranger" or not one["related"] for one in near)


def test_what_comes_after_its_quantization_is_still_its_parent(world: LineageWorld) -> None:
    world.publish("bob/int8", weights(each(ROOT, int8)))
    world.look()
    assert world.parents("bob/int8") == []
    world.publish("lab/base", weights(ROOT))
    world.look()
    assert world.parents("bob/int8") == [("lab/base", "quantized")]
    assert world.parents("lab/base") == []


def test_a_card_says_who_is_older_where_weights_do_not(world: LineageWorld) -> None:
    world.publish("ann/child", weights(CHILD), card(base_model="lab/base"))
    world.publish("lab/base", weights(ROOT))
    world.look()
    assert world.parents("ann/child") == [("lab/base", "tuned")]
    assert world.parents("lab/base") == []
    (edge,) = world.lineage("ann/child")["parents"]
    assert (edge["declared"], edge["inferred"]["kind"]) == ("finetune", "tuned")
    assert world.lineage("ann/child")["contradictions"] == []


def test_the_same_files_are_a_copy(world: LineageWorld) -> None:
    world.publish("lab/base", weights(ROOT))
    world.publish("ann/child", weights(CHILD))
    world.look()
    world.publish("eve/mine", weights(CHILD), "# Mine, trained from scratch by me.\n")
    world.look()
    assert world.parents("eve/mine") == [("ann/child", "copy")]
    (said,) = world.lineage("eve/mine")["contradictions"]
    assert said["kind"] == "from-scratch"
    assert "100.0% of its sampled weights equal those of ann/child" in said["says"]


def test_contradictions_are_shown(world: LineageWorld) -> None:
    world.publish("lab/base", weights(ROOT), card(license="llama3"))
    world.publish("lab/other", weights(base(7)), card(license="mit"))
    world.publish(
        "ann/lies", weights(each(ROOT, pruned)), card(base_model="lab/other", license="mit")
    )
    world.look()
    found = world.lineage("ann/lies")
    assert [(one["kind"], one["parent"]) for one in found["contradictions"]] == [
        ("unrelated", "lab/other"), ("another-parent", "lab/base"),
    ]  # fmt: skip
    assert {(e["parent"], e["declared"]) for e in found["parents"]} == {
        ("lab/other", "finetune"), ("lab/base", None),
    }  # fmt: skip
    (conflict,) = found["license"]["conflicts"]
    assert (conflict["ancestor"], conflict["ancestorLicense"]) == ("lab/base", "llama3")
    assert "use restrictions" in conflict["missing"]


def test_private_models_are_told_of_to_their_own_alone(world: LineageWorld) -> None:
    """ann/child, public, comes from ann/secret, private, and that from lab/base."""
    world.publish("lab/base", weights(ROOT))
    world.publish("ann/secret", weights(CHILD), private=True)
    world.publish("ann/child", weights(GRANDCHILD))
    world.publish("bob/child", weights(trained(CHILD, 9)))
    world.actor("eve")
    world.look()
    assert world.parents("ann/child", "ann") == [("ann/secret", "tuned")]
    for user in ("", "eve", "bob"):
        assert world.parents("ann/child", user) == [("lab/base", "tuned")]
        for rest in ("", "/nearest", "/tree", "/tree?format=mermaid", "/tree?format=svg",
                     "/tree?format=text", "/bom", "/bom?format=spdx"):  # fmt: skip
            for repo in ("lab/base", "ann/child", "bob/child"):
                answer = world.get(f"/api/models/{repo}/lineage{rest}", user)
                assert answer.status == 200
                assert b"secret" not in answer.body
        assert world.get("/api/models/ann/secret/lineage", user).status in (401, 404)
    assert world.parents("bob/child", "ann") == [("lab/base", "tuned")], "nobody asked ann's models"
    assert world.parents("ann/secret", "ann") == [("lab/base", "tuned")]


def test_what_becomes_private_is_told_of_no_more(world: LineageWorld) -> None:
    world.publish("lab/base", weights(ROOT))
    world.publish("ann/child", weights(CHILD))
    world.publish("bob/grandchild", weights(GRANDCHILD))
    world.look()
    assert world.parents("bob/grandchild") == [("ann/child", "tuned")]
    ann = world.actor("ann")
    world.catalog.repos.set(ann, "model", "ann/child", private=True)
    assert world.parents("bob/grandchild") == [], "at once"
    assert world.look() == 1
    assert world.parents("bob/grandchild") == [("lab/base", "tuned")], "and then the next best"
    assert world.parents("bob/grandchild", "ann") == [("lab/base", "tuned")]
    world.catalog.repos.set(ann, "model", "ann/child", private=False)
    world.look()
    assert world.parents("bob/grandchild") == [("ann/child", "tuned")]


def test_hostile_files_leave_a_reason_and_hold_nobody_up(world: LineageWorld) -> None:
    whole = save(ROOT)
    world.publish("eve/bad", {
        "cut.safetensors": whole[:5000],
        "noise.gguf": b"GGUF" + bytes(range(256)) * 40,
        "pickle.bin": b"\x80\x04" + b"c" * 3000,
        "optimizer.pt": b"no model",
    })  # fmt: skip
    world.publish("lab/base", weights(ROOT))
    world.look()
    states = {model["path"]: model["state"] for model in world.lineage("eve/bad")["models"]}
    assert states.keys() == {"cut.safetensors", "noise.gguf", "pickle.bin"}
    assert set(states.values()) <= {"failed", "no layers"}
    assert world.lineage("lab/base")["models"][0]["state"] == "compared"


def test_packing_asks_for_the_base_and_the_root(world: LineageWorld) -> None:
    """No card names anything, and the parent is private to somebody else: bytes are bytes."""
    files = [weights(tensors) for tensors in (ROOT, CHILD, GRANDCHILD)]
    root, child, grandchild = (hashlib.sha256(f["model.safetensors"]).hexdigest() for f in files)
    world.publish("lab/base", files[0])
    world.publish("ann/secret", files[1], private=True)
    world.publish("bob/grandchild", files[2])
    packing = world.catalog.packing
    before = packing.look(Digest(grandchild))
    assert before is not None
    assert before.roots == ()
    world.look()
    after = packing.look(Digest(grandchild))
    assert after is not None
    assert after.roots == (child, root)
    assert after.unsettled == (child, root)
    assert world.parents("bob/grandchild", "bob") == [("lab/base", "tuned")]
    packer = Packer(world.catalog, world.store)
    assert packer.order(Digest(grandchild)) == [root, child, grandchild]
    for oid in packer.order(Digest(grandchild)):
        packer.pack(oid)
    packed = packing.look(Digest(grandchild))
    assert packed is not None
    assert packed.row is not None
    assert packed.row.fingerprint == packed.fingerprint


def test_what_no_repo_holds_is_forgotten(world: LineageWorld) -> None:
    world.publish("lab/base", weights(ROOT))
    world.publish("ann/child", weights(CHILD))
    world.look()
    world.catalog.repos.delete(world.actor("lab"), "model", "lab/base")
    assert world.parents("ann/child") == []
    assert world.catalog.sketches.forget_unheld() == 1
    assert world.catalog.sketches.forget_unheld() == 0
