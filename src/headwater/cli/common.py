"""What the commands share: the --data option, and the floors opened for one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from headwater.app import Floors, build
from headwater.catalog.actors import OPERATOR
from headwater.catalog.catalog import Catalog
from headwater.catalog.models import Repo
from headwater.errors import NotFound
from headwater.names import REPO_TYPES, RepoType, url_prefix
from headwater.settings import load

Data = Annotated[
    Path | None,
    typer.Option("--data", help="The data folder. Default: HEADWATER_DATA, else the XDG home."),
]

Repos = Annotated[
    list[str] | None,
    typer.Argument(help="namespace/name; before it datasets/, spaces/, buckets/ … if not a model."),
]


@contextmanager
def opened(data: Path | None) -> Iterator[Floors]:
    """The floors of a data folder, closed at the end."""
    settings = load({"data": data})
    if not (settings.data / "store").is_dir():
        raise NotFound(
            f"no hub in {settings.data}; start one with `headwater serve`, or say --data"
        )
    floors = build(settings)
    try:
        yield floors
    finally:
        floors.close()


def repo_named(catalog: Catalog, text: str) -> Repo:
    """The repo that an operator names as its address does: `ann/m`, `datasets/ann/d`."""
    type: RepoType = "model"
    for one in REPO_TYPES:
        if text.count("/") == 2 and text.startswith(url_prefix(one) or "models/"):
            type, text = one, text.partition("/")[2]
    return catalog.repos.find(OPERATOR, type, text)
