"""`headwater lineage`: which files of weights are relatives, by their weights. Needs no hub."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import combinations
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from headwater.errors import Malformed, NotFound
from headwater.lineage.likeness import Likeness, likeness
from headwater.lineage.model import File, Model
from headwater.lineage.search import Index
from headwater.lineage.sketch import Sketch, sketch_of

ENDINGS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".onnx")
ALL_PAIRS_MAX = 100  # models; 5,000 pairs take some seconds
NEAREST = 50  # of each model, where there are more
HEAD = ("one", "other", "related", "z", "correlation", "equal", "layers", "words")


def lineage(
    paths: Annotated[
        list[Path], typer.Argument(help="Files of weights; a folder is one model in shards.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="All pairs, as JSON.")] = False,
) -> None:
    """Which of some models share their origin, by sampled weights, whatever they are stored as.

    z above 8 is no chance. It does not say who came first, nor that the others have none in common:
    permuted, rotated and distilled models are not told from strangers. Of more than 100 models only
    those pairs are shown that may be related.
    """
    models = {str(path): _sketch(path) for path in dict.fromkeys(paths)}
    found = [(a, b, likeness(models[a], models[b])) for a, b in _pairs(models)]
    found.sort(key=lambda pair: -pair[2].z)
    if as_json:
        print(json.dumps([_json(*pair) for pair in found], indent=1))
        return
    table = Table()
    for word in HEAD:
        table.add_column(word, overflow="fold")
    for one, other, like in found:
        matched = sum(layer >= 0 for layer in like.layers)
        table.add_row(
            one, other, "yes" if like.related else "no sign", f"{like.z:.1f}",
            f"{like.correlation:.4f}", f"{like.equal:.1%}", f"{matched}/{len(like.layers)}",
            "-" if math.isnan(like.words) else f"{like.words:.3f}",
        )  # fmt: skip
    Console().print(table)


def _pairs(models: dict[str, Sketch]) -> Iterator[tuple[str, str]]:
    """All pairs; of very many models those that a search thinks may be relatives."""
    if len(models) <= ALL_PAIRS_MAX:
        yield from combinations(models, 2)
        return
    index = Index()
    for name, sketch in models.items():
        for other, _ in index.nearest(sketch, NEAREST):
            yield other, name
        index.put(name, sketch)


def _json(one: str, other: str, like: Likeness) -> dict[str, object]:
    return {
        "one": one,
        "other": other,
        "related": like.related,
        "z": round(like.z, 2),
        "correlation": round(like.correlation, 6),
        "equal": round(like.equal, 6),
        "layers": like.layers,
        "words": None if math.isnan(like.words) else round(like.words, 6),
    }


def _sketch(path: Path) -> Sketch:
    """The sketch of a file or of all shards in a folder. NotFound, or Malformed when it has no
    layers that are known."""
    if path.is_dir():
        shards = sorted(one for one in path.iterdir() if one.suffix in ENDINGS and one.is_file())
    else:
        shards = [path]
    with ExitStack() as stack:
        sketch = sketch_of(Model.of([stack.enter_context(_opened(shard)) for shard in shards]))
    if not sketch.signature and not len(sketch.embed):
        raise Malformed(f"{path}: no weights of a transformer; files end in {' '.join(ENDINGS)}")
    return sketch


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
