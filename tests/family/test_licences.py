"""What licences ask of a family: each identifier read on purpose, and every ancestor looked at."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from licence_kit import HF_LICENSES

from effort import examples
from headwater.family.graph import Edge, Graph, Node
from headwater.family.licence_terms import (
    ATTRIBUTION,
    NAME_PREFIX,
    NAMED,
    NO_DERIVATIVES,
    NON_COMMERCIAL,
    OWN_TERMS,
    RESEARCH_ONLY,
    SHARE_ALIKE,
    SHARED_AS,
    TERMS,
    UNCLEAR,
    USE_RESTRICTIONS,
    WORDS,
)
from headwater.family.licences import CONFLICTS_MAX, conflicts, obligations, unknown_above

HUGGING_FACE = [*HF_LICENSES, "unknown", "other"]


def family(*licences: str | None) -> Graph:
    """A chain: m0 is the root, and each was made from the one before."""
    nodes = {f"m{at}": Node(f"m{at}", license=said) for at, said in enumerate(licences)}
    edges = tuple(Edge(f"m{at}", f"m{at - 1}", "finetune") for at in range(1, len(licences)))
    return Graph(nodes, edges)


def missing(above: str | None, own: str | None) -> tuple[str, ...]:
    return next((found.missing for found in conflicts(family(above, own), "m1")), ())


def test_every_identifier_of_the_hub_is_read() -> None:
    assert set(HUGGING_FACE) == set(TERMS) | UNCLEAR
    assert not set(TERMS) & UNCLEAR
    for identifier in HUGGING_FACE:
        assert obligations(identifier).known is (identifier not in UNCLEAR)


def test_the_tables_use_their_own_words() -> None:
    for words in (*TERMS.values(), *NAMED.values()):
        assert words <= set(WORDS)
    for licence, others in SHARED_AS.items():
        assert SHARE_ALIKE in TERMS[licence]
        assert all(SHARE_ALIKE in TERMS[other] for other in others)


@pytest.mark.parametrize(
    ("licence", "words"),
    [
        ("cc0-1.0", set()),
        ("Apache-2.0 ", {ATTRIBUTION}),
        ("cc-by-nc-sa-4.0", {ATTRIBUTION, NON_COMMERCIAL, SHARE_ALIKE}),
        ("cc-by-nc-nd-4.0", {ATTRIBUTION, NON_COMMERCIAL, NO_DERIVATIVES}),
        ("openrail++", {ATTRIBUTION, USE_RESTRICTIONS}),
        ("llama2", {ATTRIBUTION, USE_RESTRICTIONS, OWN_TERMS}),
        ("llama3.2", {ATTRIBUTION, USE_RESTRICTIONS, OWN_TERMS, NAME_PREFIX}),
        ("apple-amlr", {ATTRIBUTION, NON_COMMERCIAL, RESEARCH_ONLY, OWN_TERMS}),
        ("mpl-2.0", {ATTRIBUTION, SHARE_ALIKE}),
    ],
)
def test_what_they_ask(licence: str, words: set[str]) -> None:
    assert obligations(licence).words == words


@pytest.mark.parametrize("identifier", HUGGING_FACE)
def test_the_names_say_what_they_are(identifier: str) -> None:
    """By the parts of an identifier, where it has any: an independent reading of the table."""
    parts, words = set(identifier.split("-")), obligations(identifier).words
    if "cc" in parts and len(parts) > 1:
        assert (NON_COMMERCIAL in words) is ("nc" in parts)
        assert (NO_DERIVATIVES in words) is ("nd" in parts)
        assert (SHARE_ALIKE in words) is ("sa" in parts)
    assert (SHARE_ALIKE in words) >= ("gpl" in identifier)
    assert (USE_RESTRICTIONS in words) >= ("rail" in identifier or "llama" in identifier)
    assert (RESEARCH_ONLY in words) is ("research" in identifier or identifier in
                                        ("apple-amlr", "deepfloyd-if-license"))  # fmt: skip
    assert (RESEARCH_ONLY in words) <= (NON_COMMERCIAL in words)


@pytest.mark.parametrize("licence", [None, "", "unknown", "other", "cc", "my-own-1.0", "None"])
def test_what_nobody_knows(licence: str | None) -> None:
    found = obligations(licence)
    assert not found.known
    assert not found.words


def test_other_goes_by_its_name() -> None:
    assert obligations("other", "Qwen-Research").words >= {RESEARCH_ONLY, NON_COMMERCIAL}
    assert obligations("other", "llama3").words == obligations("llama3").words
    assert not obligations("other", "my-terms").known
    assert not obligations("mine", "llama3").known


def test_a_dropped_licence_is_a_sentence() -> None:
    (found,) = conflicts(family("llama3", "mit"), "m1")
    assert (found.ancestor, found.ancestor_license, found.license) == ("m0", "llama3", "mit")
    assert found.missing == (USE_RESTRICTIONS, OWN_TERMS, NAME_PREFIX)
    assert found.via == ("m1", "m0")
    assert found.line == (
        "m0 is under llama3 (use restrictions, own terms, name prefix); m1 says mit, "
        "which drops them"
    )


def test_one_that_says_nothing_is_told_in_other_words() -> None:
    (silent,) = conflicts(family("cc-by-nc-4.0", None), "m1")
    assert silent.line == (
        "m0 is under cc-by-nc-4.0 (non-commercial); m1 names no licence, so nothing says that it "
        "keeps it"
    )
    (unclear,) = conflicts(family("gpl-3.0", "other"), "m1")
    assert unclear.line == (
        "m0 is under gpl-3.0 (share alike); m1 says other: read there whether it keeps it"
    )
    assert not conflicts(family("mit", None), "m1")


@pytest.mark.parametrize(
    ("above", "own", "words"),
    [
        ("mit", "llama3", ()),
        ("apache-2.0", "cc-by-nc-4.0", ()),
        ("llama3", "llama3", ()),
        ("llama3", "llama3.1", (OWN_TERMS,)),
        ("llama2", "llama3", (OWN_TERMS,)),
        ("llama3", "llama2", (OWN_TERMS, NAME_PREFIX)),
        ("gemma", "openrail", (OWN_TERMS,)),
        ("openrail", "llama3", ()),
        ("openrail", "apache-2.0", (USE_RESTRICTIONS,)),
        ("gpl-3.0", "agpl-3.0", ()),
        ("agpl-3.0", "gpl-3.0", (SHARE_ALIKE,)),
        ("gpl-2.0", "gpl-3.0", (SHARE_ALIKE,)),
        ("cc-by-sa-4.0", "gpl-3.0", ()),
        ("gpl-3.0", "cc-by-sa-4.0", (SHARE_ALIKE,)),
        ("cc-by-nc-sa-4.0", "cc-by-nc-4.0", (SHARE_ALIKE,)),
        ("cc-by-nc-4.0", "cc-by-nc-sa-4.0", ()),
        ("cc-by-nc-4.0", "h-research", ()),
        ("h-research", "cc-by-nc-4.0", (RESEARCH_ONLY, OWN_TERMS)),
        ("cc-by-nd-4.0", "cc-by-4.0", (NO_DERIVATIVES,)),
    ],
)
def test_what_is_kept_and_what_is_not(above: str, own: str, words: tuple[str, ...]) -> None:
    assert missing(above, own) == words


def test_all_ancestors_are_looked_at() -> None:
    """A licence that was dropped half way down is still asked for below."""
    chain = family("gemma", "mit", None, "apache-2.0")
    (found,) = conflicts(chain, "m3")
    assert found.via == ("m3", "m2", "m1", "m0")
    assert unknown_above(chain, "m3") == ("m2",)
    assert [one.ancestor for one in conflicts(chain, "m1")] == ["m0"]
    assert conflicts(chain, "m0") == ()


def test_a_name_without_a_node_is_unknown() -> None:
    lone = Graph({}, (Edge("a", "b", "finetune"), Edge("b", "a", "finetune")))
    assert conflicts(lone, "a") == ()
    assert unknown_above(lone, "a") == ("b",)


def test_others_of_one_name_are_one_licence() -> None:
    def made(name: str | None, own: str | None) -> Graph:
        nodes = {
            "a": Node("a", license="other", license_name=name),
            "b": Node("b", license="other", license_name=own),
        }
        return Graph(nodes, (Edge("b", "a", "finetune"),))

    assert conflicts(made("qwen", "Qwen"), "b") == ()
    (found,) = conflicts(made("qwen", "mine"), "b")
    assert found.line == (
        "a is under other (qwen) (own terms); b says other (mine): read there whether it keeps it"
    )
    assert conflicts(made("mine", "yours"), "b") == ()


def test_a_sentence_is_one_line_whatever_the_names() -> None:
    evil = "\x1b[2Jorg/\u202ebase\n"
    nodes = {evil: Node(evil, license="gemma"), "b": Node("b", license="mi\x07t\n")}
    (found,) = conflicts(Graph(nodes, (Edge("b", evil, "finetune"),)), "b")
    assert found.ancestor == evil
    assert found.line.isprintable()


def test_a_long_chain_ends() -> None:
    chain = family(*["gemma"] * 10_000, "mit")
    found = conflicts(chain, "m10000")
    assert len(found) == CONFLICTS_MAX
    assert found[0].via == ("m10000", "m9999")
    assert unknown_above(chain, "m10000") == ()


LICENCES = st.sampled_from([None, *HUGGING_FACE])


@settings(max_examples=examples(200))
@given(
    said=st.lists(LICENCES, min_size=5, max_size=5),
    pairs=st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=10),
)
def test_each_ancestor_is_in_order_a_conflict_or_unknown(
    said: list[str | None], pairs: set[tuple[int, int]]
) -> None:
    nodes = {f"m{at}": Node(f"m{at}", license=one) for at, one in enumerate(said)}
    graph = Graph(nodes, tuple(Edge(f"m{a}", f"m{b}", "finetune") for a, b in sorted(pairs)))
    found = {one.ancestor: one for one in conflicts(graph, "m0")}
    unknown = unknown_above(graph, "m0")
    assert not set(found) & set(unknown)
    own = obligations(said[0])
    for ancestor in graph.above("m0"):
        asked = obligations(nodes[ancestor].license)
        if ancestor in unknown:
            assert not asked.known
        elif ancestor in found:
            one = found[ancestor]
            assert set(one.missing) <= asked.words - {ATTRIBUTION}
            assert one.license == said[0] != one.ancestor_license
            assert (one.via[0], one.via[-1]) == ("m0", ancestor)
            for child, parent in zip(one.via, one.via[1:], strict=False):
                assert parent in {edge.parent for edge in graph.parents(child)}
        else:
            kept = asked.words - {ATTRIBUTION} <= own.words
            assert kept or nodes[ancestor].license == said[0]
