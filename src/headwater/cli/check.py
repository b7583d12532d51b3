"""`headwater check`: is everything that was promised still there, and still itself?"""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.catalog.inspection import inspect
from headwater.cli.common import Data, opened
from headwater.errors import Corrupt


def check(
    data_bytes: Annotated[
        bool, typer.Option("--bytes", "--read-data", help="Read and hash every byte again.")
    ] = False,
    data: Data = None,
) -> None:
    """Look for damage; nothing is changed. Exit 0 when clean, 65 when something was found.

    Without --bytes: names, structure, footers. With it, every stored byte is read and hashed.
    """
    found = 0
    with opened(data) as floors:
        for finding in floors.store.check(data=data_bytes):
            found += 1
            print(f"{finding.kind}\t{finding.name}\t{finding.problem}")
        catalog = floors.catalog
        for problem in inspect(catalog.db, catalog.git, floors.store, data=data_bytes):
            found += 1
            print(f"catalog\t{problem.where}\t{problem.what}")
    if found:
        raise Corrupt(
            f"{found} problems found. Nothing was changed: restore what is named from a backup "
            "or upload it again, then check once more."
        )
    print("clean" if data_bytes else "clean (structure; --bytes reads every byte)")
