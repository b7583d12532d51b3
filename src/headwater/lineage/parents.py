"""Whom a model comes from, among others that may be its relatives.

    trace(target, others, earlier) -> Ancestry

In this order: whoever it was made from by losing something (quantized, pruned, cut, of more words);
of which it is a copy, in this basis or another; the models it was merged from; else the model from
which it was trained, found by going from the oldest towards it as long as the next one lies on the
way. Independent updates stand at right angles, so squared distances add up along a line of descent
and not across siblings. `earlier` are the others that are known to be older, the oldest first: time
decides where the weights do not, and never against them. Without it the model in the middle counts
as the oldest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from headwater.lineage.relation import Relation, relate
from headwater.lineage.subject import Subject
from headwater.lineage.vectors import Cloud

LOSSES = ("quantized", "pruned", "cut", "repeated", "resized", "cast")
COPIED_MAX = 0.003  # of their length apart: what storing a turned copy in BF16 costs
TRAINED = ("tuned", "lora")
MERGED_MAX = 12  # models that are tried as parts of a merge, the nearest
MERGED_ERRORS_MAX = 1.4  # rounding errors; of its parts in other weights some hundred
MERGED_GAIN_MIN = 2.0  # times nearer than the nearest part alone
MERGED_WEIGHT_MIN = 0.05
ON_THE_WAY = -0.35  # see `Cloud.along`: siblings of one text turn off late
VOTE_MIN = 0.05  # of the numbers unchanged: below it their count says nothing


@dataclass(frozen=True, slots=True)
class Link:
    """One parent. `decided`: the weights say who came first; else it is by time, or a guess."""

    parent: str
    kind: str
    decided: bool
    weight: float = 1.0  # of it in a merge


@dataclass(frozen=True, slots=True)
class Ancestry:
    """Links to parents, and what every one of the others is to the model (it is their `other`)."""

    links: tuple[Link, ...]
    relations: dict[str, Relation]
    evidence: tuple[str, ...] = ()


def trace(
    target: Subject,
    others: Mapping[str, Subject],
    earlier: Sequence[str] | None = None,
    known: Mapping[str, Relation] | None = None,
) -> Ancestry:
    """The parents of `target` among `others`. `known`: relations that were found before."""
    found_before = known or {}
    relations = {
        name: found_before.get(name) or relate(other, target) for name, other in others.items()
    }
    lost = [name for name, found in relations.items()
            if found.kind in LOSSES and found.child == "other"]  # fmt: skip
    if lost:
        best = min(lost, key=lambda name: relations[name].change)
        return Ancestry((Link(best, relations[best].kind, True),), relations)
    able = [name for name, found in relations.items()
            if found.related and found.child != "one"]  # fmt: skip
    if earlier is not None:
        able = [name for name in earlier if name in able]
    copied = [name for name in able if _is_copy(relations[name])]
    if copied:
        best = min(copied, key=lambda name: relations[name].change)
        return Ancestry((Link(best, relations[best].kind, False),), relations)
    trained = [
        name
        for name in able
        if relations[name].kind in TRAINED and _whole(others[name], relations[name])
    ]
    cloud = Cloud.of(target.probe, {name: others[name].probe for name in trained})
    merged = _merged(cloud)
    if merged is not None:
        links, errors = merged
        shown = " + ".join(f"{link.weight:.2f} x {link.parent}" for link in links)
        return Ancestry(
            links, relations, (f"recomputed as {shown}: {errors:.2f} rounding errors left",)
        )
    adapted = [name for name in trained if relations[name].kind == "lora"]
    parent = (
        min(adapted, key=lambda name: relations[name].change)
        if adapted  # to the others that have its base it is of full rank
        else _descended(cloud, relations, earlier is not None)
    )
    hidden = [name for name in able if relations[name].kind in ("permuted", "rotated")]
    if parent is None and hidden and (earlier is not None or not cloud.names):
        parent = min(hidden, key=lambda name: relations[name].change)
    if parent is None:
        return Ancestry((), relations)
    return Ancestry((Link(parent, relations[parent].kind, False),), relations)


def _is_copy(found: Relation) -> bool:
    if found.kind in ("permuted", "rotated"):
        return found.change <= COPIED_MAX
    return found.kind in ("copy", "cast")


def _whole(other: Subject, found: Relation) -> bool:
    """Whether one may have trained from it: quantized files are ends, unless it was shown."""
    return not other.quantized or found.child == "other"


def _merged(cloud: Cloud) -> tuple[tuple[Link, ...], float] | None:
    """The fewest parts whose mean is the target to its last bit."""
    if len(cloud.names) < 2:
        return None
    near = np.argsort(cloud.squares())[:MERGED_MAX].tolist()
    alone = cloud.mixture([near[0]]).errors
    if alone <= MERGED_ERRORS_MAX:
        return None
    for size in (2, 3):
        made = [(cloud.mixture(subset), subset) for subset in combinations(near, size)]
        fit = [
            (mixture, subset)
            for mixture, subset in made
            if mixture.errors <= MERGED_ERRORS_MAX
            and mixture.errors * MERGED_GAIN_MIN <= alone
            and all(abs(weight) >= MERGED_WEIGHT_MIN for weight in mixture.weights)
            and (size > 2 or min(mixture.weights) > 0)
        ]
        if fit:
            best, subset = min(fit, key=lambda one: one[0].errors)
            links = tuple(
                Link(cloud.names[at], "merged", True, weight)
                for at, weight in zip(subset, best.weights, strict=True)
            )
            return links, best.errors
    return None


def _descended(cloud: Cloud, relations: Mapping[str, Relation], by_time: bool) -> str | None:
    """From the oldest on, as long as somebody lies on the way to the target."""
    if not cloud.names:
        return None
    away = cloud.squares()
    at = 0 if by_time else _middle(cloud, away)
    if at < 0:
        return None
    while True:
        next_ = [
            i
            for i in range(len(cloud.names))
            if i != at and away[i] < away[at] and _on_the_way(cloud, relations, i, at)
        ]
        if not next_:
            return cloud.names[at]
        same = [relations[name].same for name in cloud.names]
        at = min(next_, key=lambda i: (-same[i], float(away[i])))


def _on_the_way(cloud: Cloud, relations: Mapping[str, Relation], i: int, at: int) -> bool:
    if cloud.along(i, at) <= ON_THE_WAY:
        return False
    # A child keeps more of its parent's numbers than of its grandparent's, and every matrix that it
    # has of the grandparent its parent has, too.
    near, far = (relations[cloud.names[n]] for n in (i, at))
    if near.same < far.same:
        return False
    return max(near.unchanged, far.unchanged) < VOTE_MIN or near.unchanged >= far.unchanged


def _middle(cloud: Cloud, away: np.ndarray) -> int:
    """The model with the least distances to all, the target with them; -1 when it is the target."""
    count = len(cloud.names)
    sums = [
        float(away[i]) + sum(cloud.between(i, j) for j in range(count) if j != i)
        for i in range(count)
    ]
    return -1 if float(away.sum()) <= min(sums) else int(np.argmin(sums))
