"""What the commands share: the --data option, and the floors opened for one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from headwater.app import Floors, build
from headwater.errors import NotFound
from headwater.settings import load

Data = Annotated[
    Path | None,
    typer.Option("--data", help="The data folder. Default: HEADWATER_DATA, else the XDG home."),
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
