"""What repos take on disk: logical bytes, stored bytes, and by what means.

    tally = Tally(whole)    is every blob of the hub going to be added?
    tally.add(groups, oid, usage, xorbs)    a blob, and the groups (repos, families) that hold it
    tally.groups(), tally.total()           -> {group: Storage}, Storage

What several groups hold is on disk once: it is counted once in the total, and split evenly among
the groups that name it. So the groups add up to the total, and deleting one of them gives back less
than its share, or nothing. Of the whole hub, a tensor that no blob names any more, but that others
are coded against, is split among the groups that lean on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass

from headwater.names import Digest, XetHash
from headwater.store.packs import Usage

Parts = dict[Hashable, tuple[int, set[Hashable]]]  # of the disk: bytes, and whose


@dataclass(frozen=True, slots=True)
class Storage:
    """What one group comes to. `means`: logical bytes by what keeps them."""

    blobs: int
    logical_bytes: int
    stored_bytes: int
    means: dict[str, int]


class Tally:
    """Sums over blobs, each added once."""

    def __init__(self, whole: bool = False) -> None:
        self._whole = whole
        self._kept: Parts = {}
        self._leaned: Parts = {}
        self._blobs: Counter[Hashable] = Counter()
        self._logical: Counter[Hashable] = Counter()
        self._means: dict[Hashable, Counter[str]] = {}
        self._all = (Counter[str](), Counter[str]())

    def add(
        self,
        groups: Collection[Hashable],
        oid: Digest,
        usage: Usage,
        xorbs: Mapping[XetHash, int],
    ) -> None:
        """A blob. `xorbs`: those that it is read out of, with their bytes on disk."""
        for group in groups:
            self._blobs[group] += 1
            self._logical[group] += usage.raw_bytes
            self._means.setdefault(group, Counter()).update(usage.means)
        counted, means = self._all
        counted.update(blobs=1, logical=usage.raw_bytes)
        means.update(usage.means)
        parts: dict[Hashable, int] = {("blob", oid): usage.own_bytes}
        parts |= {("tensor", name): size for name, size in usage.tensors.items()}
        parts |= {("xorb", name): size for name, size in xorbs.items()}
        for part, size in parts.items():
            self._kept.setdefault(part, (size, set()))[1].update(groups)
        for name, size in usage.parents.items() if self._whole else ():
            self._leaned.setdefault(("tensor", name), (size, set()))[1].update(groups)

    def groups(self) -> dict[Hashable, Storage]:
        """What each group comes to, its share of what is shared rounded to whole bytes."""
        stored: dict[Hashable, float] = dict.fromkeys(self._logical, 0.0)
        for size, owners in (self._leaned | self._kept).values():
            for owner in owners:
                stored[owner] += size / len(owners)
        return {
            group: Storage(
                self._blobs[group],
                self._logical[group],
                round(stored[group]),
                dict(self._means[group]),
            )
            for group in self._logical
        }

    def total(self) -> Storage:
        """All blobs, each counted once, however many groups hold it."""
        counted, means = self._all
        stored = sum(size for size, _ in (self._leaned | self._kept).values())
        return Storage(counted["blobs"], counted["logical"], stored, dict(means))
