"""`headwater lineage` in a terminal, on files that lie there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from headwater.cli import lineage as command
from headwater.errors import BadRequest
from work.lineage_world import LineageWorld

KIT = Path(__file__).resolve().parents[1] / "lineage"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sys.path.insert(0, str(KIT))
    try:
        from lineage_kit import llama, to_gguf
    finally:
        sys.path.remove(str(KIT))
    base, stranger = llama(1), llama(2)
    rng = np.random.default_rng(3)
    child = {n: v + rng.normal(0, 0.001, v.shape).astype(np.float32) for n, v in base.items()}
    save_file(base, tmp_path / "base.safetensors")
    save_file(stranger, tmp_path / "stranger.safetensors")
    to_gguf(tmp_path / "child.gguf", child, "Q8_0")
    (tmp_path / "shards").mkdir()
    for number in range(2):
        part = {n: v for at, (n, v) in enumerate(child.items()) if at % 2 == number}
        save_file(part, tmp_path / "shards" / f"model-{number}.safetensors")
    return tmp_path


def told(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headwater", "lineage", *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_relatives_and_a_stranger(folder: Path) -> None:
    names = ("base.safetensors", "shards", "child.gguf", "stranger.safetensors")
    done = told(folder, "--json", "--ordered", *names)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    parents = {one["name"]: [p["name"] for p in one["parents"]] for one in said["models"]}
    assert parents == {
        "base.safetensors": [], "shards": ["base.safetensors"], "child.gguf": ["shards"],
        "stranger.safetensors": [],
    }  # fmt: skip
    found = {frozenset((pair["one"], pair["other"])): pair for pair in said["pairs"]}
    assert len(found) == 6
    for pair, one in found.items():
        assert one["related"] == ("stranger.safetensors" not in pair), pair
    quantized = found[frozenset(("shards", "child.gguf"))]
    assert (quantized["kind"], quantized["child"]) == ("quantized", "child.gguf")


def test_a_table_for_people(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    command.of([str(folder / name) for name in ("shards", "child.gguf", "stranger.safetensors")])
    shown = " ".join(capsys.readouterr().out.split())
    for word in ("quantized", "times the rounding error", "nobody here", "yes"):
        assert word in shown


def test_too_many_models(folder: Path) -> None:
    with pytest.raises(BadRequest, match="at most"):
        command.of([str(folder / str(n)) for n in range(101)])


def test_what_is_no_model_is_told(folder: Path) -> None:
    (folder / "notes.txt").write_text("nothing here")
    done = told(folder, "base.safetensors", "notes.txt")
    assert done.returncode != 0
    assert "notes.txt: no tensors" in done.stderr
    gone = told(folder, "base.safetensors", "gone.safetensors")
    assert gone.returncode != 0
    assert "gone.safetensors cannot be read" in gone.stderr


@pytest.fixture
def hub(folder: Path) -> Path:
    """A hub in which lab/base and its quantization ann/q8 were looked at, and lab/later was not."""
    world = LineageWorld(folder / "hub")
    files = {name: (folder / name).read_bytes() for name in ("base.safetensors", "child.gguf")}
    world.publish("lab/base", {"model.safetensors": files["base.safetensors"]})
    world.publish("ann/q8", {"q8.gguf": files["child.gguf"]}, "---\nlicense: mit\n---\n")
    world.look()
    world.publish("lab/empty", {}, "# nothing\n")
    world.close()
    return folder / "hub"


def test_files_and_models_of_the_hub_beside_each_other(folder: Path, hub: Path) -> None:
    done = told(folder, "--json", "--data", str(hub), "shards", "ann/q8", "lab/base")
    assert done.returncode == 0, done.stderr
    parents = {
        m["name"]: [p["name"] for p in m["parents"]] for m in json.loads(done.stdout)["models"]
    }
    assert parents["ann/q8"] == ["shards"], "nearer than the base"
    for name, why in (
        ("ann/nothing", "is neither a file here nor a model of this hub"),
        ("lab/empty", "holds no weights on main"),
    ):
        done = told(folder, "--data", str(hub), "shards", name)
        assert done.returncode != 0
        assert f"{name} {why}" in done.stderr


def test_the_family_that_the_hub_knows(folder: Path, hub: Path) -> None:
    said = {
        form: told(folder, "tree", "ann/q8", "--data", str(hub), "--format", form).stdout
        for form in ("text", "mermaid", "svg", "json")
    }
    assert said["text"].splitlines()[0].startswith("lab/base")
    assert "ann/q8" in said["text"].splitlines()[1]
    assert said["mermaid"].startswith("graph TD\n")
    assert said["svg"].startswith("<svg")
    edges = json.loads(said["json"])["edges"]
    assert [(e["child"], e["parent"]) for e in edges] == [("ann/q8", "lab/base")]


def test_bills_of_materials(folder: Path, hub: Path) -> None:
    done = told(folder, "bom", "ann/q8", "--data", str(hub))
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["bomFormat"] == "CycloneDX"
    assert made["metadata"]["component"]["type"] == "machine-learning-model"
    spdx = json.loads(told(folder, "bom", "ann/q8", "--data", str(hub), "--format", "spdx").stdout)
    assert "spdx-context.jsonld" in spdx["@context"]
