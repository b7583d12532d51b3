"""Hubs that export and import; the family is built once."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bundle_kit import family, hub, out

from headwater.app import Floors
from headwater.catalog.actors import OPERATOR
from headwater.names import RepoType

FAMILY: tuple[tuple[RepoType, str], ...] = (
    ("model", "ann/base"), ("model", "ann/child"), ("dataset", "ann/notes"),
)  # fmt: skip


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Floors]:
    """A hub with the family; tests only read it."""
    floors = hub(tmp_path_factory.mktemp("source"), "ann")
    family(floors)
    yield floors
    floors.close()


@pytest.fixture(scope="session")
def bundle(source: Floors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of the family."""
    path = tmp_path_factory.mktemp("bundle") / "family.tar"
    repos = [source.catalog.repos.find(OPERATOR, *name) for name in FAMILY]
    out(source, repos, path)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Floors]:
    """A fresh hub where only ann is known."""
    floors = hub(tmp_path / "target", "ann")
    yield floors
    floors.close()
