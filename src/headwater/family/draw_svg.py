"""A family as SVG, to stand in a page.

    svg(graph, focus) -> str

It asks nothing of the page: no script, no style, no id, nothing from elsewhere; its colour is the
page's own (`currentColor`), light or dark. Every model that is here links to its page, and every
model and edge says the whole of it in a title. An edge runs from the parent down to its child,
beside the rows that it passes; one that closes a ring has its arrow at the upper end.
"""

from __future__ import annotations

import unicodedata
from html import escape
from urllib.parse import quote

from headwater.family.draw_layers import Places, places
from headwater.family.draw_words import evidence, family, label, plain, proof
from headwater.family.graph import Edge, Graph, Node

WIDTH, HEIGHT = 220, 46  # of a node
GAP_X, GAP_Y = 26, 64  # between nodes: room for an edge that passes, and for a label
MARGIN = 26
NAME_CELLS, FACTS_CELLS = 28, 38  # what fits into a node in letters of 12 and 10 pixels
LABELLED_MAX = 3  # parents; the labels of more would lie on each other
_DASHES = ' stroke-dasharray="5 4"'  # of what only a card says, and of who is not here
_UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


def svg(graph: Graph, focus: str) -> str:
    """One `<svg>` element, without an XML declaration."""
    shown = family(graph, focus)
    inner, where = shown.graph, places(shown.graph)
    wide = round(where.columns * (WIDTH + GAP_X) - GAP_X + 2 * MARGIN)
    high = where.rows * (HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN
    said = f"Models: {len(inner.nodes):,}; links: {len(inner.edges):,}; parents above children."
    said += f" {shown.left_out}" if shown.left_out else ""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{wide}" height="{high}" '
        f'viewBox="0 0 {wide} {high}" fill="none" stroke="none" font-family="sans-serif" '
        'font-size="12">',
        f"<title>{escape('Family of ' + plain(focus))}</title><desc>{escape(said)}</desc>",
    ]
    parts += _edges(inner, where)
    parts += [_node(node, where, node.name == focus) for node in inner.nodes.values()]
    if shown.left_out:
        parts.append(
            f'<text x="{MARGIN}" y="{high - 8}" fill="currentColor">{escape(shown.left_out)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _left(where: Places, name: str) -> float:
    return MARGIN + where.column[name] * (WIDTH + GAP_X)


def _top(where: Places, name: str) -> int:
    return MARGIN + where.row[name] * (HEIGHT + GAP_Y)


def _node(node: Node, where: Places, is_focus: bool) -> str:
    left, top = _left(where, node.name), _top(where, node.name)
    space, _, name = plain(node.name).rpartition("/")
    facts = [fact for fact in (space, _count(node.parameters), _license(node)) if fact]
    if not node.here:
        facts.append("not here")
    whole = ", ".join([plain(node.name), *facts[1 if space else 0 :]])
    line = f'stroke-width="{3 if is_focus else 1}"' + ("" if node.here else _DASHES)
    bold = ' font-weight="bold"' if is_focus else ""
    middle = left + WIDTH / 2
    body = (
        f"<g><title>{escape(whole)}</title>"
        f'<rect x="{left:g}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="6" '
        f'stroke="currentColor" pointer-events="all" {line}/>'
        f'<g fill="currentColor" text-anchor="middle">'
        f'<text x="{middle:g}" y="{top + 20}"{bold}>{escape(_cut(name, NAME_CELLS))}</text>'
        f'<text x="{middle:g}" y="{top + 36}" font-size="10">'
        f"{escape(_cut(' · '.join(facts), FACTS_CELLS))}</text></g></g>"
    )
    if not node.here:
        return body
    # Without its slashes in front it cannot name another host.
    path = quote(node.name.lstrip("/"), errors="replace")
    return f'<a href="/{escape(path)}">{body}</a>'


def _edges(graph: Graph, where: Places) -> list[str]:
    """By the lower end of each, from left to right, so that their ends do not cross."""
    ends: dict[str, list[Edge]] = {}
    parts = []
    for edge in graph.edges:
        if edge.child == edge.parent:
            left, top = _left(where, edge.child) + WIDTH, _top(where, edge.child)
            parts.append(_drawn(edge, f"M{left:g} {top + 12}c18 -6 18 26 0 20"))
        else:
            ends.setdefault(_upper_lower(edge, where)[1], []).append(edge)
    for lower, edges in ends.items():
        edges.sort(key=lambda edge: where.column[_upper_lower(edge, where)[0]])
        for at, edge in enumerate(edges):
            x = _left(where, lower) + WIDTH * (at + 0.5) / len(edges)
            parts.append(_edge(edge, where, x, len(edges) <= LABELLED_MAX))
    return parts


def _upper_lower(edge: Edge, where: Places) -> tuple[str, str]:
    return (edge.child, edge.parent) if edge in where.back else (edge.parent, edge.child)


def _edge(edge: Edge, where: Places, x: float, labelled: bool) -> str:
    upper, lower = _upper_lower(edge, where)
    back = edge in where.back
    start_x = _left(where, upper) + WIDTH / 2 + (9 if back else 0)
    start_y, y = _top(where, upper) + HEIGHT, _top(where, lower)
    first = start_y + GAP_Y  # the top of the row below
    path = f"M{start_x:g} {start_y}"
    if first < y:
        gap = _left(where, lower) - GAP_X / 2
        path += f"C{start_x:g} {first - 20} {gap:g} {first - 44} {gap:g} {first}V{y - GAP_Y}"
        start_x, start_y = gap, y - GAP_Y
    path += f"C{start_x:g} {start_y + 40} {x:g} {y - 44} {x:g} {y}"
    tip = (
        f"M{_left(where, upper) + WIDTH / 2 + 9:g} {_top(where, upper) + HEIGHT}l-4 8h8z"
        if back
        else f"M{x:g} {y}l-4 -8h8z"
    )
    said = (
        f'<text x="{x + 7:g}" y="{y - 9}" font-size="10" fill="currentColor">'
        f"{escape(_cut(label(edge), FACTS_CELLS // 3))}</text>"
        if labelled
        else ""
    )
    return _drawn(edge, path, f'<path d="{tip}" fill="currentColor"/>{said}')


def _drawn(edge: Edge, path: str, rest: str = "") -> str:
    title = f"{plain(edge.child)} from {plain(edge.parent)}: {label(edge)}, {proof(edge)}"
    dashes = _DASHES if edge.inferred is None else ""
    whole = "; ".join([title, *evidence(edge)])
    line = f'<path d="{path}" stroke="currentColor"{dashes}/>'
    return f"<g><title>{escape(whole)}</title>{line}{rest}</g>"


def _count(parameters: int | None) -> str:
    if parameters is None or parameters <= 0:
        return ""
    for size, unit in _UNITS:
        if parameters >= size:
            return f"{parameters / size:.3g}{unit}"
    return str(parameters)


def _license(node: Node) -> str:
    said = node.license_name if node.license == "other" and node.license_name else node.license
    return plain(said) if said else ""


def _cut(text: str, cells: int) -> str:
    """Its start and its end, where it is wider than so many letters; wide ones count twice."""
    wide = [2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text]
    if sum(wide) <= cells:
        return text
    head = tail = 0
    used = 1
    while used < cells:
        at, step = (head, 1) if head <= tail else (len(text) - 1 - tail, 0)
        used += wide[at]
        head, tail = head + step, tail + 1 - step
    return text[:head] + "…" + text[len(text) - tail :]
