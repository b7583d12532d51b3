"""`headwater lineage`: who descends from whom, among files, models of this hub, or both.

    headwater lineage of PATH_OR_REPO…    compared now, by their weights; `of` may be left out
    headwater lineage tree REPO           the family as the hub knows it
    headwater lineage bom REPO            a bill of materials with the ancestry

Files alone need no hub. Whoever may run it on the data folder sees all repos.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

from headwater import __version__
from headwater.app import Floors
from headwater.catalog.actors import OPERATOR
from headwater.catalog.repos import MAIN
from headwater.cli.common import Data, opened
from headwater.errors import BadRequest, Malformed, NotFound
from headwater.family.cyclonedx import cyclonedx
from headwater.family.draw import mermaid, svg, text
from headwater.family.graph import Graph
from headwater.family.spdx import spdx
from headwater.hub.lineage import graph_json
from headwater.lineage.model import File
from headwater.lineage.parents import Ancestry
from headwater.lineage.relation import Relation, relate
from headwater.lineage.subject import Subject
from headwater.lineage.tree import trace_all
from headwater.settings import load
from headwater.work.lineage import models_of
from headwater.work.trace import Blocks

ENDINGS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".onnx")
OF = "of"
REPO = re.compile(r"[^/\s]+/[^/\s]+")
NO_ADDRESS = "http://127.0.0.1:8765"  # of a hub whose settings name none
MODELS_MAX = 100  # 5,000 pairs, and some 15 MB of rows of each, if they are large


Model = Annotated[str, typer.Argument(help="A model of this hub, namespace/name.")]


class TreeForm(StrEnum):
    text = "text"
    mermaid = "mermaid"
    svg = "svg"
    json = "json"


class BomForm(StrEnum):
    cyclonedx = "cyclonedx"
    spdx = "spdx"


class _Group(TyperGroup):
    """What is no command here is something to compare."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [OF, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Group, no_args_is_help=True, help="Who descends from whom, told from the weights."
)


@app.command(OF)
def of(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH_OR_REPO...",
            help="Files of weights, folders (one model in shards), or models of this hub.",
        ),
    ],
    ordered: Annotated[
        bool, typer.Option("--ordered", help="They are named in the order they were made.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Parents and all pairs, as JSON.")
    ] = False,
    data: Data = None,
) -> None:
    """Which of some models comes from which, by their weights, whatever their names and types.

    The weights do not tell which of two fine-tunes came first: where they were made one after the
    other, name them in that order and say --ordered. A student that learned from answers alone is
    a stranger to its teacher.
    """
    named = list(dict.fromkeys(names))
    if len(named) > MODELS_MAX:
        raise BadRequest(f"{len(named)} models; name at most {MODELS_MAX} at a time")
    with ExitStack() as stack:
        _compare(_subjects(named, data, stack), ordered, as_json)


@app.command()
def tree(
    repo: Model,
    form: Annotated[
        TreeForm, typer.Option("--format", help="text, mermaid, svg or json.")
    ] = TreeForm.text,
    data: Data = None,
) -> None:
    """The family of a model: what cards say and what was found in the weights."""
    graph, full = _family(repo, data)
    if form is TreeForm.json:
        print(json.dumps(graph_json(graph, full), indent=1, allow_nan=False))
        return
    draw = {TreeForm.text: text, TreeForm.mermaid: mermaid, TreeForm.svg: svg}[form]
    print(draw(graph, full).rstrip("\n"))


@app.command()
def bom(
    repo: Model,
    form: Annotated[
        BomForm, typer.Option("--format", help="cyclonedx (ML-BOM) or spdx (AI profile).")
    ] = BomForm.cyclonedx,
    data: Data = None,
) -> None:
    """A bill of materials of a model and of all that it was made from, as JSON."""
    graph, full = _family(repo, data)
    make = cyclonedx if form is BomForm.cyclonedx else spdx
    base_url = load({"data": data}).public_url or NO_ADDRESS
    made = make(graph, full, tool_version=__version__, base_url=base_url, at=datetime.now(UTC))
    print(json.dumps(made, indent=1, allow_nan=False))


