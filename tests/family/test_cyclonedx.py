"""The CycloneDX document is what the official 1.6 schema takes, whatever people called things."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from datetime import timedelta, timezone
from typing import Any
from urllib.parse import unquote

import pytest
from bom_kit import FAMILY, HUB, NOON, SHA, graphs, words
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st
from packageurl import PackageURL

from effort import examples
from headwater.family.bom import facts, purl
from headwater.family.cyclonedx import cyclonedx
from headwater.family.graph import Edge, Graph, Inferred, Node

STRICT = JsonStrictValidator(SchemaVersion.V1_6)


def made(graph: Graph = FAMILY, name: str = "lab/merge", **other: Any) -> Any:
    told = {"tool_version": "0.1.0", "base_url": HUB, "at": NOON, **other}
    return cyclonedx(graph, name, **told)


def refused(document: Any) -> bool:
    return STRICT.validate_str(json.dumps(document, allow_nan=False)) is not None


def values(properties: list[dict[str, str]], key: str) -> list[str]:
    return [one["value"] for one in properties if one["name"] == f"headwater:{key}"]


def test_the_schema_takes_it() -> None:
    document = made()

    assert not refused(document)
    assert document["metadata"]["component"]["name"] == "merge"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda bom: bom["metadata"]["component"].pop("name"),
        lambda bom: bom["metadata"].update(timestamp="yesterday"),
        lambda bom: bom["metadata"]["component"].update(invented="property"),
        lambda bom: bom["metadata"]["component"].update(type="model"),
        lambda bom: bom["metadata"]["component"]["components"][0]["hashes"][0].update(content="0"),
        lambda bom: bom["metadata"]["component"].update(licenses=[{"license": {"id": "gpl-3.0"}}]),
        lambda bom: bom["metadata"]["component"]["properties"][0].update(value=7),
        lambda bom: bom["components"].append(bom["components"][0]),
        lambda bom: bom["components"][0]["externalReferences"][0].update(url="not a url"),
        lambda bom: bom["components"][0]["pedigree"]["ancestors"][0].pop("type"),
        lambda bom: bom["dependencies"][0].update(dependsOn=["model:x", "model:x"]),
        lambda bom: bom["compositions"][0].update(aggregate="hopeful"),
        lambda bom: bom.update(serialNumber="42"),
        lambda bom: bom.pop("specVersion"),
    ],
)
def test_a_spoiled_one_is_refused(spoil: Callable[[Any], object]) -> None:
    """So that the tests beside this one can fail."""
    document = copy.deepcopy(made())
    spoil(document)

    assert refused(document)


@settings(max_examples=examples(50), deadline=None)
@given(graphs())
def test_the_schema_takes_it_whatever_it_is_about(drawn: tuple[Graph, str]) -> None:
    graph, name = drawn
    document = made(graph, name)

    assert not refused(document)
    models = [document["metadata"]["component"], *document["components"]]
    refs = [model["bom-ref"] for model in models]
    assert refs == [f"model:{one}" for one in (name, *graph.above(name))]
    assert len(set(refs)) == len(refs)
    assert [one["ref"] for one in document["dependencies"]] == refs
    for model, tie in zip(models, document["dependencies"], strict=True):
        ancestors = model.get("pedigree", {}).get("ancestors", [])
        told = [values(parent["properties"], "ref")[0] for parent in ancestors]
        assert list(dict.fromkeys(told)) == tie["dependsOn"]
        assert set(told) <= set(refs) - {model["bom-ref"]}


@settings(max_examples=examples(50), deadline=None)
@given(words)
def test_a_package_url_cannot_be_broken_out_of(name: str) -> None:
    """Names of repositories are checked where they enter; this does not lean on it."""
    url = purl(Node(name), HUB)
    own = name.rpartition("/")[2]

    assert (url is None) == (not own)
    if url is not None:
        assert re.fullmatch(r"pkg:huggingface/[A-Za-z0-9._~%/-]+[?]repository_url=" + HUB, url)
        assert unquote(url.partition("?")[0]) == f"pkg:huggingface/{name}"
    assert purl(Node(name, here=False), HUB) is None


@given(
    name=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,8}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,8})?\Z"),
    revision=st.none() | st.sampled_from(["0" * 40, "F0" * 20]),
)
@settings(max_examples=examples(50), deadline=None)
def test_a_package_url_says_the_name_again(name: str, revision: str | None) -> None:
    url = purl(Node(name, revision=revision), HUB)
    assert url is not None
    read = PackageURL.from_string(url)

    assert read.to_string() == url
    assert (read.type, read.qualifiers) == ("huggingface", {"repository_url": HUB})
    assert "/".join(filter(None, (read.namespace, read.name))) == name
    assert read.version == (revision.lower() if revision else None)


def test_a_package_url_is_written_the_canonical_way() -> None:
    url = made()["metadata"]["component"]["purl"]

    assert url == f"pkg:huggingface/lab/merge@{'0' * 40}?repository_url={HUB}"
    assert PackageURL.from_string(url).to_string() == url


def test_each_ancestor_is_there_once_with_all_that_is_known() -> None:
    document = made()
    by_ref = {one["bom-ref"]: one for one in document["components"]}

    assert list(by_ref) == ["model:lab/left", "model:card/only", "model:org/root"]
    assert by_ref["model:lab/left"]["licenses"][0]["license"]["name"] == "My Own Terms"
    assert by_ref["model:org/root"]["licenses"][0]["license"]["name"] == "llama3.1"
    assert by_ref["model:card/only"].keys().isdisjoint({"purl", "licenses", "version", "modelCard"})
    model = document["metadata"]["component"]
    assert model["licenses"] == [{"license": {"id": "GPL-3.0-only", "acknowledgement": "declared"}}]
    assert model["modelCard"] == {"modelParameters": {"task": "text-generation"}}
    assert model["components"][0]["hashes"] == [{"alg": "SHA-256", "content": SHA}]
    assert values(model["properties"], "created") == ["2023-11-14T22:13:20Z"]


def test_a_pedigree_bears_what_shows_the_descent() -> None:
    ancestors = made()["metadata"]["component"]["pedigree"]["ancestors"]
    left, only = (one["properties"] for one in ancestors)

    assert values(left, "ref") == ["model:lab/left"]
    assert values(left, "kind") == ["tuned"]
    assert values(left, "basis") == ["both"]
    assert values(left, "decided") == ["true"]
    assert values(left, "log10_p") == ["-321.5"]
    assert values(left, "evidence") == ["same spectra", "one origin"]
    assert values(only, "basis") == ["declared"]
    assert values(only, "kind") == ["merge"]
    assert values(only, "weight") == []


def test_a_number_that_is_none_is_left_out() -> None:
    nothing = float("nan")
    seen = Inferred("pruned", False, nothing, float("-inf"), nothing, 0.5, ())
    told = dict(facts(Edge("a/b", "a/c", None, seen)))

    assert told == {
        "kind": "pruned", "basis": "inferred", "decided": "false", "unchanged": "0.5",
    }  # fmt: skip
    graph = Graph({}, (Edge("a/b", "a/c", None, seen),))
    assert "nan" not in json.dumps(made(graph, "a/b"), allow_nan=False).lower()


def test_a_ring_is_walked_once() -> None:
    graph = Graph({}, (Edge("a/a", "b/b", "finetune"), Edge("b/b", "a/a", "finetune")))
    document = made(graph, "a/a")

    assert not refused(document)
    assert document["dependencies"] == [
        {"ref": "model:a/a", "dependsOn": ["model:b/b"]},
        {"ref": "model:b/b", "dependsOn": ["model:a/a"]},
    ]


def test_the_same_is_the_same_document() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))

    assert made(at=elsewhere) == made()
    assert made(at=NOON + timedelta(seconds=1))["serialNumber"] != made()["serialNumber"]
    assert made(name="lab/left")["serialNumber"] != made()["serialNumber"]
