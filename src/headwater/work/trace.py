"""Tracing models of the catalog among those they may be compared with.

    tracer.trace(isolated, keys)    each in its scopes, and those that may come from it

Candidates are the nearest by their sketches, what cards name, and who was a parent before. Order is
by when each came, but for what a card declares: then the base is the older one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from headwater.catalog.ancestry import Link
from headwater.catalog.catalog import Catalog
from headwater.errors import Corrupt, NotFound
from headwater.lineage.isolated import Bytes, Isolated, Read, Stopped
from headwater.lineage.parents import Ancestry
from headwater.lineage.relation import Relation
from headwater.lineage.search import Index
from headwater.names import Digest
from headwater.store.cache import Cache
from headwater.store.store import Store

NEAREST = 24  # that a model is compared with: siblings crowd the list before its parent
FOUND = 64  # by sketch at first; more while too few of them are of the scope
FOUND_MAX = 16_384  # then those of the scope are far, or a crowd is in the way
AGAIN_MAX = 64  # models that are traced anew for one at once; the others wait for their turn
ALONE_S = 120.0  # for one pair, when all together did not end
LOST = "its bytes are missing or damaged; run `headwater check`"
SIGNS_PAGE = 10_000
BLOCK_BYTES = 256 * 2**10  # what the store verifies at once
KEPT_BYTES_MAX = 64 * 2**20


class Lost(Exception):
    """A model whose bytes cannot be read, by its key."""

    def __init__(self, key: str) -> None:
        super().__init__(LOST)
        self.key = key


class Tracer:
    """Keeps the signs of all sketches in memory, 250 bytes each. For one thread at a time."""

    def __init__(self, catalog: Catalog, blocks: Blocks) -> None:
        self.catalog = catalog
        self.blocks = blocks
        self._index = Index()
        self._last_id = 0

    def trace(self, isolated: Isolated, keys: Sequence[str], until: float) -> Sequence[str]:
        """Trace them, and whoever may come from them, or was found to; those that are left at
        `until`, of the monotonic clock."""
        self._catch_up()
        again: dict[str, None] = {}
        left = list(keys)
        while left and time.monotonic() < until:
            key = left.pop(0)
            again.update(dict.fromkeys(self._children(key)))
            again.update(dict.fromkeys(self._one(isolated, key)))
        rest = [key for key in again if key not in keys]
        done = 0
        while done < min(len(rest), AGAIN_MAX) and time.monotonic() < until:
            self._one(isolated, rest[done])
            done += 1
        self.catalog.ancestry.look_again(rest[done:])
        return left

    def _children(self, key: str) -> list[str]:
        """Who was found to come from it: perhaps it is not to be seen any more."""
        return [link.key for link in self.catalog.ancestry.children([key]).get(key, [])]

    def _one(self, isolated: Isolated, key: str) -> list[str]:
        """Trace it in all of its scopes; models that may come from it."""
        scopes = self.catalog.ancestry.scopes(key)
        self.catalog.ancestry.drop_scopes(key, scopes)
        made: dict[tuple[str, ...], tuple[Ancestry | None, str | None]] = {}
        younger: list[str] = []
        for scope in scopes:
            others, earlier, named = self._candidates(key, scope)
            same = (*sorted(others), "", *earlier)  # of another scope, with the same answer
            if same not in made:
                made[same] = self._found(isolated, key, others, earlier)
            found, failed = made[same]
            self.catalog.ancestry.put(key, scope, found, failed)
            younger += named
            if found is not None:
                younger += [
                    other for other, relation in found.relations.items()
                    if relation.child == "one" or (relation.related and other not in earlier)
                ]  # fmt: skip
        return list(dict.fromkeys(younger))

    def _candidates(self, key: str, scope: int) -> tuple[list[str], list[str], list[str]]:
        """(with whom it is compared, those of them that are older, those whose cards name it)."""
        catalog = self.catalog
        near = self._near(key, scope)
        links: list[Link] = catalog.ancestry.parents([key]).get(key, [])
        bases = catalog.ancestry.declared(key, scope)
        named = catalog.ancestry.declaring(key, scope)
        wanted = [*bases, *(link.parent for link in links), *named, *near]
        times = catalog.sketches.within([key, *wanted], scope)
        known = [one for one in dict.fromkeys(wanted) if one in times and one != key]
        chosen = known[: NEAREST + len(bases)]
        sound = [one for one in chosen if self.catalog.sketches.state(one) in ("made", "none")]

        def order(one: str) -> tuple[int, int, str]:
            came, size = times.get(one, (0, 0))
            return came, -size, one

        mine = order(key)
        older = {
            one for one in sound
            if one in bases or (one not in named and order(one) < mine)
        }  # fmt: skip
        return sound, sorted(older, key=order), named

    def _near(self, key: str, scope: int) -> list[str]:
        """The nearest models of the scope by their sketches. What nobody holds any more leaves the
        index here, so that it crowds out nothing."""
        sketch = self.catalog.sketches.sketch(key)
        if sketch is not None:
            self._index.put(key, sketch)  # dropped, perhaps, while nobody held it
        count, found = FOUND, []
        while sketch is not None:
            near = [name for name, _ in self._index.nearest(sketch, count)]
            for name in set(near) - self.catalog.sketches.held(near):
                self._index.drop(name)
            there = self.catalog.sketches.within(near, scope)
            found = [name for name in near if name in there and name != key]
            if len(found) >= NEAREST or len(near) < count or count >= FOUND_MAX:
                break
            count *= 4
        return found[:NEAREST] + self.catalog.sketches.alike(key, NEAREST)

    def _found(
        self, isolated: Isolated, key: str, others: Sequence[str], earlier: Sequence[str]
    ) -> tuple[Ancestry | None, str | None]:
        """(its parents among them, why they could not be found)."""
        if self.catalog.sketches.state(key) not in ("made", "none"):
            return None, None
        if not others:
            return Ancestry((), {}), None
        files = self.catalog.sketches.files([key, *others])
        if key not in files:
            return None, None
        models = {name: self.blocks.bytes_of(name, kept) for name, kept in files.items()}
        there = [name for name in others if name in models]
        while True:
            known = self.catalog.sketches.kin(there, key)
            try:
                found = isolated.trace(
                    models[key], [models[name] for name in there], earlier, known
                )
            except Lost as lost:
                if lost.key == key:
                    return None, LOST
                there.remove(lost.key)
            except Stopped as stopped:
                sound = self._sound(isolated, models, key, there)
                if not sound or sound == there:
                    return None, str(stopped)
                there = sound
            else:
                new: dict[str, Relation] = {
                    name: relation
                    for name, relation in found.relations.items()
                    if name not in known
                }
                self.catalog.sketches.put_kin(new, key)
                return found, None
            if not there:
                return Ancestry((), {}), None

    def _sound(
        self, isolated: Isolated, models: Mapping[str, Bytes], key: str, others: Sequence[str]
    ) -> list[str]:
        """Of models that could not be compared all at once, those that can be one by one. Others
        are compared with nobody again, if any can: else it is not they."""
        sound, reasons = [], {}
        for name in others:
            known = self.catalog.sketches.kin([name], key)
            try:
                isolated.trace(models[key], [models[name]], [name], known, wall_s=ALONE_S)
                sound.append(name)
            except Stopped as stopped:
                reasons[name] = str(stopped)
            except Lost:
                continue
        for name, reason in reasons.items() if sound else ():
            self.catalog.sketches.fail(name, f"comparing it did not end: {reason}")
        return sound

    def _catch_up(self) -> None:
        """Take in what was sketched since, by whatever process."""
        while rows := self.catalog.sketches.signs_since(self._last_id, SIGNS_PAGE):
            self._index.put_packed([(key, signs) for _, key, signs in rows])
            self._last_id = rows[-1][0]


class Blocks:
    """Small reads of large files: the store opens and verifies a block for each, so the last ones
    are kept."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._kept: Cache[tuple[Digest, int], bytes] = Cache(KEPT_BYTES_MAX)

    def bytes_of(self, key: str, files: Iterable[tuple[Digest, int]]) -> Bytes:
        """A model whose files the store gives, every byte verified. Reading raises `Lost` when they
        are not there, or damaged."""

        def reader(oid: Digest, size: int) -> Read:
            def read(start: int, stop: int) -> bytes:
                try:
                    return self.read(oid, size, start, stop)
                except (NotFound, Corrupt) as error:
                    raise Lost(key) from error

            return read

        named = ((str(at), size, reader(oid, size)) for at, (oid, size) in enumerate(files))
        return Bytes(key, tuple(named))

    def read(self, oid: Digest, size: int, start: int, stop: int) -> bytes:
        """Like `pread` of a blob of that size: what lies past its end is not given."""
        start, stop = min(start, size), min(stop, size)
        if stop - start >= BLOCK_BYTES:
            return self._fetch(oid, start, stop)
        parts = []
        while start < stop:
            number = start // BLOCK_BYTES
            at = number * BLOCK_BYTES
            block = self._kept.get((oid, number))
            if block is None:
                block = self._fetch(oid, at, min(at + BLOCK_BYTES, size))
                self._kept.put((oid, number), block, len(block))
            parts.append(block[start - at : stop - at])
            start = min(stop, at + BLOCK_BYTES)
        return b"".join(parts)

    def _fetch(self, oid: Digest, start: int, stop: int) -> bytes:
        return b"".join(self.store.read(oid, start, stop))
