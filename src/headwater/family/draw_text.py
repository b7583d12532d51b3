"""A family as an indented tree, for a terminal.

    text(graph, focus) -> str

From the roots of the focus down, one line each: its name, what was done to its parent, and who
says so. The focus has a `*`. Who was met before has its line and a mark, and is not followed
again; a parent that is under none of these roots is named on the line of its child.
"""

from __future__ import annotations

from collections.abc import Set

from headwater.family.draw_words import family, label, plain, proof
from headwater.family.graph import Edge, Graph

LEVELS_MAX = 40  # indents of 4; whoever is deeper has its level as a number instead
ALSO_MAX = 3  # other parents that are named
SEE_ABOVE = "(see above)"

_Step = tuple[str, Edge | None, str, bool, int]  # name, the way to it, indent, last?, level


def text(graph: Graph, focus: str) -> str:
    """The tree, with a line end after every line."""
    shown = family(graph, focus)
    inner, roots = shown.graph, shown.graph.roots(focus)
    reached = set(inner.all_below(roots))
    met: set[str] = set()
    lines: list[str] = []
    todo: list[_Step] = [(root, None, "", True, 0) for root in reversed(roots)]
    while todo:
        name, edge, indent, last, level = todo.pop()
        branch = "" if not level else "└── " if last else "├── "
        said = [_place(indent, level) + branch + ("* " if name == focus else "") + plain(name)]
        said += [] if edge is None else [f"{label(edge)} ({proof(edge)})"]
        said += [SEE_ABOVE] if name in met else _facts(inner, name, reached)
        lines.append("  ".join(said))
        if name in met:
            continue
        met.add(name)
        inside = indent + ("" if not level else "    " if last else "│   ")
        inside = inside if level < LEVELS_MAX else ""
        children = inner.children(name)
        todo += [
            (way.child, way, inside, at == 0, level + 1)
            for at, way in enumerate(reversed(children))
        ]
    if shown.left_out:
        lines.append(shown.left_out)
    return "\n".join(lines) + "\n"


def _place(indent: str, level: int) -> str:
    return indent if level <= LEVELS_MAX else f"… {level} "


def _facts(graph: Graph, name: str, reached: Set[str]) -> list[str]:
    said = [] if graph.nodes[name].here else ["(not here)"]
    others = [way.parent for way in graph.parents(name) if way.parent not in reached]
    if others:
        more = len(others) - ALSO_MAX
        names = ", ".join(plain(other) for other in others[:ALSO_MAX])
        said.append(f"(also from {names}{f' and {more:,} more' if more > 0 else ''})")
    return said
