"""`headwater stats`: what repos and families are long, and what they take on disk."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from headwater.app import Floors
from headwater.catalog.storage import Storage, Tally
from headwater.cli.common import Data, opened, repo_named
from headwater.names import Digest

HEAD = ("files", "logical bytes", "stored bytes", "of it", "by what means")
NO_FAMILY = "(no family)"


def stats(
    repo: Annotated[str | None, typer.Argument(help="One repo alone. Default: all.")] = None,
    family: Annotated[
        bool, typer.Option("--family", help="By families: models connected by declared bases.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Repos and families, as JSON.")] = False,
    data: Data = None,
) -> None:
    """Logical and stored bytes, and by what means they are kept, old commits included.

    What several repos share is on disk once: counted once in the total, split evenly among them.
    """
    with opened(data) as floors:
        wanted = repo_named(floors.catalog, repo).id if repo else None
        names = {one.id: f"{one.prefix}{one.full}" for one in floors.catalog.holdings.repos()}
        families = floors.catalog.holdings.families()
        by_repo, by_family = _tallies(floors, families)
    rows = {names[one]: each for one, each in by_repo.groups().items() if one in names}
    kin = {str(one): each for one, each in by_family.groups().items()}
    if wanted is not None:
        rows = {names[wanted]: rows.get(names[wanted], Storage(0, 0, 0, {}))}
        mine = families.get(wanted)
        kin = {name: each for name, each in kin.items() if name == mine}
    total = None if wanted is not None else by_repo.total()
    if as_json:
        shown = {"repos": _jsonable(rows), "families": _jsonable(kin)}
        print(json.dumps(shown | ({"total": _json(total)} if total else {}), indent=1))
    else:
        _show("family" if family else "repo", kin if family else rows, total)


def _tallies(floors: Floors, families: Mapping[int, str]) -> tuple[Tally, Tally]:
    """All blobs that repos hold, summed by repo and by family."""
    holdings, store = floors.catalog.holdings, floors.store
    by_repo, by_family = Tally(whole=True), Tally(whole=True)
    sizes = {name: size for name, _, size in store.xorbs()}
    oids: dict[Digest, None] = {}
    for repo in holdings.repos():
        oids |= dict.fromkeys(holdings.blobs(repo))
    holders, xorbs = holdings.holders(oids), holdings.xorbs(oids)
    for oid in oids:
        usage, groups = store.usage(oid), holders.get(oid, set())
        if usage is None or not groups:
            continue  # deleted meanwhile; or damaged, which `check` tells of
        used = {name: sizes[name] for name in xorbs.get(oid, ()) if name in sizes}
        by_repo.add(groups, oid, usage, used)
        kin: set[Hashable] = {families.get(repo_id, NO_FAMILY) for repo_id in groups}
        by_family.add(kin, oid, usage, used)
    return by_repo, by_family


def _json(each: Storage) -> dict[str, object]:
    return {
        "blobs": each.blobs,
        "logicalBytes": each.logical_bytes,
        "storedBytes": each.stored_bytes,
        "means": each.means,
    }


def _jsonable(rows: Mapping[str, Storage]) -> dict[str, dict[str, object]]:
    return {name: _json(each) for name, each in sorted(rows.items())}


def _cells(each: Storage) -> tuple[str, ...]:
    share = f"{each.stored_bytes / each.logical_bytes:.1%}" if each.logical_bytes else ""
    means = ", ".join(
        f"{word} {size}" for word, size in sorted(each.means.items(), key=lambda one: -one[1])
    )
    return (str(each.blobs), str(each.logical_bytes), str(each.stored_bytes), share, means)


def _show(what: str, rows: Mapping[str, Storage], total: Storage | None) -> None:
    """A table for people; tabs for programs."""
    lines = [(name, *_cells(each)) for name, each in sorted(rows.items())]
    if total is not None:
        lines.append(("total", *_cells(total)))
    console = Console()
    if not console.is_terminal:
        for line in ((what, *HEAD), *lines):
            print("\t".join(line))
        return
    table = Table(what, *HEAD)
    for column in table.columns[1:5]:
        column.justify = "right"
    for line in lines:
        table.add_row(*line)
    console.print(table)
