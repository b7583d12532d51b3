"""Parents among several relatives, with the order of their arrival and without."""

from __future__ import annotations

from pathlib import Path

import pytest
from kin_kit import (
    adapted,
    base,
    cut,
    each,
    frozen,
    gguf_subject,
    int4,
    merged,
    orthogonal,
    pruned,
    subject,
    trained,
    turned,
)
from lineage_kit import HIDDEN, fused

from headwater.lineage.subject import Subject
from headwater.lineage.tree import near, trace_all

Truth = dict[str, tuple[str, ...]]
TRUTH: Truth = {
    "base": (),
    "stranger": (),
    "chat": ("base",),
    "code": ("base",),
    "chat2": ("chat",),
    "frozen": ("base",),
    "lora": ("base",),
    "half": ("chat", "code"),
    "task": ("base", "chat", "code"),
    "int4": ("chat",),
    "q8": ("code",),
    "pruned": ("base",),
    "cut": ("code",),
    "renamed": ("chat",),
    "turned": ("base",),
    "turned-chat": ("turned",),
}


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    root = base()
    chat, code = trained(root, 2), trained(root, 3)
    copy = turned(root, orthogonal(HIDDEN, 7))
    path: Path = tmp_path_factory.mktemp("family") / "q8.gguf"
    tensors = {
        "base": root, "stranger": base(9), "chat": chat, "code": code, "chat2": trained(chat, 4),
        "frozen": frozen(root, chat),
        "lora": adapted(root, 5), "half": merged((0.5, chat), (0.5, code)),
        "task": merged((-0.3, root), (0.7, chat), (0.6, code)), "int4": each(chat, int4),
        "pruned": each(root, pruned), "cut": cut(code, (0,)), "renamed": fused(chat),
        "turned": copy, "turned-chat": trained(copy, 6),
    }  # fmt: skip
    made = {name: subject(one) for name, one in tensors.items()}
    made["q8"] = gguf_subject(path, code, "Q8_0")
    return {name: made[name] for name in TRUTH}


def test_in_order_of_arrival(subjects: dict[str, Subject]) -> None:
    found = trace_all(subjects, list(subjects))
    assert {name: _parents(one.links) for name, one in found.items()} == {
        name: tuple(sorted(parents)) for name, parents in TRUTH.items()
    }
    kinds = {name: {link.kind for link in one.links} for name, one in found.items()}
    assert kinds["half"] == kinds["task"] == {"merged"}
    assert (kinds["lora"], kinds["int4"], kinds["q8"]) == ({"lora"}, {"quantized"}, {"quantized"})
    assert (kinds["pruned"], kinds["cut"]) == ({"pruned"}, {"cut"})
    assert (kinds["renamed"], kinds["turned"]) == ({"copy"}, {"rotated"})
    decided = {name for name, one in found.items() if any(link.decided for link in one.links)}
    assert decided == {"half", "task", "int4", "q8", "pruned", "cut"}
    weights = {link.parent: round(link.weight, 1) for link in found["task"].links}
    assert weights == {"base": -0.3, "chat": 0.7, "code": 0.6}
    assert "recomputed" in found["half"].evidence[0]


def test_without_an_order_what_the_weights_decide(subjects: dict[str, Subject]) -> None:
    found = trace_all(subjects)
    for name in ("half", "task", "int4", "q8", "pruned", "cut"):
        parents = _parents(found[name].links)
        twin = tuple(sorted("chat" if parent == "renamed" else parent for parent in parents))
        assert twin == tuple(sorted(TRUTH[name])), name
        assert all(link.decided for link in found[name].links)
    assert _parents(found["lora"].links) == ("base",)
    assert found["stranger"].links == ()
    assert _parents(found["base"].links) == ("turned",)  # a copy, and either may be the first
    assert not found["base"].links[0].decided
    assert not any("stranger" in _parents(one.links) for one in found.values())


def test_what_comes_later_is_no_parent(subjects: dict[str, Subject]) -> None:
    """The quantized file is here, its source is not yet: its parent is the base."""
    order = ["base", "int4"]
    found = trace_all({name: subjects[name] for name in order}, order)
    assert found["base"].links == ()
    assert _parents(found["int4"].links) == ("base",)


def test_of_many_only_likely_pairs(
    subjects: dict[str, Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.lineage.tree.ALL_PAIRS_MAX", 3)
    likely = near(subjects)
    assert likely["stranger"] == set()
    assert {"base", "chat2", "int4"} <= likely["chat"]
    found = trace_all(subjects, list(subjects))
    assert _parents(found["half"].links) == ("chat", "code")


def _parents(links: tuple) -> tuple[str, ...]:
    return tuple(sorted(link.parent for link in links))
