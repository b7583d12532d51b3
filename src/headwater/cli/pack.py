"""`headwater pack` and `headwater unpack`: the packed form of whole repos, at once."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from headwater.app import Floors
from headwater.catalog.kin import BYTES_MIN
from headwater.catalog.models import Repo
from headwater.cli.common import Data, Repos, opened, repo_named
from headwater.errors import BadRequest, NotFound, Unavailable
from headwater.names import Digest
from headwater.work.pack_file import Packed, Packer

FILES_NAMED_MAX = 100_000  # of one repo; the others are shown by their SHA-256


def pack(
    repos: Repos = None,
    all: Annotated[bool, typer.Option("--all", help="Every repo of the hub.")] = False,
    again: Annotated[
        bool, typer.Option(help="Those that are packed, too, if their bases are nearer now.")
    ] = False,
    small: Annotated[
        bool, typer.Option(help="In the smallest forms, two to five times slower to read.")
    ] = False,
    data: Data = None,
) -> None:
    """Pack large files now, bases before what was made from them; a line for each.

    Safe while the hub serves, and harmless when done twice.
    """
    if all == bool(repos):
        raise BadRequest("name repos, or say --all")
    with opened(data) as floors:
        packer = Packer(floors.catalog, floors.store)
        wanted = (
            floors.catalog.holdings.repos()
            if all
            else [repo_named(floors.catalog, name) for name in repos or ()]
        )
        seen: set[Digest] = set()
        failed = 0
        for repo in wanted:
            failed += _pack_repo(floors, packer, repo, again, small, seen)
        if failed:
            raise Unavailable(f"{failed} files could not be packed; they stay as they were")


def _pack_repo(
    floors: Floors, packer: Packer, repo: Repo, again: bool, small: bool, seen: set[Digest]
) -> int:
    """How many of its files failed."""
    named = floors.catalog.holdings.files(repo, FILES_NAMED_MAX).files
    paths = {file.oid: file.path for file in named}
    failed = 0
    for oid, size_bytes in floors.catalog.holdings.blobs(repo).items():
        if size_bytes < BYTES_MIN or oid in seen:
            continue
        for one in packer.order(oid):
            if one in seen:
                continue
            seen.add(one)
            made = _packed(floors, packer, one, paths.get(one, one), again, small and one == oid)
            if made is not None:
                where = f"{repo.prefix}{repo.full}/{paths[one]}" if one in paths else one
                failed += made.state == "failed"
                print(_line(where, made), flush=True)
    return failed


def _packed(
    floors: Floors, packer: Packer, oid: Digest, name: str, again: bool, small: bool
) -> Packed | None:
    blob = floors.store.find(oid)
    console = Console(stderr=True)
    if blob is None or not console.is_terminal:
        return packer.pack(oid, again=again, small=small)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name[-40:], total=blob.size_bytes)

        def progress(done: int) -> None:
            bar.update(task, completed=done)

        return packer.pack(oid, again=again, small=small, progress=progress)


def _line(where: str, made: Packed) -> str:
    if made.state == "failed":
        return f"{where}\tfailed\t{made.error}"
    means = " ".join(f"{word}={size}" for word, size in sorted(made.means.items()))
    return f"{where}\t{made.before_bytes} -> {made.after_bytes}\t{means}"


def unpack(
    repo: Annotated[str, typer.Argument(help="namespace/name, with datasets/ … before it.")],
    data: Data = None,
) -> None:
    """Give up the packed form of a repo's files; they stay unpacked until `pack` names them.

    Takes as much space as the files are long. Other repos that hold the same files share this.
    """
    with opened(data) as floors:
        found = repo_named(floors.catalog, repo)
        packer = Packer(floors.catalog, floors.store)
        done = 0
        for oid in floors.catalog.holdings.blobs(found):
            try:
                done += packer.unpack(oid)
            except NotFound:
                print(f"headwater: {oid} is not in the store", file=sys.stderr)
    print(f"{done} files unpacked")
