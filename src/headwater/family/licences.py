"""What the licences of a family ask of one another.

    obligations(license, name) -> Obligations    of one licence; `name` where it is "other"
    conflicts(graph, name) -> tuple[Conflict]    what its ancestors ask and its own does not keep
    unknown_above(graph, name) -> names          ancestors of which nobody can say

It says what to look at, and is no advice: it knows a licence by its identifier on a card, never
its text. To credit somebody is compatible with every licence and makes no conflict.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from headwater.family.draw_words import plain
from headwater.family.graph import Graph, Node
from headwater.family.licence_terms import (
    ATTRIBUTION,
    NAMED,
    OWN_TERMS,
    SHARE_ALIKE,
    SHARED_AS,
    TERMS,
    WORDS,
)

CONFLICTS_MAX = 1000  # the nearest; each holds its chain, and a chain of cards may be long
_Said = str | None


@dataclass(frozen=True, slots=True)
class Obligations:
    """`words` of `licence_terms`; none where it is not `known` what the licence asks."""

    known: bool
    words: frozenset[str] = field(default=frozenset())


@dataclass(frozen=True, slots=True)
class Conflict:
    """What `ancestor` asks and the model that was asked about does not pass on."""

    ancestor: str
    ancestor_license: str
    license: str | None  # of the model
    missing: tuple[str, ...]  # in the order of WORDS
    via: tuple[str, ...]  # names from the model up to the ancestor, both included
    line: str  # all of it in a sentence, made of visible characters only


def obligations(license: str | None, name: str | None = None) -> Obligations:
    """Of an identifier of the Hugging Face hub. Whatever is not in the table is not known."""
    words = TERMS.get(_key(license))
    if words is None and _key(license) == "other":
        words = NAMED.get(_key(name)) or TERMS.get(_key(name))
    return Obligations(False) if words is None else Obligations(True, words)


def conflicts(graph: Graph, name: str) -> tuple[Conflict, ...]:
    """One for each ancestor that asks for more, the nearest first."""
    own = graph.nodes.get(name) or Node(name, here=False)
    found: list[Conflict] = []
    came_from = _ways(graph, name)
    for ancestor in came_from:
        node = graph.nodes.get(ancestor)
        missing = _missing(node, own) if node is not None and ancestor != name else ()
        if node is None or not missing:
            continue
        via = [ancestor]
        while via[-1] != name:
            via.append(came_from[via[-1]])
        found.append(
            Conflict(
                ancestor,
                _spelt(node) or "",
                _spelt(own),
                missing,
                tuple(reversed(via)),
                _line(node, own, missing),
            )
        )
        if len(found) == CONFLICTS_MAX:
            break
    return tuple(found)


def unknown_above(graph: Graph, name: str) -> tuple[str, ...]:
    """Ancestors without a licence, or with one that is not known here, the nearest first."""
    return tuple(one for one in graph.above(name) if not _asks(graph.nodes.get(one)).known)


def _asks(node: Node | None) -> Obligations:
    return Obligations(False) if node is None else obligations(node.license, node.license_name)


def _missing(above: Node, own: Node) -> tuple[str, ...]:
    asked, kept = _asks(above), _asks(own)
    if _identity(above) == _identity(own):
        return ()
    missing = asked.words - kept.words - {ATTRIBUTION}
    if OWN_TERMS in asked.words:
        missing |= {OWN_TERMS}  # another's are not these
    if SHARE_ALIKE in asked.words and _identity(own) not in SHARED_AS.get(_identity(above), ()):
        missing |= {SHARE_ALIKE}
    return tuple(word for word in WORDS if word in missing)


def _ways(graph: Graph, name: str) -> dict[str, str]:
    """Of every ancestor the next one down on a shortest way, the nearest first."""
    found, todo = {name: name}, [name]
    for at in todo:  # grows as it is read
        for edge in graph.parents(at):
            if edge.parent not in found:
                found[edge.parent] = at
                todo.append(edge.parent)
    return found


def _key(said: _Said) -> str:
    return (said or "").strip().lower()


def _identity(node: Node) -> str:
    """One word for one licence."""
    key = _key(node.license)
    return _key(node.license_name) or key if key == "other" else key


def _spelt(node: Node) -> str | None:
    key = _key(node.license)
    if key == "other" and _key(node.license_name):
        return f"other ({plain(node.license_name or '')})"
    return plain(key) if key else None


def _line(above: Node, own: Node, missing: tuple[str, ...]) -> str:
    asks = f"{plain(above.name)} is under {_spelt(above)} ({', '.join(missing)})"
    model, it = plain(own.name), "it" if len(missing) == 1 else "them"
    if _asks(own).known:
        return f"{asks}; {model} says {_spelt(own)}, which drops {it}"
    if _spelt(own) is None:
        return f"{asks}; {model} names no licence, so nothing says that it keeps {it}"
    return f"{asks}; {model} says {_spelt(own)}: read there whether it keeps {it}"
