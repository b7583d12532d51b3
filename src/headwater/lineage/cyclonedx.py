"""A model and all that it came from as a bill of materials: CycloneDX 1.6, an ML-BOM.

    cyclonedx(graph, name, tool_version=…, base_url=…, at=…)    the document, ready for JSON

The model is `metadata.component`. Each ancestor is one of `components`, once, however many ways
lead to it: a nested pedigree would repeat it, and a ring would never end. `pedigree.ancestors` of
a component names its direct parents and bears, as properties `headwater:…`, what shows that one
descent; `headwater:ref` there is the bom-ref of the parent. `dependencies` holds the same edges,
and `compositions` says that they are what could be found. What is not known is left out: a model
that is only a name on a card has neither purl nor files.

The serial number is made of the content: the same family at the same time is the same document.
Also here, for `spdx`: `family`, `ties`, `facts`, `purl`, `address`, `timestamp`.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from headwater.lineage.graph import Edge, Graph, Node, NodeFile
from headwater.lineage.spdx_ids import license_of

Json = dict[str, object]

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def cyclonedx(graph: Graph, name: str, *, tool_version: str, base_url: str, at: datetime) -> Json:
    """The bill of materials of the model `name`; `at` has a time zone."""
    nodes = family(graph, name)
    model, *ancestors = [_described(graph, node, base_url) for node in nodes]
    refs = [_ref(node.name) for node in nodes]
    tool: Json = {"type": "application", "name": "Headwater", "version": tool_version}
    document: Json = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": timestamp(at),
            "tools": {"components": [tool]},
            "component": model,
        },
        "components": ancestors,
        "dependencies": [_dependency(graph, node.name) for node in nodes],
        "compositions": [{"aggregate": "unknown", "dependencies": refs}],
    }
    text = json.dumps(document, sort_keys=True)
    return {**document, "serialNumber": uuid5(NAMESPACE_URL, text).urn}


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
    if not node.here or not _own_name(node):
        return None
    version = f"@{quote(node.revision.lower(), safe='')}" if node.revision else ""
    # `:` and `/` stay as they are in a qualifier, as in the examples of the purl type.
    return (
        f"pkg:huggingface/{_quoted(node.name)}{version}"
        f"?repository_url={quote(base_url.rstrip('/'), safe=':/')}"
    )


def address(node: Node, base_url: str) -> str | None:
    """Where it is shown, and can be cloned from."""
    return f"{base_url.rstrip('/')}/{_quoted(node.name)}" if node.here else None


def timestamp(at: datetime | int) -> str:
    """RFC 3339 in UTC, to the second; an int is in milliseconds since 1970."""
    moment = EPOCH + timedelta(milliseconds=at) if isinstance(at, int) else at.astimezone(UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def namespace(node: Node) -> str:
    """Who published it; empty for a name without one."""
    return node.name.rpartition("/")[0]


def _described(graph: Graph, node: Node, base_url: str) -> Json:
    where = address(node, base_url)
    license = license_of(node.license, node.license_name)
    named: Json | None = None
    if license is not None:
        named = {"id" if license.listed else "name": license.name, "acknowledgement": "declared"}
    parents = [_parent(graph, edge, base_url) for edge in ties(graph, node.name)]
    known = {
        "here": "true" if node.here else "false",
        "parameters": node.parameters,
        "library": node.library,
        "created": None if node.created_ms is None else timestamp(node.created_ms),
    }
    return _without_nothing(
        {
            **_identity(node, base_url),
            "bom-ref": _ref(node.name),
            "publisher": namespace(node) if node.here else None,
            "licenses": [{"license": named}] if named else None,
            "externalReferences": [{"type": "distribution", "url": where}] if where else None,
            "pedigree": {"ancestors": parents} if parents else None,
            # The same file twice would break uniqueItems.
            "components": [_file(file) for file in dict.fromkeys(node.files)],
            "modelCard": {"modelParameters": {"task": node.pipeline}} if node.pipeline else None,
            "properties": [
                _property(key, str(value)) for key, value in known.items() if value is not None
            ],
        }
    )


def _parent(graph: Graph, edge: Edge, base_url: str) -> Json:
    """A parent as its child's pedigree names it, with what shows the descent."""
    node = graph.nodes.get(edge.parent) or Node(edge.parent, here=False)
    properties = [_property("ref", _ref(edge.parent))]
    properties += [_property(key, value) for key, value in facts(edge)]
    return {**_identity(node, base_url), "properties": properties}


def _identity(node: Node, base_url: str) -> Json:
    return _without_nothing(
        {
            "type": "machine-learning-model",
            "group": namespace(node),
            "name": _own_name(node) or node.name,
            "version": node.revision,
            "purl": purl(node, base_url),
        }
    )


def _file(file: NodeFile) -> Json:
    return {
        "type": "file",
        "name": file.path,
        "hashes": [{"alg": "SHA-256", "content": file.sha256}],
        "properties": [_property("size_bytes", str(file.size_bytes))],
    }


def _dependency(graph: Graph, name: str) -> Json:
    parents = dict.fromkeys(_ref(edge.parent) for edge in ties(graph, name))
    return {"ref": _ref(name), "dependsOn": list(parents)}


def _property(key: str, value: str) -> Json:
    return {"name": f"headwater:{key}", "value": value}


def _ref(name: str) -> str:
    return f"model:{name}"  # never looks like a BOM-Link, `urn:cdx:…`


def _own_name(node: Node) -> str:
    return node.name.rpartition("/")[2]


def _quoted(name: str) -> str:
    return quote(name, safe="/")


def _without_nothing(properties: Json) -> Json:
    return {key: value for key, value in properties.items() if value not in (None, "", [])}
