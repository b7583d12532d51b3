"""Families as pictures: what stands where, and that no name can be more than a name."""

from __future__ import annotations

import math
import re
import time
import unicodedata
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effort import examples
from headwater.family.draw import MERMAID_NODES_MAX, mermaid, svg, text
from headwater.family.draw_layers import ROW_MAX, places
from headwater.family.draw_words import CHARS_MAX, NOBODY, NODES_MAX, family, plain, proof
from headwater.family.graph import Edge, Graph, Inferred, Node

SVG = "{http://www.w3.org/2000/svg}"
SECONDS_MAX = 2.0  # for 2,000 nodes
HOSTILE = [
    '"]; click n0 "javascript:alert(1)"', "<script>alert(1)</script>", "a\nb --> c", "%%{init}%%",
    "\u202egnp.exe", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07x", "\x9b2Jx", "]]>", "&amp;", "#quot;",
    "`**b**`", "//evil.example/x", "\ud800", "\ufffe\uffff", "\x00", "end", "style:#x;", "-", "n0",
    "名" * 90,
]  # fmt: skip
ALLOWED = {  # elements and their attributes: nothing that a strict policy would refuse
    "svg": {"role", "width", "height", "viewBox", "fill", "stroke", "font-family", "font-size"},
    "title": set(),
    "desc": set(),
    "a": {"href"},
    "g": {"fill", "text-anchor"},
    "rect": {"x", "y", "width", "height", "rx", "stroke", "stroke-width", "stroke-dasharray",
             "pointer-events"},
    "path": {"d", "fill", "stroke", "stroke-dasharray"},
    "text": {"x", "y", "fill", "font-size", "font-weight"},
}  # fmt: skip


def by_weights(kind: str, weight: float = 1.0, log10_p: float = -123.4) -> Inferred:
    return Inferred(kind, True, weight, log10_p, 0.1, 0.2, ("neurons in the same order",))


def graph(nodes: list[Node], *edges: Edge) -> Graph:
    return Graph({node.name: node for node in nodes}, edges)


BASE = Node("org/base", license="llama3.1", parameters=8_030_261_248)
CHAT, CODE, MERGED = Node("org/chat", license="mit"), Node("org/code"), Node("org/merged")
LORA = Node("else/lora", here=False)
FAMILY = graph(
    [BASE, CHAT, CODE, MERGED, LORA],
    Edge("org/chat", "org/base", "finetune", by_weights("tuned")),
    Edge("org/code", "org/base", None, by_weights("tuned")),
    Edge("org/merged", "org/chat", "merge", by_weights("merged", 0.6)),
    Edge("org/merged", "org/code", None, by_weights("merged", 0.4)),
    Edge("else/lora", "org/chat", "adapter"),
)


def parsed(drawing: str) -> ElementTree.Element:
    root = ElementTree.fromstring(drawing)
    for element in root.iter():
        tag = element.tag.removeprefix(SVG)
        assert set(element.attrib) <= ALLOWED[tag], (tag, element.attrib)
        assert not any("url(" in value for value in element.attrib.values())
    return root


def titles(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}title")]


def hidden(line: str) -> bool:
    """Has it anything that moves a cursor, turns text around, or ends a line?"""
    return any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in line)


def test_mermaid_draws_who_says_what() -> None:
    assert mermaid(FAMILY, "org/chat").splitlines() == [
        "graph TD",
        '  n0["org/chat"]',
        '  n1["org/base"]',
        '  n2["org/merged"]',
        '  n3["else/lora"]',
        '  n4["org/code"]',
        '  n1 ==>|"tuned"| n0',
        '  n1 -->|"tuned"| n4',
        '  n0 ==>|"merged#32;0.6"| n2',
        '  n4 -->|"merged#32;0.4"| n2',
        '  n0 -.->|"adapter"| n3',
        "  classDef focus stroke-width:4px",
        "  class n0 focus",
        "  classDef absent stroke-dasharray:4 4",
        "  class n3 absent",
    ]


def test_text_is_a_tree() -> None:
    assert text(FAMILY, "org/chat").splitlines() == [
        "org/base",
        "├── * org/chat  tuned (declared finetune and by weights, p 1e-123)",
        "│   ├── org/merged  merged 0.6 (declared merge and by weights, p 1e-123)",
        "│   └── else/lora  adapter (declared adapter)  (not here)",
        "└── org/code  tuned (by weights, p 1e-123)",
        "    └── org/merged  merged 0.4 (by weights, p 1e-123)  (see above)",
    ]


def test_a_parent_outside_the_tree_is_named() -> None:
    found = graph([], Edge("m", "a", "merge"), *(Edge("m", f"o{at}", "merge") for at in range(5)))
    assert text(found, "a").splitlines() == [
        "* a  (not here)",
        "└── m  merge (declared merge)  (not here)  (also from o0, o1, o2 and 2 more)",
    ]


