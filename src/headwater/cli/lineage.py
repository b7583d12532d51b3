"""`headwater lineage`: who descends from whom among files of weights. Needs no hub."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headwater.errors import BadRequest, Malformed, NotFound
from headwater.lineage.model import File
from headwater.lineage.parents import Ancestry
from headwater.lineage.relation import Relation, relate
from headwater.lineage.subject import Subject
from headwater.lineage.tree import trace_all

ENDINGS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".onnx")
MODELS_MAX = 100  # 5,000 pairs, and some 15 MB of rows of each, if they are large


def lineage(
    paths: Annotated[
        list[Path], typer.Argument(help="Files of weights; a folder is one model in shards.")
    ],
    ordered: Annotated[
        bool, typer.Option("--ordered", help="They are named in the order they were made.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Parents and all pairs, as JSON.")
    ] = False,
) -> None:
    """Which of some models comes from which, by their weights, whatever their names and types.

    The weights do not tell which of two fine-tunes came first: where they were made one after the
    other, name them in that order and say --ordered. A student that learned from answers alone is
    a stranger to its teacher.
    """
    named = list(dict.fromkeys(paths))
    if len(named) > MODELS_MAX:
        raise BadRequest(f"{len(named)} models; name at most {MODELS_MAX} at a time")
    models = {str(path): subject_at(path) for path in named}
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
