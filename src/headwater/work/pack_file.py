"""Packing one file after what it was made from, for the job and for the command alike.

    packer.order(oid)   what is to be packed for it: its bases that never were, roots first, then it
    packer.pack(oid)    that one blob against its bases, and the row of what became of it

A blob that is damaged, or that the codec fails at, stays as it is and is not tried again by itself;
what only has to wait (a full disk, a store that is being swept) is raised and leaves no row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from headwater.catalog.catalog import Catalog
from headwater.catalog.packing import SETTLED, Look, State
from headwater.errors import HeadwaterError, NoSpace, NotFound, Unavailable
from headwater.names import Digest
from headwater.store.packs import Usage
from headwater.store.store import Store

log = logging.getLogger(__name__)

CHAIN_MAX = 16  # bases of bases: families are flat, and cards may name each other in a ring
ORDER_MAX = 500  # blobs that are packed for one: a base in many parts, and what that was made from

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Packed:
    """What became of one blob."""

    oid: Digest
    state: State
    raw_bytes: int
    before_bytes: int  # that it took in the store; what it shares is counted whole
    after_bytes: int
    means: dict[str, int]  # raw bytes by the means that keep them now
    error: str | None = None


class Packer:
    def __init__(self, catalog: Catalog, store: Store) -> None:
        self.catalog = catalog
        self.store = store

    def order(self, oid: Digest) -> list[Digest]:
        """Roots first, `oid` last; each once, however the cards refer to each other."""
        seen, order = {oid}, []

        def visit(one: Digest, depth: int) -> None:
            look = self.catalog.packing.look(one) if depth < CHAIN_MAX else None
            for root in look.unsettled if look is not None else ():
                if root not in seen and len(seen) < ORDER_MAX:
                    seen.add(root)
                    visit(root, depth + 1)
            order.append(one)

        visit(oid, 0)
        return order

    def pack(
        self,
        oid: Digest,
        *,
        again: bool = False,
        small: bool = False,
        progress: Progress | None = None,
    ) -> Packed | None:
        """Pack it, or pack it anew when its bases changed or `again` says so; `small`: in the
        smallest forms, slow to read. None when there was nothing to do, or it is gone. NoSpace and
        Unavailable: not now."""
        look = self.catalog.packing.look(oid)
        before = self.store.usage(oid) if look is not None else None
        if look is None or before is None:
            return None
        if not again and not _due(look, small):
            return None
        try:
            made = self._made(look, before, progress, small)
        except (NoSpace, Unavailable):
            raise
        except NotFound:  # deleted while it was looked at
            return None
        except Exception as error:  # a bug of the codec must not stop the rest, nor come for ever
            if not isinstance(error, HeadwaterError):
                log.exception("packing %s", oid)
            why = error.message if isinstance(error, HeadwaterError) else repr(error)
            made = Packed(
                oid, "failed", before.raw_bytes, _bytes(before), _bytes(before), before.means, why
            )
        self.catalog.packing.settle(oid, made.state, look.fingerprint, made.error)
        if made.state in ("packed", "small"):
            self.store.release_xorbs(self.catalog.packing.sharing(oid))
        return made

    def unpack(self, oid: Digest) -> bool:
        """Back to its chunks, or plain; it stays so until somebody packs it by hand. False when it
        was not packed."""
        blob = self.store.find(oid)
        if blob is None:
            return False
        if blob.layout == "packed":
            self.store.unpack(oid)
        self.catalog.packing.settle(oid, "unpacked", "")
        return blob.layout == "packed"

    def _made(self, look: Look, before: Usage, progress: Progress | None, small: bool) -> Packed:
        oid, bases = look.oid, look.bases
        small = small or (look.row is not None and look.row.state == "small")
        done: State = "small" if small else "packed"
        blob = self.store.find(oid)
        if blob is not None and blob.layout == "packed":
            if bases or small:
                self.store.repack(oid, bases, small=small, progress=progress)
            after = self.store.usage(oid) or before
            return Packed(oid, done, after.raw_bytes, _bytes(before), _bytes(after), after.means)
        made = self.store.pack(oid, bases, small=small, progress=progress)
        after = self.store.usage(oid) or before
        state: State = "kept" if made is None else done
        taken = _bytes(after) if made is None else made.stored_bytes
        return Packed(oid, state, after.raw_bytes, _bytes(before), taken, after.means)


def _due(look: Look, small: bool) -> bool:
    row = look.row
    if row is None or (small and row.state == "packed"):
        return True
    return row.state in SETTLED and row.fingerprint != look.fingerprint


def _bytes(usage: Usage) -> int:
    """What a blob takes; one made of chunks counts as long as it is."""
    if "chunked" in usage.means:
        return usage.raw_bytes
    return usage.own_bytes + sum(usage.tensors.values())
