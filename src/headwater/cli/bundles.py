"""`headwater export` and `headwater import`: repos as one file, for places without a network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from headwater.bundle.exporting import Progress as Told
from headwater.bundle.exporting import export as write_bundle
from headwater.bundle.importing import Importing, Target
from headwater.bundle.manifest import Manifest
from headwater.catalog.actors import OPERATOR
from headwater.catalog.git_quarantine import Limits
from headwater.cli.common import Data, opened
from headwater.names import GIT_TYPES, RepoType, url_prefix


def export(
    repos: Annotated[list[str], typer.Argument(help="namespace/name, or datasets/namespace/name.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")],
    family: Annotated[
        bool, typer.Option("--family", help="Also what they were made from, and from them.")
    ] = False,
    with_bases: Annotated[
        bool, typer.Option("--with-bases", help="Also what they were made from.")
    ] = False,
    sign_key: Annotated[
        Path | None, typer.Option(help="Sign with this private key (PEM, elliptic curve).")
    ] = None,
    data: Data = None,
) -> None:
    """Write repos with their whole history to one file that another hub imports."""
    with opened(data) as floors, _progress() as told:
        catalog = floors.catalog
        named = [catalog.repos.find(OPERATOR, *_parse(text)) for text in repos]
        kin = catalog.exports.family(named, up=family or with_bases, down=family)
        asked = {repo.id for repo in named}
        chosen = [repo for repo in kin if repo.id in asked or not repo.disabled]
        done = write_bundle(
            floors.store, catalog, chosen, out,
            scratch=floors.settings.data / "tmp", sign_key=sign_key, progress=told,
        )  # fmt: skip
    _describe(done.manifest)
    for repo in kin:
        if repo not in chosen:
            print(f"{repo.prefix}{repo.full}\tquarantined, left out")
    print(f"{out}: {done.size_bytes} bytes for {done.file_bytes} bytes of large files")


def import_(
    file: Annotated[Path, typer.Argument(help="The bundle.")],
    into: Annotated[
        str | None, typer.Option("--as", help="Another namespace, or namespace/name for one repo.")
    ] = None,
    verify_key: Annotated[
        Path | None, typer.Option(help="Only if this public key (PEM) proves its signature.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Verify everything, say what is in it, keep nothing.")
    ] = False,
    data: Data = None,
) -> None:
    """Take the repos of a bundle into this hub, after verifying every byte."""
    with opened(data) as floors, _progress() as told:
        settings = floors.settings
        limits = Limits(settings.regular_bytes_max, settings.commit_bytes_max)
        importing = Importing(
            floors.store, floors.catalog, limits, settings.file_bytes_max, settings.data / "tmp"
        )
        report = importing.run(
            file, target=Target.parse(into), verify_key=verify_key, dry_run=dry_run, progress=told
        )
    _describe(report.manifest)
    if report.manifest.signed and not report.verified:
        print("signed; not verified, since no --verify-key was given")
    elif report.verified:
        print("signature verified; it covers every byte")
    for repo in report.repos:
        word = "would be new" if dry_run and repo.is_new else "new" if repo.is_new else "was here"
        print(f"{repo.rid}\t{word}\t{repo.made} refs made, {repo.moved} moved, {repo.kept} kept")


def _describe(manifest: Manifest) -> None:
    """One line a repo."""
    for part in manifest.repos:
        size_bytes = sum(file.bytes for file in part.files)
        words = [f"{len(part.files)} large files", f"{size_bytes} bytes"]
        words += ["private"] if part.private else []
        words += [f"gated ({part.gated})"] if part.gated else []
        words += [f"{len(part.gone)} taken out for good, not in it"] if part.gone else []
        print(f"{part.rid}\t{', '.join(words)}")


def _parse(text: str) -> tuple[RepoType, str]:
    """Type and full name, from how a repo's address begins."""
    for type in GIT_TYPES:
        prefix = url_prefix(type)
        if prefix and text.startswith(prefix):
            return type, text.removeprefix(prefix)
    return "model", text


@contextmanager
def _progress() -> Iterator[Told]:
    """A bar on a terminal, nothing elsewhere."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=Console(file=sys.stderr), transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total
        )