def test_svg_has_a_place_a_title_and_a_link_for_each() -> None:
    root = parsed(svg(FAMILY, "org/chat"))
    assert root.attrib["role"] == "img"
    assert [child.tag for child in root[:2]] == [f"{SVG}title", f"{SVG}desc"]
    said = titles(root)
    assert said[0] == "Family of org/chat"
    assert "org/base, 8.03B, llama3.1" in said
    assert "else/lora, not here" in said
    assert (
        "org/chat from org/base: tuned, declared finetune and by weights, p 1e-123; "
        "neurons in the same order"
    ) in said
    links = [element.attrib["href"] for element in root.iter(f"{SVG}a")]
    assert sorted(links) == ["/org/base", "/org/chat", "/org/code", "/org/merged"]
    dashed = [group for group in root.iter(f"{SVG}g") for line in group.findall(f"{SVG}path")
              if "stroke-dasharray" in line.attrib]  # fmt: skip
    assert titles(dashed[0]) == ["else/lora from org/chat: adapter, declared adapter"]
    assert len(dashed) == 1
    thick = [box for box in root.iter(f"{SVG}rect") if box.attrib["stroke-width"] == "3"]
    assert len(thick) == 1


def test_parents_stand_above_children_and_boxes_apart() -> None:
    edges = [Edge(f"c{at}", f"p{at % 5}", "finetune") for at in range(40)]
    found = graph([], *edges, *(Edge(f"p{at}", "r", "finetune") for at in range(5)))
    shown = family(found, "r").graph
    where = places(shown)
    assert all(where.row[way.parent] < where.row[way.child] for way in shown.edges)
    cells = {(where.row[name], where.column[name]) for name in shown.nodes}
    assert len(cells) == 46
    assert where.columns == ROW_MAX
    boxes = [
        tuple(float(box.attrib[side]) for side in ("x", "y", "width", "height"))
        for box in parsed(svg(found, "r")).iter(f"{SVG}rect")
    ]
    for at, (x, y, wide, high) in enumerate(boxes):
        for other_x, other_y, _, _ in boxes[:at]:
            assert abs(x - other_x) >= wide or abs(y - other_y) >= high


def test_siblings_stand_under_their_parent() -> None:
    """In the order given the lines would cross; nobody has to."""
    found = graph(
        [Node(name) for name in ("r", "a", "b", "b1", "a1", "b2", "a2")],
        *(Edge(name, "r", "x") for name in "ab"),
        *(Edge(name, name[0], "x") for name in ("b1", "a1", "b2", "a2")),
    )
    column = places(found).column
    left, right = sorted("ab", key=lambda name: column[name])
    lower = [column[f"{left}{at}"] for at in (1, 2)], [column[f"{right}{at}"] for at in (1, 2)]
    assert max(lower[0]) < min(lower[1])


def test_a_ring_is_drawn_once_around() -> None:
    ring = graph([], Edge("a", "b", "x"), Edge("b", "c", "x"), Edge("c", "a", "x"),
                 Edge("a", "a", "x"))  # fmt: skip
    assert text(ring, "a").splitlines() == [
        "c  (not here)",
        "└── b  x (declared x)  (not here)",
        "    └── * a  x (declared x)  (not here)",
        "        ├── c  x (declared x)  (see above)",
        "        └── * a  x (declared x)  (see above)",
    ]
    assert len(titles(parsed(svg(ring, "a")))) == 1 + 3 + 4
    assert mermaid(ring, "a").count("-.->") == 4


def test_a_long_chain_is_cut_and_says_so() -> None:
    length = 10_000
    chain = graph([], *(Edge(f"c{at + 1}", f"c{at}", "finetune") for at in range(length)))
    focus, left = f"c{length}", length + 1 - NODES_MAX
    lines = text(chain, focus).splitlines()
    assert len(lines) == NODES_MAX + 1
    assert lines[-1] == f"{left:,} more models left out"
    assert lines[-2].startswith(f"… {NODES_MAX - 1:,}".replace(",", "") + " └── * c10000")
    assert max(map(len, lines)) < CHARS_MAX + 200
    root = parsed(svg(chain, focus))
    assert len(list(root.iter(f"{SVG}rect"))) == NODES_MAX
    assert lines[-1] in [element.text for element in root.iter(f"{SVG}text")]
    assert f"{length + 1 - MERMAID_NODES_MAX}" in mermaid(chain, focus).replace("#44;", "")


def test_of_too_many_links_those_of_the_focus_stay() -> None:
    crowd = graph([], *(Edge(f"b{a}", f"t{b}", "x") for a in range(300) for b in range(100)))
    shown = family(crowd, "b299", edges_max=500)
    assert len(shown.graph.parents("b299")) == 100
    assert shown.edges_left == 300 * 100 - 500
    assert shown.left_out == "29,500 more links left out"


