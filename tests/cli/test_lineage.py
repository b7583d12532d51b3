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
    names = ("base.safetensors", "child.gguf", "shards", "stranger.safetensors")
    done = told(folder, "--json", *names)
    assert done.returncode == 0, done.stderr
    found = {frozenset((pair["one"], pair["other"])): pair for pair in json.loads(done.stdout)}
    assert len(found) == 6
    for pair, said in found.items():
        assert said["related"] == ("stranger.safetensors" not in pair), pair
    assert found[frozenset(names[1:3])]["correlation"] > 0.999
    assert found[frozenset(names[:2])]["layers"] == [0, 1]
    shown = told(folder, *names)
    assert shown.stdout.count("yes") == 3
    assert shown.stdout.count("no sign") == 3


def test_of_many_models_those_that_may_be_related(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "ALL_PAIRS_MAX", 2)
    names = ("base.safetensors", "child.gguf", "shards", "stranger.safetensors")
    command.lineage([folder / name for name in names], as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 3
    assert all(pair["related"] for pair in found)


def test_what_is_no_model_is_told(folder: Path) -> None:
    (folder / "notes.txt").write_text("nothing here")
    done = told(folder, "base.safetensors", "notes.txt")
    assert done.returncode != 0
    assert "notes.txt: no weights of a transformer" in done.stderr
    gone = told(folder, "base.safetensors", "gone.safetensors")
    assert gone.returncode != 0
    assert "gone.safetensors cannot be read" in gone.stderr
