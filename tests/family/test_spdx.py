"""The SPDX document is what the official bindings of SPDX 3.0.1 take, and its licenses are listed.

`spdx-python-model` is generated from the specification's SHACL: reading refuses unknown classes,
properties and values, writing what lacks a property that it must have.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bom_kit import FAMILY, HUB, NOON, graphs
from cyclonedx.spdx import fixup_id, is_supported_id
from hypothesis import given, settings
from licence_kit import HF_LICENSES
from spdx_python_model.bindings import v3_0_1 as model

from effort import examples
from headwater.family.graph import Edge, Graph, Inferred, Node, NodeFile
from headwater.family.spdx import NO_ASSERTION, spdx
from headwater.family.spdx_ids import SPDX_IDS, License, license_of

NAMED = [*HF_LICENSES, "openmdw-1.1"]
# Those that SPDX does not list, by name or by family.
UNLISTED = """
    openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
    bigcode-openrail-m bsd cc gfdl gpl lgpl h-research intel-research apple-ascl apple-amlr
    openmdw-1.1 openrail++ deepfloyd-if-license fair-noncommercial-research-license llama2 llama3
    llama3.1 llama3.2 llama3.3 llama4 grok2-community gemma
""".split()
NOT_READ = (AttributeError, KeyError, TypeError, ValueError)


def made(graph: Graph = FAMILY, name: str = "lab/merge", **other: Any) -> Any:
    told = {"tool_version": "0.1.0", "base_url": HUB, "at": NOON, **other}
    return spdx(graph, name, **told)


def check(document: Any) -> None:
    """Raises when it is no SPDX 3.0.1: read, resolved, and written to the same again."""
    data = json.loads(json.dumps(document, allow_nan=False))
    if data.get("@context") != "https://spdx.org/rdf/3.0.1/spdx-context.jsonld":
        raise ValueError("not the context of 3.0.1")
    objects = model.SHACLObjectSet()
    model.JSONLDDeserializer().deserialize_data(data, objects)
    if missing := objects.link():
        raise ValueError(f"refers to {missing}")
    again = model.JSONLDSerializer().serialize_data(objects, force_at_graph=True)
    written, read = _by_id(again["@graph"]), _by_id(data["@graph"])
    if written.keys() != read.keys():
        raise ValueError(f"lost {written.keys() ^ read.keys()}")
    for spdx_id, element in read.items():
        if element.keys() != written[spdx_id].keys():
            raise ValueError(f"{spdx_id} lost {element.keys() ^ written[spdx_id].keys()}")


def _by_id(elements: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["spdxId"]: one for one in elements if "spdxId" in one}


def of_type(document: Any, *types: str) -> list[dict[str, Any]]:
    return [one for one in document["@graph"] if one["type"] in types]


def related(document: Any, kind: str) -> list[dict[str, Any]]:
    found = of_type(document, "Relationship")
    return [one for one in found if one["relationshipType"] == kind]


def test_the_model_takes_it() -> None:
    check(made())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda bom: bom.update({"@context": "https://spdx.org/rdf/2.0/context.jsonld"}),
        lambda bom: of_type(bom, "CreationInfo")[0].update(created="2026-03-01 12:00"),
        lambda bom: of_type(bom, "CreationInfo")[0].pop("createdBy"),
        lambda bom: of_type(bom, "ai_AIPackage")[0].pop("spdxId"),
        lambda bom: of_type(bom, "ai_AIPackage")[0].pop("creationInfo"),
        lambda bom: of_type(bom, "ai_AIPackage")[0].update(type="ai_Model"),
        lambda bom: of_type(bom, "ai_AIPackage")[0].update(invented="property"),
        lambda bom: of_type(bom, "ai_AIPackage")[0].update(software_primaryPurpose="weights"),
        lambda bom: of_type(bom, "ai_AIPackage")[0].update(suppliedBy="urn:uuid:nobody"),
        lambda bom: of_type(bom, "software_File")[0]["verifiedUsing"][0].pop("hashValue"),
        lambda bom: of_type(bom, "software_File")[0]["verifiedUsing"][0].update(algorithm="sha"),
        lambda bom: related(bom, "descendantOf")[0].update(relationshipType="childOf"),
        lambda bom: related(bom, "descendantOf")[0].update(comment=7),
        lambda bom: related(bom, "descendantOf")[0].pop("to"),
        lambda bom: of_type(bom, "SpdxDocument")[0].update(profileConformance=["models"]),
        lambda bom: of_type(bom, "SpdxDocument")[0].update(rootElement=["urn:uuid:nobody"]),
    ],
)
def test_a_spoiled_one_is_refused(spoil: Callable[[Any], object]) -> None:
    """So that the tests beside this one can fail."""
    document = copy.deepcopy(made())
    spoil(document)

    with pytest.raises(NOT_READ):
        check(document)


@settings(max_examples=examples(50), deadline=None)
@given(graphs())
def test_the_model_takes_it_whatever_it_is_about(drawn: tuple[Graph, str]) -> None:
    graph, name = drawn
    document = made(graph, name)

    check(document)
    packages = {one["spdxId"]: one["name"] for one in of_type(document, "ai_AIPackage")}
    assert list(packages.values()) == [name, *graph.above(name)]
    for kind in ("hasDeclaredLicense", "hasConcludedLicense"):
        assert [one["from"] for one in related(document, kind)] == list(packages)
    assert [(packages[one["from"]], packages[one["to"][0]])
            for one in related(document, "descendantOf")] == [
        (child, edge.parent) for child in packages.values()
        for edge in graph.parents(child) if edge.parent != child
    ]  # fmt: skip
    for license in of_type(document, "simplelicensing_LicenseExpression"):
        expression = license["simplelicensing_licenseExpression"]
        assert re.fullmatch(r"LicenseRef-[A-Za-z0-9.-]+", expression) or is_supported_id(expression)


def test_a_child_descends_from_its_parent_with_what_shows_it() -> None:
    document = made()
    ids = {one["name"]: one["spdxId"] for one in of_type(document, "ai_AIPackage")}
    tie = related(document, "descendantOf")[0]

    assert tie["from"] == ids["lab/merge"]
    assert tie["to"] == [ids["lab/left"]]
    assert tie["comment"].splitlines() == [
        "kind: tuned", "basis: both", "declared: merge", "decided: true", "weight: 1",
        "log10_p: -321.5", "change: 0.03", "unchanged: 0.2", "child_path: m.st", "parent_path: b",
        "evidence: same spectra", "evidence: one origin",
    ]  # fmt: skip


def test_a_stranger_writes_no_line_of_evidence() -> None:
    seen = Inferred("tuned", False, 1.0, -2.0, 0.1, 0.0, ("none\ndecided: true\u2028weight: 9",))
    graph = Graph({}, (Edge("a/b", "a/c", "finetune\r\nbasis: both", seen),))
    lines = related(made(graph, "a/b"), "descendantOf")[0]["comment"].splitlines()

    assert "decided: false" in lines
    assert "decided: true" not in lines
    assert [line for line in lines if line.startswith(("weight:", "basis:"))] == [
        "basis: both", "weight: 1",
    ]  # fmt: skip


def test_what_is_known_of_a_model() -> None:
    document = made()
    merge, *_, only = sorted(
        of_type(document, "ai_AIPackage"), key=lambda one: (one["name"] != "lab/merge", len(one))
    )[:2]
    supplier = next(one for one in of_type(document, "Agent") if one["name"] == "lab")
    file = of_type(document, "software_File")[0]

    assert merge["suppliedBy"] == supplier["spdxId"]
    assert merge["releaseTime"] == "2023-11-14T22:13:20Z"
    assert merge["software_packageVersion"] == "0" * 40
    assert merge["software_downloadLocation"] == f"{HUB}/lab/merge"
    assert merge["ai_informationAboutApplication"] == (
        "Task: text-generation\nLibrary: transformers\nParameters: 7"
    )
    assert only["name"] == "card/only"
    assert only.keys() == {
        "type", "spdxId", "creationInfo", "name", "suppliedBy", "software_primaryPurpose",
    }  # fmt: skip
    assert file["name"] == "model.safetensors"
    assert [(one["from"], one["to"]) for one in related(document, "contains")] == [
        (merge["spdxId"], [file["spdxId"]])
    ]


def test_licenses_are_declared_and_none_is_concluded() -> None:
    document = made()
    names = {one["spdxId"]: one["name"] for one in of_type(document, "ai_AIPackage")}
    texts = {one["spdxId"]: one["simplelicensing_licenseExpression"]
             for one in of_type(document, "simplelicensing_LicenseExpression")}  # fmt: skip
    declared = {names[one["from"]]: texts.get(one["to"][0], one["to"][0])
                for one in related(document, "hasDeclaredLicense")}  # fmt: skip

    own = declared.pop("lab/left")
    assert re.fullmatch(r"LicenseRef-My-Own-Terms-[0-9a-f]{8}", own)
    assert declared == {
        "lab/merge": "GPL-3.0-only", "org/root": "LicenseRef-llama3.1", "card/only": NO_ASSERTION,
    }  # fmt: skip
    assert {one["to"][0] for one in related(document, "hasConcludedLicense")} == {NO_ASSERTION}


def test_the_ai_profile_is_promised_only_where_it_is_kept() -> None:
    whole = Node("a/b", revision="0" * 40, created_ms=0, files=(NodeFile("m", "ab" * 32, 1),))
    alone = made(Graph({"a/b": whole}), "a/b")
    with_card = made(Graph({"a/b": whole}, (Edge("a/b", "a/c", "finetune"),)), "a/b")
    promised = [of_type(one, "SpdxDocument")[0]["profileConformance"] for one in (alone, with_card)]

    assert promised == [
        ["core", "software", "simpleLicensing", "ai"], ["core", "software", "simpleLicensing"],
    ]  # fmt: skip


def test_the_same_is_the_same_document() -> None:
    assert made() == made()
    ids = [_by_id(made(at=at)["@graph"]).keys() for at in (NOON, NOON + timedelta(seconds=1))]
    assert ids[0].isdisjoint(ids[1])
    assert of_type(made(at=datetime(999, 1, 1, tzinfo=UTC)), "CreationInfo")[0]["created"] == (
        "0999-01-01T00:00:00Z"
    )


def test_every_license_of_hugging_face_that_spdx_lists_has_its_id() -> None:
    """The list is SPDX's own, as CycloneDX bundles it."""
    assert set(NAMED) - set(SPDX_IDS) == set(UNLISTED)
    assert set(SPDX_IDS) <= set(NAMED)
    for identifier, spdx_id in SPDX_IDS.items():
        assert is_supported_id(spdx_id), spdx_id
        listed = fixup_id(identifier)
        assert listed in (None, spdx_id, spdx_id.removesuffix("-only"))
    assert not [one for one in UNLISTED if fixup_id(one)]


def test_what_a_card_says_of_its_license() -> None:
    assert license_of("apache-2.0") == License("Apache-2.0", listed=True)
    assert license_of("other", "My Own Terms") == License("My Own Terms", listed=False)
    assert license_of("other", "MIT") == License("MIT", listed=False)
    assert license_of("other") == License("other", listed=False)
    assert license_of("gpl", "ignored") == License("gpl", listed=False)
    assert license_of("unknown") is license_of(None) is license_of("") is None
