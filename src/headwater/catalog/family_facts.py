"""What may be told of the parents of a model, and to whom.

    Facts(actor, links, holders, kin, lines).of(repo, unit)    its parents, with the evidence
    sees_all_of(actor, owner_id)                               who hears of an owner's own trace

The owner's trace, made among private models, is for those who see all of the owner's repos: even
where each parent is public, the order in which they came may be known from a private copy alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headwater.catalog.actors import Actor
from headwater.catalog.ancestry import Link
from headwater.catalog.models import Repo
from headwater.catalog.sketches import PUBLIC, Held
from headwater.family.graph import Inferred
from headwater.lineage.relation import Relation


@dataclass(frozen=True, slots=True)
class Holder:
    repo: Repo
    path: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the models of some repos, and who asks."""

    actor: Actor
    links: Mapping[str, Sequence[Link]]
    holders: Mapping[str, Sequence[Holder]]  # those to be seen
    kin: Mapping[tuple[str, str], Relation]
    lines: Mapping[tuple[str, int], tuple[str, ...]]  # by model and scope, of all links together

    def of(self, repo: Repo, unit: Held) -> list[tuple[Repo, Inferred]]:
        """The parents of a model as they may be told."""
        first = self.holders.get(unit.key, ())[:1]
        if first and first[0].repo.id != repo.id:  # the very same files were there before
            shown = ("the same files, byte for byte",)
            inferred = Inferred("copy", False, 1.0, 0.0, 0.0, 1.0, shown, unit.path, first[0].path)
            return [(first[0].repo, inferred)]
        chosen, scope = self._shown(repo, self.links.get(unit.key, ()))
        named = {link.parent: self._holder(repo, link.parent) for link in chosen}
        lines = self.lines.get((unit.key, scope), ())
        for key, holder in named.items():
            lines = tuple(line.replace(key, holder.repo.full) for line in lines)
        made = []
        for link in chosen:
            holder, found = named[link.parent], self.kin.get((link.parent, unit.key))
            if found is not None:
                made.append((holder.repo, Inferred(
                    link.kind, link.decided, link.weight, found.log10_p, found.change,
                    found.unchanged, (*lines, *found.evidence), unit.path, holder.path,
                )))  # fmt: skip
        return made

    def _shown(self, repo: Repo, links: Sequence[Link]) -> tuple[list[Link], int]:
        """The links found among the owner's models for whoever sees all that the owner has; else
        those found among the public ones. Where not all of them are to be seen, none is: lines on a
        merge name every part."""
        scopes = [PUBLIC]
        if sees_all_of(self.actor, repo.owner_id):
            scopes.insert(0, repo.owner_id)
        for scope in scopes:
            some = [link for link in links if link.scope == scope]
            if some and all(link.parent in self.holders for link in some):
                return some, scope
        return [], PUBLIC

    def _holder(self, repo: Repo, key: str) -> Holder:
        """Of several that hold a parent: the repo itself, else the first that had it."""
        holders = self.holders[key]
        return next((one for one in holders if one.repo.id == repo.id), holders[0])


def sees_all_of(actor: Actor, owner_id: int) -> bool:
    """Whether no repo of that owner is hidden from the actor, whatever the token."""
    if actor.token_role == "fineGrained" or actor.is_anonymous:
        return False
    return actor.is_admin or actor.role_in(owner_id) is not None
