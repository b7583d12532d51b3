"""Three published ways to tell a model's parent from weights, written anew from their papers.

    mother     MoTHer (Horwitz et al., arXiv:2405.18432): distance of the weights; among relatives
               (nearer than two strangers are) the nearest of those whose kurtosis is higher
    huref      HuRef (Zeng et al., arXiv:2312.04828): cosine of products that permuting and turning
               leave alone, E Wq Wk' E' and E Wv Wo E' over some words; related above 0.8
    intrinsic  Intrinsic fingerprint (arXiv:2507.03014): correlation of the spread of q, k, v, o
               over the layers; related above 0.9

Each takes (subjects, order of arrival) and gives a parent or none. They know no kinds of edge, so a
kind is asked of none but the most frequent one.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from headwater.lineage.roles import EMBED, MATRICES, Role
from headwater.lineage.sampling import read_rows
from headwater.lineage.subject import Subject

Found = dict[str, list[tuple[str, str]]]
KIND = "tuned"
WORDS = 128
STRANGERS = 1.2  # of two independent models of one spread the distance is the square root of two
HUREF_MIN = 0.8
INTRINSIC_MIN = 0.9
ATTENTION = ("q", "k", "v", "o")


def mother(subjects: Mapping[str, Subject], order: Sequence[str]) -> Found:
    kurtosis = {name: _kurtosis(subjects[name]) for name in order}

    def near(one: str, other: str) -> float:
        apart = _distance(subjects[one], subjects[other])
        if apart >= STRANGERS or kurtosis[other] < kurtosis[one]:
            return -np.inf
        return -apart

    return _each(order, near)


def huref(subjects: Mapping[str, Subject], order: Sequence[str]) -> Found:
    terms = {name: _invariants(subjects[name]) for name in order}

    def near(one: str, other: str) -> float:
        a, b = terms[one], terms[other]
        if a is None or b is None or a.shape != b.shape:
            return -np.inf
        cosine = float(np.mean([_cosine(x, y) for x, y in zip(a, b, strict=True)]))
        return cosine if cosine >= HUREF_MIN else -np.inf

    return _each(order, near)


def intrinsic(subjects: Mapping[str, Subject], order: Sequence[str]) -> Found:
    curves = {name: _spreads(subjects[name]) for name in order}

    def near(one: str, other: str) -> float:
        a, b = curves[one], curves[other]
        if a is None or b is None or a.shape != b.shape:
            return -np.inf
        found = float(np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)]))
        return found if found >= INTRINSIC_MIN else -np.inf

    return _each(order, near)


PEERS: dict[str, Callable[[Mapping[str, Subject], Sequence[str]], Found]] = {
    "mother": mother,
    "huref": huref,
    "intrinsic": intrinsic,
}


def _each(order: Sequence[str], near: Callable[[str, str], float]) -> Found:
    """Of each the nearest of those before it, if any is a relative."""
    found: Found = {}
    for at, name in enumerate(order):
        rated = [(near(name, other), other) for other in order[:at]]
        best = max(rated, default=(-np.inf, ""))
        found[name] = [(best[1], KIND)] if np.isfinite(best[0]) else []
    return found


def _distance(one: Subject, other: Subject) -> float:
    """Of the matrices both have, in spreads of the first."""
    apart = size = 0.0
    for role, rows in one.probe.rows.items():
        theirs = other.probe.rows.get(role)
        if role.kind in MATRICES and theirs is not None and theirs.shape == rows.shape:
            apart += float(((rows - theirs) ** 2).sum())
            size += float((rows**2).sum())
    return float(np.sqrt(apart / size)) if size else np.inf


def _kurtosis(subject: Subject) -> float:
    parts = [rows.ravel() for role, rows in subject.probe.rows.items() if role.kind in MATRICES]
    values = np.concatenate([part / (part.std() or 1) for part in parts]).astype(np.float64)
    return float((values**4).mean())


def _spreads(subject: Subject) -> np.ndarray | None:
    """(4, layers)."""
    rows = subject.probe.rows
    layers = range(subject.probe.layers)
    if not all(Role(layer, kind) in rows for layer in layers for kind in ATTENTION):
        return None
    made = [[rows[Role(layer, kind)].std() for layer in layers] for kind in ATTENTION]
    return np.array(made)


def _invariants(subject: Subject) -> np.ndarray | None:
    """(layers x 2, words, words): the products over some words, with the norms of q and k's input
    folded in. Values and outputs as `x Wv' Wo'`."""
    model = subject.model
    table = model.matrices.get(Role(-1, EMBED))
    if table is None or table.rows < WORDS:
        return None
    embedded = read_rows(model, table, np.arange(WORDS, dtype=np.int64)).astype(np.float64)
    made = []
    for layer in (0, subject.probe.layers - 1):
        parts = [model.matrices.get(Role(layer, kind)) for kind in ATTENTION]
        if any(part is None for part in parts):
            return None
        q, k, v, o = (
            read_rows(model, part, np.arange(part.rows, dtype=np.int64)).astype(np.float64)
            for part in parts
            if part is not None
        )
        norm = subject.probe.rows.get(Role(layer, "norm1"))
        scaled = embedded * (norm if norm is not None else 1.0)
        made += [(scaled @ q.T) @ (scaled @ k.T).T, (scaled @ v.T) @ o.T @ embedded.T]
    return np.array(made)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    scale = np.linalg.norm(a) * np.linalg.norm(b)
    return float((a * b).sum() / scale) if scale else 0.0
