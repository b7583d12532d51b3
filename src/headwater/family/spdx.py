"""A model and all that it came from as a bill of materials: SPDX 3.0.1, with its AI profile.

    spdx(graph, name, tool_version=…, base_url=…, at=…)    the JSON-LD document, ready for JSON

The model and each ancestor are an `ai_AIPackage`. A child is `descendantOf` a parent, with what
shows that in the relationship's `comment`; it `contains` its files of weights. The license of its
card is declared; of the concluded one nothing is asserted, since nobody here read the text.

What is not known is left out. The AI profile demands five properties of each package, so `ai` is
among the profiles only of a document whose models have them all: that list is a promise, and an
ancestor that is only a name on a card has no revision.

Ids begin with a UUID made of the content: the same family at the same time is the same document.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from headwater.family.bom import (
    Json,
    address,
    facts,
    family,
    namespace,
    purl,
    ties,
    timestamp,
)
from headwater.family.graph import Edge, Graph, Node
from headwater.family.spdx_ids import License, license_of

CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
NO_ASSERTION = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"
PROFILES = ("core", "software", "simpleLicensing")
# What the profile demands of an AIPackage beyond what its class does.
AI_DEMANDS = (
    "releaseTime",
    "software_downloadLocation",
    "software_packageVersion",
    "software_primaryPurpose",
    "suppliedBy",
)
_CREATION = "_:creation"
_NOT_IDSTRING = re.compile(r"[^A-Za-z0-9.-]+")  # of the license expressions' grammar
_IDSTRING_MAX = 64  # characters; a card may call its license a novel


def spdx(graph: Graph, name: str, *, tool_version: str, base_url: str, at: datetime) -> Json:
    """The bill of materials of the model `name`; `at` has a time zone."""
    nodes = family(graph, name)
    edges = [edge for node in nodes for edge in ties(graph, node.name)]
    content = repr((nodes, edges, tool_version, base_url, timestamp(at)))
    sheet = _Sheet(f"{uuid5(NAMESPACE_URL, content).urn}#")
    tool = sheet.add("SoftwareAgent", {"name": f"Headwater {tool_version}"})
    creation: Json = {
        "type": "CreationInfo",
        "@id": _CREATION,
        "specVersion": "3.0.1",
        "created": timestamp(at),
        "createdBy": [tool],
    }
    suppliers = {
        one: sheet.add("Agent", {"name": one})
        for one in dict.fromkeys(map(namespace, nodes))
        if one
    }
    ids = {node.name: sheet.add("ai_AIPackage", _package(node, base_url, suppliers))
           for node in nodes}  # fmt: skip
    _add_files(sheet, nodes, ids)
    _add_licenses(sheet, nodes, ids)
    for edge in edges:
        sheet.relate(ids[edge.child], "descendantOf", ids[edge.parent],
                     completeness="noAssertion", comment=_comment(edge))  # fmt: skip
    document: Json = {
        "name": name,
        "rootElement": [ids[name]],
        "element": [element["spdxId"] for element in sheet.elements],
        "profileConformance": [*PROFILES, *_ai_profile(sheet)],
    }
    sheet.add("SpdxDocument", document)
    return {"@context": CONTEXT, "@graph": [creation, *sheet.elements]}


class _Sheet:
    """The elements so far, each with an id of its own."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.elements: list[Json] = []

    def add(self, type: str, properties: Json) -> str:
        """One more element; its id."""
        spdx_id = f"{self.prefix}{type}-{len(self.elements)}"
        kept = {key: value for key, value in properties.items() if value is not None}
        self.elements.append({"type": type, "spdxId": spdx_id, "creationInfo": _CREATION, **kept})
        return spdx_id

    def relate(self, origin: str, kind: str, *to: str, **more: object) -> None:
        """One more relationship, read as a sentence: `origin` kind `to`."""
        self.add("Relationship", {"from": origin, "relationshipType": kind, "to": [*to], **more})


def _package(node: Node, base_url: str, suppliers: dict[str, str]) -> Json:
    return {
        "name": node.name,
        "suppliedBy": suppliers.get(namespace(node)),
        # The day its repository began here is the nearest to a release that a hub knows.
        "releaseTime": None if node.created_ms is None else timestamp(node.created_ms),
        "software_packageVersion": node.revision,
        "software_packageUrl": purl(node, base_url),
        "software_downloadLocation": address(node, base_url),
        "software_primaryPurpose": "model",
        "ai_informationAboutApplication": _application(node),
    }


def _application(node: Node) -> str | None:
    known = {"Task": node.pipeline, "Library": node.library, "Parameters": node.parameters}
    lines = [f"{key}: {_one_line(str(value))}" for key, value in known.items() if value is not None]
    return "\n".join(lines) or None


def _add_files(sheet: _Sheet, nodes: list[Node], ids: dict[str, str]) -> None:
    for node in nodes:
        files = []
        for file in dict.fromkeys(node.files):
            digest = {"type": "Hash", "algorithm": "sha256", "hashValue": file.sha256}
            files.append(sheet.add("software_File", {"name": file.path, "verifiedUsing": [digest]}))
        if files:  # of weights: there are others beside them, such as the card
            sheet.relate(ids[node.name], "contains", *files, completeness="incomplete")


def _add_licenses(sheet: _Sheet, nodes: list[Node], ids: dict[str, str]) -> None:
    """Exactly one of either relationship from each model, as the AI profile demands."""
    licenses: dict[License | None, str] = {None: NO_ASSERTION}
    for node in nodes:
        license = license_of(node.license, node.license_name)
        if license not in licenses:
            assert license is not None
            licenses[license] = _add_license(sheet, license)
        sheet.relate(ids[node.name], "hasDeclaredLicense", licenses[license])
        sheet.relate(ids[node.name], "hasConcludedLicense", NO_ASSERTION)


def _add_license(sheet: _Sheet, license: License) -> str:
    expression: Json = {"simplelicensing_licenseExpression": license.name}
    if not license.listed:
        reference = f"LicenseRef-{_idstring(license.name)}"
        # Its text is a must; the card's word for it is all there is.
        text = f'The card of the model calls its license "{license.name}".'
        uri = sheet.add(
            "simplelicensing_SimpleLicensingText",
            {"name": license.name, "simplelicensing_licenseText": text},
        )
        expression = {
            "simplelicensing_licenseExpression": reference,
            "simplelicensing_customIdToUri": [
                {"type": "DictionaryEntry", "key": reference, "value": uri}
            ],
        }
    return sheet.add("simplelicensing_LicenseExpression", expression)


def _idstring(name: str) -> str:
    """The name itself where the grammar takes it; else with part of its hash, so that two names
    that differ in what had to go stay two."""
    plain = _NOT_IDSTRING.sub("-", name)[:_IDSTRING_MAX].strip("-")
    if plain == name:
        return plain
    mark = hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()[:8]
    return "-".join(part for part in (plain, mark) if part)


def _comment(edge: Edge) -> str:
    return "\n".join(f"{key}: {_one_line(value)}" for key, value in facts(edge))


def _one_line(text: str) -> str:
    """Without line breaks: what a stranger wrote must not look like a line of ours."""
    return " ".join(text.split())


def _ai_profile(sheet: _Sheet) -> Iterator[str]:
    packages = [one for one in sheet.elements if one["type"] == "ai_AIPackage"]
    if all(demand in package for package in packages for demand in AI_DEMANDS):
        yield "ai"
