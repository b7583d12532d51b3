"""Where a card and the weights disagree about where a model comes from.

    contradictions(graph, name, strangers, scratch) -> (Contradiction, …)

`strangers`: declared parents whose weights were compared and show no common origin. `scratch`: the
card's text says that the model was trained from scratch. Neither side is called a liar: weights of
the wrong file may have been uploaded, or the card copied.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from headwater.family.graph import Edge, Graph

Kind = Literal["unrelated", "from-scratch", "undeclared", "another-parent", "another-relation"]

_SCRATCH = re.compile(
    r"\b(?:pre-?)?train(?:ed|ing)\b[^.\n]{0,40}\bfrom[ -]scratch\b"
    r"|\bfrom[ -]scratch\b[^.\n]{0,20}\b(?:pre-?)?train(?:ed|ing)\b", re.I
)  # fmt: skip
_NOT_SCRATCH = re.compile(
    r"\b(?:not|never|n't|rather than|instead of|without)\b[^.\n]{0,40}$", re.I
)
# The word of a card, and what weights that bear it out are called here.
_BORNE_OUT = {
    "finetune": {"tuned", "lora", "resized", "cut", "repeated", "permuted", "rotated", "distant",
                 "pruned"},
    "adapter": {"lora", "tuned"},
    "quantized": {"quantized", "cast", "copy", "tuned"},
    "merge": {"merged", "tuned", "repeated"},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Contradiction:
    kind: Kind
    parent: str  # that it is about
    line: str  # a sentence


def says_scratch(text: str) -> bool:
    """Whether a card's text claims that the model was trained from scratch."""
    return any(
        not _NOT_SCRATCH.search(text[max(0, found.start() - 60) : found.start()])
        for found in _SCRATCH.finditer(text)
    )


def contradictions(
    graph: Graph, name: str, strangers: Collection[str], *, scratch: bool
) -> tuple[Contradiction, ...]:
    """All of them, the gravest first."""
    edges = graph.parents(name)
    declared = [edge for edge in edges if edge.declared is not None]
    inferred = [edge for edge in edges if edge.inferred is not None]
    found = [
        Contradiction(
            "unrelated",
            edge.parent,
            f"the card names {edge.parent} as its base; the weights show no common origin",
        )
        for edge in declared
        if edge.parent in strangers and edge.inferred is None
    ]
    for edge in inferred:
        if scratch:
            line = f"the card says trained from scratch; {_numbers(edge)} of {edge.parent}"
            found.append(Contradiction("from-scratch", edge.parent, line))
        elif not declared:
            line = f"the card names no base; {_numbers(edge)} of {edge.parent}"
            found.append(Contradiction("undeclared", edge.parent, line))
        elif edge.declared is None:
            # An ancestor may be declared where the parent is meant: most cards name the root.
            known = {edge.parent, *graph.above(edge.parent)}
            if not any(one.parent in known for one in declared):
                said = ", ".join(one.parent for one in declared)
                line = f"the card names {said}; {_numbers(edge)} of {edge.parent}"
                found.append(Contradiction("another-parent", edge.parent, line))
        elif edge.kind not in _BORNE_OUT.get(edge.declared, {edge.kind}):
            line = f"the card calls it {edge.declared} of {edge.parent}; the weights, {edge.kind}"
            found.append(Contradiction("another-relation", edge.parent, line))
    return tuple(found)


def _numbers(edge: Edge) -> str:
    """How the weights show it."""
    assert edge.inferred is not None
    if edge.inferred.unchanged >= 0.001:
        return f"{edge.inferred.unchanged:.1%} of its sampled weights equal those"
    return f"its weights are {edge.inferred.kind} ones"