def _family(repo: str, data: Path | None) -> tuple[Graph, str]:
    with opened(data) as floors:
        found = floors.catalog.repos.find(OPERATOR, "model", repo)
        return floors.catalog.families.of(OPERATOR, found), found.full


def _subjects(names: Sequence[str], data: Path | None, stack: ExitStack) -> dict[str, Subject]:
    """Each by the name it was given: what lies there, else a model of the hub."""
    floors: Floors | None = None
    found = {}
    for name in names:
        if Path(name).exists() or not REPO.fullmatch(name):
            found[name] = subject_at(Path(name))
            continue
        if floors is None:
            floors = stack.enter_context(opened(data))
        found[name] = _subject_of(floors, name)
    return found


def _subject_of(floors: Floors, name: str) -> Subject:
    """The largest model of a repo. NotFound without one."""
    try:
        repo = floors.catalog.repos.find(OPERATOR, "model", name)
    except NotFound:
        raise NotFound(f"{name} is neither a file here nor a model of this hub") from None
    models = models_of(floors.catalog, repo, MAIN)
    if not models:
        raise NotFound(f"{name} holds no weights on main")

    blocks = Blocks(floors.store)
    return Subject.of([
        File(file.path, file.size_bytes, partial(blocks.read, file.oid, file.size_bytes))
        for file in models[0].files
    ])  # fmt: skip


def _compare(models: Mapping[str, Subject], ordered: bool, as_json: bool) -> None:
    found = trace_all(models, list(models) if ordered else None)
    if as_json:
        pairs = [
            (a, b, found[b].relations.get(a) or relate(models[a], models[b]))
            for a, b in combinations(models, 2)
        ]
        parents = [_parents(name, finding) for name, finding in found.items()]
        told = {"models": parents, "pairs": [_pair(*pair) for pair in pairs]}
        print(json.dumps(told, indent=1, allow_nan=False))
        return
    _show(found)


def _show(found: Mapping[str, Ancestry]) -> None:
    table = Table()
    for word in ("model", "comes from", "as", "the weights decide", "evidence"):
        table.add_column(word, overflow="fold")
    for name, finding in found.items():
        links = finding.links
        lines = list(finding.evidence) or [
            line for link in links for line in finding.relations[link.parent].evidence
        ]
        table.add_row(
            escape(name),
            escape("\n".join(link.parent for link in links)) or "nobody here",
            "\n".join(link.kind for link in links),
            "\n".join("yes" if link.decided else "no" for link in links),
            escape("\n".join(lines)),
        )
    Console().print(table)


def _parents(name: str, finding: Ancestry) -> dict[str, object]:
    return {
        "name": name,
        "parents": [
            {"name": link.parent, "kind": link.kind, "decided": link.decided,
             "weight": round(link.weight, 4)}
            for link in finding.links
        ],
        "evidence": finding.evidence,
    }  # fmt: skip


def _pair(one: str, other: str, found: Relation) -> dict[str, object]:
    return {
        "one": one,
        "other": other,
        "related": found.related,
        "kind": found.kind,
        "child": {"one": one, "other": other}.get(found.child),
        "log10_p": round(found.log10_p, 2),
        "change": round(found.change, 6) if math.isfinite(found.change) else None,
        "unchanged": round(found.unchanged, 6),
        "evidence": found.evidence,
    }


def subject_at(path: Path) -> Subject:
    """A file, or all shards in a folder. NotFound, or Malformed when it has no tensors."""
    try:
        shards = [path]
        if path.is_dir():
            shards = sorted(p for p in path.iterdir() if p.suffix in ENDINGS and p.is_file())
        subject = Subject.of([_file(shard) for shard in shards])
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}") from None
    if not subject.model.spans:
        raise Malformed(f"{path}: no tensors that can be read; files end in {' '.join(ENDINGS)}")
    return subject


def _file(path: Path) -> File:
    """Opened for each read: a model may have more shards than a process may have files open."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise NotFound(f"{path} is no file")

    def read(start: int, stop: int) -> bytes:
        number = os.open(path, os.O_RDONLY)
        try:
            return os.pread(number, stop - start, start)
        finally:
            os.close(number)

    return File(path.name, found.st_size, read)