@pytest.mark.parametrize("shape", ["fan", "chain", "diamonds", "crowd"])
def test_two_thousand_take_under_two_seconds(shape: str) -> None:
    pairs = {
        "fan": [(f"{at}", "root") for at in range(1999)],
        "chain": [(f"{at + 1}", f"{at}") for at in range(1999)],
        "diamonds": [(f"{at}", f"{at - by}") for at in range(2, 2000) for by in (1, 2)],
        "crowd": [(f"{a}", f"{b}") for a in range(2000) for b in range(a % 7, 2000, 250)],
    }[shape]
    found = graph([], *(Edge(child, parent, "finetune") for child, parent in pairs))
    for draw in (svg, text, mermaid):
        began = time.process_time()
        draw(found, pairs[0][0])
        assert time.process_time() - began < SECONDS_MAX, draw


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_a_name(name: str) -> None:
    found = graph([Node(name), Node("org/x")], Edge(name, "org/x", name),
                  Edge("org/x", name, None, by_weights(name)))  # fmt: skip
    root = parsed(svg(found, name))
    links = [element.attrib["href"] for element in root.iter(f"{SVG}a")]
    assert all(link[0] == "/" and link[1:2] not in ("/", "\\") for link in links)
    assert "/org/x" in links
    known = {unquote(link, errors="replace") for link in links}
    assert "/" + name.lstrip("/").encode(errors="replace").decode() in known
    lines = mermaid(found, name).splitlines()
    assert lines[0] == "graph TD"
    assert len(lines) == 7
    for line in lines[1:5]:
        assert re.fullmatch(
            r'  n[01]("?\[| (-\.->|-->)\|)"([A-Za-z0-9/.-]|#\d+;)+"(\]|\| n[01])', line
        ), line
    assert not any(map(hidden, text(found, name).splitlines()))
    assert len(text(found, name).splitlines()) == 3


def test_plain_is_what_can_be_seen() -> None:
    assert plain("\x1b[31mred\x1b[0m\x1b]8;;http://x\x07 link\x1b]8;;\x1b\\") == "red link"
    assert plain("a\r\n\tb\u2028c\u202ed") == "a b cd"
    assert plain("\x9b2J\x00") == NOBODY
    assert plain("x" * 1000) == "x" * (CHARS_MAX - 1) + "…"


@pytest.mark.parametrize(
    ("log10_p", "said"),
    [
        (-123.4, "by weights, p 1e-123"), (0.5, "by weights, p 1e0"), (math.nan, "by weights"),
        (-math.inf, "by weights, p 0"),
    ],
)  # fmt: skip
def test_a_chance_is_never_told_smaller(log10_p: float, said: str) -> None:
    assert proof(Edge("a", "b", None, by_weights("tuned", log10_p=log10_p))) == said


NAMES = st.sampled_from(HOSTILE) | st.text(st.characters(), max_size=12)
FLOATS = st.floats(allow_nan=True)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Graph, str]:
    names = draw(st.lists(NAMES, min_size=1, max_size=8, unique=True))
    one = st.sampled_from(names)
    inferred = st.builds(Inferred, st.sampled_from(["tuned", "merged"]) | NAMES, st.booleans(),
                         FLOATS, FLOATS, FLOATS, FLOATS,
                         st.lists(NAMES, max_size=3).map(tuple))  # fmt: skip
    edges = draw(
        st.lists(st.builds(Edge, one, one, st.none() | NAMES, st.none() | inferred), max_size=16)
    )
    nodes = st.builds(Node, one, st.booleans(), st.none() | NAMES, st.none() | NAMES,
                      st.none() | st.integers(-5, 10**18))  # fmt: skip
    known = {node.name: node for node in draw(st.lists(nodes, max_size=8))}
    return Graph(known, tuple(edges)), draw(one)


@settings(max_examples=examples(300))
@given(case=graphs())
def test_whatever_they_are_called_and_whoever_made_whom(case: tuple[Graph, str]) -> None:
    """All is drawn, once, and no name leaves its place."""
    found, focus = case
    shown = family(found, focus).graph
    root = parsed(svg(found, focus))
    assert len(list(root.iter(f"{SVG}rect"))) == len(shown.nodes)
    assert len(titles(root)) == 1 + len(shown.nodes) + len(shown.edges)
    assert not any(hidden(part.strip("\n")) for part in root.itertext())

    lines = mermaid(found, focus).splitlines()
    assert sum("[" in line for line in lines) == len(shown.nodes)
    assert not any(map(hidden, lines))
    absent = any(not node.here for node in shown.nodes.values())
    assert len(lines) == 3 + len(shown.nodes) + len(shown.edges) + 2 * absent

    tree = text(found, focus).splitlines()
    assert not any(map(hidden, tree))
    upwards = {focus, *shown.above(focus)}
    for root_name in shown.roots(focus):
        upwards |= set(shown.below(root_name))
    assert sum("(see above)" not in line for line in tree) <= len(upwards)
    assert len(tree) <= len(shown.roots(focus)) + len(shown.edges)
