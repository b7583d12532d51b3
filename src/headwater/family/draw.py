"""The family of one model as a picture.

    mermaid(graph, focus) -> str    for a README: text that draws itself
    svg(graph, focus) -> str        for a page
    text(graph, focus) -> str       for a terminal

Each shows whoever is linked with the focus, the nearest first, up to a limit, and says how many
are left out. An edge is dashed where only a card says so. Names are anybody's: none of them can
add a line, a tag, a link elsewhere, or turn the text around.
"""

from __future__ import annotations

import re

from headwater.family.draw_svg import svg
from headwater.family.draw_text import text
from headwater.family.draw_words import family, label, plain
from headwater.family.graph import Edge, Graph

__all__ = ["mermaid", "svg", "text"]

# Mermaid draws no more than 500 edges and 50,000 characters unless its page says otherwise.
MERMAID_NODES_MAX = 300
MERMAID_EDGES_MAX = 450
MERMAID_CHARS_MAX = 80  # of a name; the longest that hubs allow are written out in the other two
# All the rest is written as its number: `_` and `*` are emphasis there, `:` and `#` its grammar.
_MARKUP = re.compile(r"[^A-Za-z0-9/.-]|^-")


def mermaid(graph: Graph, focus: str) -> str:
    """A flowchart from the top down. Names stand in labels only, escaped."""
    shown = family(graph, focus, MERMAID_NODES_MAX, MERMAID_EDGES_MAX)
    nodes = shown.graph.nodes
    ids = {name: f"n{at}" for at, name in enumerate(nodes)}
    absent = ",".join(ids[name] for name, node in nodes.items() if not node.here)
    lines = ["graph TD"]
    lines += [f'  {ids[name]}["{_quoted(name)}"]' for name in nodes]
    lines += [
        f'  {ids[edge.parent]} {_arrow(edge)}|"{_quoted(label(edge))}"| {ids[edge.child]}'
        for edge in shown.graph.edges
    ]
    if shown.left_out:
        lines.append(f'  left["{_quoted(shown.left_out)}"]')
    lines += ["  classDef focus stroke-width:4px", f"  class {ids[focus]} focus"]
    if absent:
        lines += ["  classDef absent stroke-dasharray:4 4", f"  class {absent} absent"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return _MARKUP.sub(lambda found: f"#{ord(found[0])};", plain(text, MERMAID_CHARS_MAX))


def _arrow(edge: Edge) -> str:
    if edge.inferred is None:
        return "-.->"
    return "==>" if edge.declared else "-->"
