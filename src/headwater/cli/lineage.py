"""`headwater lineage`: who descends from whom among files of weights. Needs no hub."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import combinations
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from headwater.errors import BadRequest, Malformed, NotFound
from headwater.lineage.family import family
from headwater.lineage.model import File
from headwater.lineage.parents import Finding
from headwater.lineage.relation import Relation, relate
from headwater.lineage.subject import Subject

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
    with ExitStack() as stack:
        models = {str(path): _subject(stack, path) for path in named}
        found = family(models, list(models) if ordered else None)
        if as_json:
            pairs = [(a, b, relate(models[a], models[b])) for a, b in combinations(models, 2)]
            parents = [_parents(name, finding) for name, finding in found.items()]
            print(
                json.dumps({"models": parents, "pairs": [_pair(*pair) for pair in pairs]}, indent=1)
            )
            return
    _show(found)


def _show(found: Mapping[str, Finding]) -> None:
    table = Table()
    for word in ("model", "comes from", "as", "the weights decide", "evidence"):
        table.add_column(word, overflow="fold")
    for name, finding in found.items():
        links = finding.links
        lines = list(finding.evidence) or [
            line for link in links for line in finding.relations[link.parent].evidence
        ]
        table.add_row(
            name,
            "\n".join(link.parent for link in links) or "nobody here",
            "\n".join(link.kind for link in links),
            "\n".join("yes" if link.decided else "no" for link in links),
            "\n".join(lines),
        )
    Console().print(table)


def _parents(name: str, finding: Finding) -> dict[str, object]:
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
        "change": round(found.change, 6),
        "unchanged": round(found.unchanged, 6),
        "evidence": found.evidence,
    }


def _subject(stack: ExitStack, path: Path) -> Subject:
    """A file, or all shards in a folder. NotFound, or Malformed when it has no tensors."""
    if path.is_dir():
        shards = sorted(one for one in path.iterdir() if one.suffix in ENDINGS and one.is_file())
    else:
        shards = [path]
    subject = Subject.of([stack.enter_context(_opened(shard)) for shard in shards])
    if not subject.model.spans:
        raise Malformed(f"{path}: no tensors that can be read; files end in {' '.join(ENDINGS)}")
    return subject


@contextmanager
def _opened(path: Path) -> Iterator[File]:
    try:
        number = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}") from None
    try:
        size = os.fstat(number).st_size
        yield File(path.name, size, lambda start, stop: os.pread(number, stop - start, start))
    finally:
        os.close(number)
