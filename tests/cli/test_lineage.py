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
    command.lineage([folder / "shards", folder / "child.gguf", folder / "stranger.safetensors"])
    shown = " ".join(capsys.readouterr().out.split())
    for word in ("quantized", "times the rounding error", "nobody here", "yes"):
        assert word in shown


def test_too_many_models(folder: Path) -> None:
    with pytest.raises(BadRequest, match="at most"):
        command.lineage([folder / str(n) for n in range(101)])


def test_what_is_no_model_is_told(folder: Path) -> None:
    (folder / "notes.txt").write_text("nothing here")
    done = told(folder, "base.safetensors", "notes.txt")
    assert done.returncode != 0
    assert "notes.txt: no tensors" in done.stderr
    gone = told(folder, "base.safetensors", "gone.safetensors")
    assert gone.returncode != 0
    assert "gone.safetensors cannot be read" in gone.stderr
