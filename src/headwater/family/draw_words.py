"""What a drawing of a family says: which of it is drawn, and in which words.

    family(graph, focus, nodes_max, edges_max) -> Family   the nearest, and how many are left out
    plain(text)                 one line that says only what it shows: see below
    label(edge), proof(edge)    "merged 0.6", "declared merge and by weights, p 1e-123"

Names and evidence come from strangers. `plain` leaves no terminal escapes, line ends, controls,
marks that turn the direction of text, or anything that XML 1.0 forbids; markup it leaves, since
every drawing escapes its own.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from heapq import nsmallest

from headwater.family.graph import Edge, Graph, Node

NODES_MAX = 2000  # more cannot be looked at; a page of it has 2 MB
EDGES_MAX = 8000  # four per node; a merge of hundreds is no picture
CHARS_MAX = 200  # of a name or a line of evidence: two names of 96 and a slash fit
EVIDENCE_MAX = 6  # lines in one title
NOBODY = "?"  # of a name nothing is left
# CSI, OSC and other strings, then the short ones; ECMA-48 5.4 to 5.6, with 7 bits and with 8.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class Family:
    """`graph` has the focus first, then whoever is above it, below it, and other relatives."""

    graph: Graph
    nodes_left: int
    edges_left: int  # between those that are shown

    @property
    def left_out(self) -> str:
        """A line of its own, or nothing."""
        said = [
            f"{count:,} more {word if count == 1 else word + 's'}"
            for count, word in ((self.nodes_left, "model"), (self.edges_left, "link"))
            if count
        ]
        return " and ".join(said) + " left out" if said else ""


def family(
    graph: Graph, focus: str, nodes_max: int = NODES_MAX, edges_max: int = EDGES_MAX
) -> Family:
    """All that any way links with `focus`, up to so many."""
    names = dict.fromkeys([focus, *graph.above(focus), *graph.below(focus)])
    todo = list(names)
    for name in todo:  # grows as it is read
        near = [edge.parent for edge in graph.parents(name)]
        near += [edge.child for edge in graph.children(name)]
        for other in near:
            if other not in names:
                names[other] = None
                todo.append(other)
    shown = {name: graph.nodes.get(name) or Node(name, here=False) for name in todo[:nodes_max]}
    edges = [edge for edge in graph.edges if edge.child in shown and edge.parent in shown]
    kept = tuple(edges)
    if len(edges) > edges_max:
        rank = {name: at for at, name in enumerate(shown)}
        kept = tuple(nsmallest(edges_max, edges, lambda e: max(rank[e.child], rank[e.parent])))
    return Family(Graph(shown, kept), len(names) - len(shown), len(edges) - len(kept))


def plain(text: str, limit: int = CHARS_MAX) -> str:
    """One line of visible characters, with an ellipsis for what is over the limit."""
    # No more is read than could be shown; escapes may take a little of that.
    kept = "".join(
        " " if char.isspace() else char
        for char in _ESCAPE.sub("", text[: 4 * limit])
        if char.isspace() or unicodedata.category(char) not in _DROPPED
    )
    line = " ".join(kept.split())
    return (line if len(line) <= limit else line[: limit - 1] + "…") or NOBODY


def label(edge: Edge) -> str:
    """What was done, and how much of a merge this parent is."""
    kind, found = plain(edge.kind), edge.inferred
    if found is None or not kind.startswith("merge") or not math.isfinite(found.weight):
        return kind
    return f"{kind} {found.weight:.2g}"


def proof(edge: Edge) -> str:
    """Who says so."""
    said = [f"declared {plain(edge.declared)}"] if edge.declared else []
    if edge.inferred is not None:
        said.append("by weights" + _chance(edge.inferred.log10_p))
    return " and ".join(said) or "nobody says so"


def evidence(edge: Edge) -> list[str]:
    """The lines of it, as many as can be read in passing."""
    lines = edge.inferred.evidence if edge.inferred is not None else ()
    return [plain(line) for line in lines[:EVIDENCE_MAX]]


def _chance(log10_p: float) -> str:
    if math.isnan(log10_p):
        return ""
    # Never smaller than it is.
    return f", p 1e{math.ceil(min(log10_p, 0.0))}" if math.isfinite(log10_p) else ", p 0"
