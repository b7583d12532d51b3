"""What one model is to another, and which of the two came first, where the weights can say it.

    relate(one, other) -> Relation

Three questions, each with "not known" among its answers: whether they share their origin, how the
one was made from the other, and which is the child. The weights of two ordinary fine-tunes do not
tell who came first: norms and spectra move either way. What lost information does: a child is
rounded, pruned, cut, and its parent is not. The rules are tried in order, the first that fits
counts; each leaves lines of evidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import erfc, log, log10, pi, sqrt
from typing import Literal

from headwater.lineage.basis import basis
from headwater.lineage.likeness import Z_RELATED, Likeness, likeness
from headwater.lineage.lowrank import low_rank
from headwater.lineage.neurons import LOG10_P_MAX, Neurons, neurons
from headwater.lineage.pair import Pair, Part, compare
from headwater.lineage.rounding import Rounding, rounding
from headwater.lineage.shapes import NUMBERS, Matched, by_shape
from headwater.lineage.subject import Subject

Kind = Literal[
    "copy", "cast", "quantized", "pruned", "cut", "repeated", "resized", "lora", "tuned",
    "permuted", "rotated", "distant", "none",
]  # fmt: skip
Child = Literal["one", "other", ""]

SAME_MIN = 0.9999  # of the numbers: what is smaller than its type can hold is lost by a cast
PRUNED_MIN = 0.05  # of the numbers, zeros more than the other has
KEPT_MIN = 0.9  # of what pruning left
NEAR_COSINE = 0.75  # below it, two models have at most their first weights in common
ERRORS_MIN, ERRORS_MAX = 0.5, 1.3  # rounding errors between a file and what was rounded to make it
MATCHED_MIN = 0.5  # of the shorter model's layers: one that shares less was not cut from it
MOVED_MIN = 0.5  # of the neurons: those of two with the same first weights stand where they stood
_LOWEST = -9999.0


@dataclass(frozen=True, slots=True)
class Relation:
    """`kind` none: no sign of a common origin; distant: the same first weights, at most. `child`:
    empty where the weights do not tell. `log10_p`: of the test that shows the common origin, under
    strangers. `change`: length of the difference in lengths of the first; of what neurons answer
    where the bases differ."""

    kind: Kind
    child: Child
    log10_p: float
    change: float
    unchanged: float
    evidence: tuple[str, ...]
    same: int = 0  # matrices and tables all of whose compared numbers are equal

    @property
    def related(self) -> bool:
        """Whether one comes from the other, or both from a third."""
        return self.kind not in ("none", "distant")


def relate(one: Subject, other: Subject) -> Relation:
    """What the weights of two models say of each other."""
    like = likeness(one.sketch, other.sketch)
    if not like.related:
        return _hidden(one, other, like)
    pair = compare(one.probe, other.probe, like.layers)
    said = [f"sampled numbers correlate at {like.correlation:.4f}, z {like.z:.0f}"]
    cosine = pair.all.cosine
    if cosine < NEAR_COSINE:
        found = neurons(one.model, other.model)
        if found is not None and found.same and found.moved > MOVED_MIN:
            return _turned(one, other, found)
        said.append(f"cosine {cosine:.2f}: no more than the first weights in common")
        return Relation("distant", "", _log10_p(like.z), pair.all.change, 0.0, tuple(said))
    if not pair.matrices.numbers:
        shown = "the words alone are held in common, and no matrix of a layer"
        p = _log10_p(like.z)
        return Relation("distant", "", p, pair.all.change, 0.0, (*said, shown))
    kind, child, lines = next(_rules(one, other, pair))
    all_ = pair.all
    p, lines = _log10_p(like.z), (*said, *lines)
    return Relation(kind, child, p, all_.change, all_.unchanged, lines, all_.same)


Ruling = tuple[Kind, Child, tuple[str, ...]]


def _rules(one: Subject, other: Subject, pair: Pair) -> Iterator[Ruling]:
    """What fits, the most telling first."""
    yield from _layers(one, other, pair)
    yield from _copies(one, other, pair)
    yield from _zeros(pair)
    yield from _rounded(one, other, pair)
    yield from _words(one, other, pair)
    yield from _adapter(one, other, pair)
    part = pair.matrices
    lines = [f"{pair.all.unchanged:.1%} of numbers unchanged, the others moved by "
             f"{pair.all.change:.2%}"]  # fmt: skip
    if part.same or (pair.tables.numbers and pair.tables.same == pair.tables.matrices):
        lines.append(f"{part.same} of {part.matrices} matrices and "
                     f"{pair.tables.same} of {pair.tables.matrices} tables are frozen")  # fmt: skip
    yield "tuned", "", tuple(lines)


def _layers(one: Subject, other: Subject, pair: Pair) -> Iterator[Ruling]:
    """Layers cut out, or repeated. Each layer of the longer one is held against the shorter's: if
    several are the same, it is the child, else the shorter one is."""
    if pair.layers_one == len(pair.layers):
        return
    longer: Child
    shorter: Child
    longer, shorter, matched, count = "other", "one", pair.layers, pair.layers_one
    if pair.layers_one > len(pair.layers):
        longer, shorter, count = "one", "other", len(pair.layers)
        matched = likeness(other.sketch, one.sketch).layers
    known = [layer for layer in matched if layer >= 0]
    shown = f"of {len(matched)} layers {len(known)} are the {count} of the other"
    if len(set(known)) < len(known):
        yield "repeated", longer, (f"{shown}, {len(known) - len(set(known))} of them twice",)
    elif len(known) >= MATCHED_MIN * count:
        yield "cut", shorter, (shown,)


def _copies(one: Subject, other: Subject, pair: Pair) -> Iterator[Ruling]:
    """The same numbers, perhaps in another type."""
    grown = min(pair.rows) and pair.rows[0] != pair.rows[1]
    if pair.all.unchanged < SAME_MIN or not _untouched(pair.vectors) or grown:
        return
    if one.quantized != other.quantized:
        return
    used = one.bits, other.bits
    if one.type_bits == other.type_bits:
        yield "copy", "", (f"{pair.all.unchanged:.2%} of {pair.all.numbers} numbers equal",)
        return
    # Where the wider type uses no more bits than the other has, either may have been first.
    child: Child = "" if used[0] == used[1] else "other" if used[0] > used[1] else "one"
    yield "cast", child, (f"equal when both are cast to {min(used)} bits of significand",)


def _untouched(part: Part) -> bool:
    """Whether all of it is equal; also when there is nothing of it."""
    return not part.numbers or part.unchanged >= SAME_MIN


def _zeros(pair: Pair) -> Iterator[Ruling]:
    part = pair.matrices
    if not part.numbers:
        return
    zeros = part.zeros_one / part.numbers, part.zeros_other / part.numbers
    if abs(zeros[0] - zeros[1]) < PRUNED_MIN:
        return
    child: Child = "other" if zeros[1] > zeros[0] else "one"
    left = part.numbers - max(part.zeros_one, part.zeros_other)
    kept = part.kept / left if left else 0.0
    if kept >= KEPT_MIN:
        shown = f"{max(zeros):.1%} of its numbers are zero, {kept:.1%} of the rest unchanged"
        yield "pruned", child, (shown,)


def _rounded(one: Subject, other: Subject, pair: Pair) -> Iterator[Ruling]:
    """One lies on a grid that the other was rounded to."""
    back = _inverse(pair.layers, pair.layers_one)
    found: list[tuple[Rounding, Child]] = []
    if other.quantized:
        found.append((rounding(other.probe, one.probe, back), "other"))
    if one.quantized:
        found.append((rounding(one.probe, other.probe, pair.layers), "one"))
    for made, child in found:
        if made.on_grid and ERRORS_MIN <= made.errors <= ERRORS_MAX:
            yield "quantized", child, (f"deviation {made.errors:.2f} times the rounding error",)
    near = [(made, child) for made, child in found if made.on_grid and made.errors < ERRORS_MIN]
    if near:
        shown = f"{near[0][0].errors:.2f} rounding errors from a grid: trained from that file"
        # Where both lie on it, most numbers are where they were, yet a block has more of them.
        coarse = near[0][1] if len(near) == 1 else "other" if one.levels > other.levels else "one"
        yield "tuned", "one" if coarse == "other" else "other", (shown,)


def _words(one: Subject, other: Subject, pair: Pair) -> Iterator[Ruling]:
    """The same but for more words, or fewer."""
    same = _untouched(pair.matrices) and _untouched(pair.tables) and _untouched(pair.vectors)
    if pair.rows[0] == pair.rows[1] or not min(pair.rows) or not same:
        return
    larger: Child = "one" if pair.rows[0] > pair.rows[1] else "other"
    untrained = (one if larger == "one" else other).last_words_alike
    yield (
        "resized",
        larger if untrained else "",
        (f"{pair.rows[0]} words and {pair.rows[1]}, all else that was compared is equal",),
    )


def _adapter(one: Subject, other: Subject, pair: Pair) -> Iterator[Ruling]:
    if not _untouched(pair.vectors) or not _untouched(pair.tables):
        return
    found = low_rank(one.model, other.model, pair.layers)
    if found is not None and found.low:
        shown = f"norms and words untouched; what changed has rank {found.rank} of {found.size}"
        yield "lora", "", (shown,)


def _hidden(one: Subject, other: Subject, like: Likeness) -> Relation:
    """Relatives whose numbers do not stand at the same places; or none."""
    if not (one.sketch.signature and other.sketch.signature):
        unnamed = by_shape(one.model, other.model)
        if unnamed.related:
            return _unnamed(unnamed)
    found = neurons(one.model, other.model)
    if found is not None and found.same:
        return _turned(one, other, found)
    words = f", words {like.words:.2f}" if like.words == like.words else ""
    shown = f"no sign: z {like.z:.1f}, strangers stay below {Z_RELATED}{words}"
    p = _log10_p(like.z) if found is None else found.log10_p
    return Relation("none", "", p, float("inf"), 0.0, (shown,))


def _unnamed(found: Matched) -> Relation:
    """Relatives whose tensors are known by their shapes alone."""
    lines = (
        f"{found.tensors} tensors, {found.share:.0%} of the smaller model, matched by shape and "
        f"numbers, which correlate at {found.correlation:.4f}",
        f"{found.equal:.1%} of sampled numbers equal",
    )
    kind: Kind = "tuned" if found.correlation >= NEAR_COSINE else "distant"
    child: Child = ""
    if found.equal >= SAME_MIN:
        kind = "copy"
    elif found.coarse and kind == "tuned":
        kind, child = "quantized", "one" if found.coarse == "one" else "other"
    z = found.correlation * sqrt(NUMBERS * found.tensors)
    change = sqrt(max(2 - 2 * found.correlation, 0.0))
    return Relation(kind, child, _log10_p(z), change, found.equal, lines)


def _turned(one: Subject, other: Subject, found: Neurons) -> Relation:
    turned = basis(one.model, other.model)
    kind: Kind = "rotated" if turned == "rotated" else "permuted"
    change = sqrt(max(2 - 2 * found.alike, 0.0))
    return Relation(kind, "", found.log10_p, change, 0.0, _shown(found, turned))


def _shown(found: Neurons, turned: str | None) -> tuple[str, ...]:
    p = f"p < 1e{LOG10_P_MAX:.0f}" if found.log10_p < LOG10_P_MAX else f"1e{found.log10_p:.0f}"
    lines = [
        f"{found.agreed} of {found.asked} neurons of layer {found.layer} pair up by gate and by "
        f"up, chance {found.chance:.1f}, {p}",
        f"what they answer correlates at {found.alike:.4f}",
    ]
    lines.append(f"directions of the words: {turned or 'not compared'}")
    return tuple(lines)


def _inverse(layers: tuple[int, ...], count: int) -> list[int]:
    """Of each layer of the first model the one of the second that is held against it."""
    back = [-1] * count
    for theirs, ours in enumerate(layers):
        if 0 <= ours < count:
            back[ours] = theirs
    return back


def _log10_p(z: float) -> float:
    """log10 of the chance that a normal variable is above z."""
    if z < 20:
        return log10(max(erfc(z / sqrt(2)) / 2, 1e-300))
    return max(-(z * z / 2 + log(z * sqrt(2 * pi))) / log(10), _LOWEST)
