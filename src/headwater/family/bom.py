"""What bills of materials of either kind say of a family, in words that both have.

family(graph, name)     the model, then all that it came from
facts(edge)             what is known of one descent
purl(node, base_url)    its package URL; `address` is where it is shown
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from headwater.family.graph import Edge, Graph, Node

Json = dict[str, object]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def family(graph: Graph, name: str) -> list[Node]:
    """The model, then all that it came from, the nearest first."""
    names = (name, *graph.above(name))
    return [graph.nodes.get(one) or Node(one, here=False) for one in names]


def ties(graph: Graph, name: str) -> list[Edge]:
    """The edges to its parents. A card that names itself says nothing."""
    return [edge for edge in graph.parents(name) if edge.parent != name]


def facts(edge: Edge) -> list[tuple[str, str]]:
    """All that is known of an edge, as words; a number that is none (NaN, infinite) is not."""
    said, seen = edge.declared, edge.inferred
    basis = "both" if said and seen else "inferred" if seen else "declared"
    found = [("kind", edge.kind), ("basis", basis)]
    if said:
        found.append(("declared", said))
    if seen is None:
        return found
    found.append(("decided", "true" if seen.decided else "false"))
    numbers = {
        "weight": seen.weight,
        "log10_p": seen.log10_p,
        "change": seen.change,
        "unchanged": seen.unchanged,
    }
    found += [(key, f"{value:.6g}") for key, value in numbers.items() if math.isfinite(value)]
    paths = {"child_path": seen.child_path, "parent_path": seen.parent_path}
    found += [(key, path) for key, path in paths.items() if path]
    return found + [("evidence", line) for line in seen.evidence]


def purl(node: Node, base_url: str) -> str | None:
    """Its package URL. A name on a card says nothing of where that model is, so it has none."""
    if not node.here or not own_name(node):
        return None
    version = f"@{quote(node.revision.lower(), safe='')}" if node.revision else ""
    # `:` and `/` stay as they are in a qualifier, as in the examples of the purl type.
    return (
        f"pkg:huggingface/{quoted(node.name)}{version}"
        f"?repository_url={quote(base_url.rstrip('/'), safe=':/')}"
    )


def address(node: Node, base_url: str) -> str | None:
    """Where it is shown, and can be cloned from."""
    return f"{base_url.rstrip('/')}/{quoted(node.name)}" if node.here else None


def timestamp(at: datetime | int) -> str:
    """RFC 3339 in UTC, to the second; an int is in milliseconds since 1970."""
    moment = EPOCH + timedelta(milliseconds=at) if isinstance(at, int) else at.astimezone(UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def namespace(node: Node) -> str:
    """Who published it; empty for a name without one."""
    return node.name.rpartition("/")[0]


def own_name(node: Node) -> str:
    return node.name.rpartition("/")[2]


def quoted(name: str) -> str:
    return quote(name, safe="/")
