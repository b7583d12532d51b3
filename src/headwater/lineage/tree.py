"""Several models at once: the parents of each among the others.

    trace_all(subjects, order) -> {name: Ancestry}
    near(subjects) -> {name: names}        those that may be relatives, by their sketches

With `order` (names, the oldest first) each is traced among those before it. Without, what the
weights decide comes first, and whoever was made from a model is not among its possible parents; the
rest is told from the middle of the family outwards, which is a guess and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headwater.lineage.parents import Ancestry, trace
from headwater.lineage.search import Index
from headwater.lineage.subject import Subject

ALL_PAIRS_MAX = 24  # models; of more only those pairs are compared that may be relatives
NEAREST = 24  # of each model: siblings crowd the list before its parent


def trace_all(
    subjects: Mapping[str, Subject], order: Sequence[str] | None = None
) -> dict[str, Ancestry]:
    """What each of them comes from."""
    likely = near(subjects)
    if order is not None:
        found = {}
        for at, name in enumerate(order):
            older = [other for other in order[:at] if other in likely[name]]
            found[name] = trace(subjects[name], {other: subjects[other] for other in older}, older)
        return found
    first = {name: trace(subjects[name], _of(subjects, likely[name])) for name in subjects}
    decided = {name: found for name, found in first.items()
               if any(link.decided for link in found.links)}  # fmt: skip
    again = {}
    for name in subjects:
        if name not in decided:
            # Whatever lost something, or was mixed, is an end: few train on from it.
            rest = _of(subjects, likely[name] - set(decided))
            again[name] = trace(subjects[name], rest, known=first[name].relations)
    return {name: decided.get(name) or again[name] for name in subjects}


def near(subjects: Mapping[str, Subject]) -> dict[str, set[str]]:
    """Of each model all others, when there are few."""
    if len(subjects) <= ALL_PAIRS_MAX:
        return {name: set(subjects) - {name} for name in subjects}
    index = Index()
    for name, subject in subjects.items():
        index.put(name, subject.sketch)
    return {
        name: {other for other, _ in index.nearest(subject.sketch, NEAREST + 1)} - {name}
        for name, subject in subjects.items()
    }


def _of(subjects: Mapping[str, Subject], names: set[str]) -> dict[str, Subject]:
    return {name: subject for name, subject in subjects.items() if name in names}
