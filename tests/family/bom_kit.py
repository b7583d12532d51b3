"""A family of three generations, and any graph that hypothesis can think of."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st

from headwater.family.graph import Edge, Graph, Inferred, Node, NodeFile

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HUB = "https://hub.example:8443"
SHA = "ab" * 32
SEEN = Inferred("tuned", True, 1.0, -321.5, 0.03, 0.2, ("same spectra", "one origin"), "m.st", "b")
# Three generations: a merge of two that share a root, one of them only a name on a card.
FAMILY = Graph(
    {
        "lab/merge": Node(
            "lab/merge",
            license="gpl-3.0",
            parameters=7,
            pipeline="text-generation",
            library="transformers",
            revision="0" * 40,
            created_ms=1_700_000_000_123,
            files=(NodeFile("model.safetensors", SHA, 5),),
        ),
        "lab/left": Node("lab/left", license="other", license_name="My Own Terms"),
        "org/root": Node("org/root", license="llama3.1", revision="A" * 40),
    },
    (
        Edge("lab/merge", "lab/left", "merge", SEEN),
        Edge("lab/merge", "card/only", "merge"),
        Edge("lab/left", "org/root", None, SEEN),
        Edge("card/only", "org/root", "finetune"),
        Edge("lab/merge", "lab/merge", "finetune"),
        Edge("somebody/else", "lab/merge", "finetune"),
    ),
)

# Nothing that JSON or UTF-8 cannot carry: no card with a lone surrogate gets as far as a graph.
words = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from("\"'\\\n\r\t\0\x1b\x7f\u2028𝄞/%#?&@ ")),
    min_size=1,
    max_size=12,
)
names = st.one_of(st.sampled_from(["a/b", "a/c", "d/e", "gpt2", "a/b/c", "/"]), words)
numbers = st.floats()
evidence = st.lists(words | st.just(""), max_size=3).map(tuple)
files = st.builds(NodeFile, words, st.sampled_from([SHA, "0f" * 32]), st.integers(0, 2**50))
licenses = st.one_of(
    st.none(), st.sampled_from(["mit", "odbl", "gpl", "other", "unknown", "openrail++", ""]), words
)
nodes = st.builds(
    Node,
    name=names,
    here=st.booleans(),
    license=licenses,
    license_name=st.none() | words,
    parameters=st.none() | st.integers(0, 2**50),
    pipeline=st.none() | words,
    library=st.none() | words,
    revision=st.none() | st.sampled_from(["0" * 40, "F0" * 20]),
    created_ms=st.none() | st.integers(0, 4 * 10**12),
    files=st.lists(files, max_size=3).map(tuple),
)
inferred = st.builds(
    Inferred, words, st.booleans(), numbers, numbers, numbers, numbers, evidence, words, words
)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Graph, str]:
    """Any graph, rings and all, and one of its names; some names have no node."""
    known = {node.name: node for node in draw(st.lists(nodes, max_size=5))}
    all_names = [*known, *draw(st.lists(names, min_size=1, max_size=3))]
    one = st.sampled_from(all_names)
    edge = st.builds(Edge, one, one, st.none() | words, st.none() | inferred)
    return Graph(known, tuple(draw(st.lists(edge, max_size=9)))), draw(one)
