"""A model and all that it came from as a bill of materials: CycloneDX 1.6, an ML-BOM.

    cyclonedx(graph, name, tool_version=…, base_url=…, at=…)    the document, ready for JSON

The model is `metadata.component`. Each ancestor is one of `components`, once, however many ways
lead to it: a nested pedigree would repeat it, and a ring would never end. `pedigree.ancestors` of
a component names its direct parents and bears, as properties `headwater:…`, what shows that one
descent; `headwater:ref` there is the bom-ref of the parent. `dependencies` holds the same edges,
and `compositions` says that they are what could be found. What is not known is left out: a model
that is only a name on a card has neither purl nor files.

The serial number is made of the content: the same family at the same time is the same document.
"""

from __future__ import annotations

import json
from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from headwater.family.bom import (
    Json,
    address,
    facts,
    family,
    namespace,
    own_name,
    purl,
    ties,
    timestamp,
)
from headwater.family.graph import Edge, Graph, Node, NodeFile
from headwater.family.spdx_ids import license_of

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"


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
            "name": own_name(node) or node.name,
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


def _without_nothing(properties: Json) -> Json:
    return {key: value for key, value in properties.items() if value not in (None, "", [])}
