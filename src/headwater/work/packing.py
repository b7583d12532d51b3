"""Packing when nobody waits: blobs that lie quiet become jobs, one at a time in the whole hub.

    tick()    often, in every process: enqueue a job for each blob that waits, or is due again

What waits stands in the catalog. A job's id names the blob and the fingerprint of its bases, so
that ticks of many processes make one job; a job that was lost with its database is made again some
hours later. The job packs first what the blob was made from, then the blob. Killed at any moment it
is taken over and begins anew: nothing was changed before the packed form was proven.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any

from headwater.catalog.catalog import Catalog
from headwater.catalog.clock import now_ms
from headwater.errors import NoSpace, Unavailable
from headwater.jobs.jobs import Again, Jobs, Kind, Run
from headwater.names import Digest
from headwater.settings import Settings
from headwater.store.store import Store
from headwater.work.pack_file import Packer

KIND = "pack.blob"
LANE = "pack"  # one for all: bases come first, and packing leaves cores to those who wait
ATTEMPTS_MAX = 50  # each an hour after the last at most: two days of a full disk
PAGE = 100  # blobs that are enqueued at once; the next come when these are done
COLD_PAGE = 20  # of those that become small
STALE_PAGE = 50  # of those whose bases are looked up again
PACE_MAX_S = 15.0  # between two looks
WHOLE_S = 3600.0  # between two looks at everything that ever came
OVERLAP_MS = 60_000  # looked at twice: a commit may show later than the time it carries
COOLDOWN = 4  # times `pack_after_s`: between two looks for better bases of one blob
YOUNG_ATTEMPTS_MAX = 3  # that wait for a base which came just now; then it is packed without
ANEW_MS = 6 * 3600 * 1000  # a job that was lost is made again
KNOWN_MAX = 10_000


class PackWork:
    def __init__(self, settings: Settings, catalog: Catalog, store: Store, jobs: Jobs) -> None:
        self.catalog = catalog
        self.jobs = jobs
        self.after_ms = settings.pack_after_s * 1000
        self.pace_s = min(PACE_MAX_S, settings.pack_after_s / 60)
        self.packer = Packer(catalog, store)
        self.small_after_ms = settings.pack_small_after_s * 1000
        self._known: OrderedDict[Digest, int] = OrderedDict()
        self._small: OrderedDict[str, None] = OrderedDict()  # jobs that were made
        self._since_ms = 0
        self._next_s = self._whole_s = 0.0  # of the monotonic clock
        jobs.register(Kind(KIND, self._run, attempts_max=ATTEMPTS_MAX))

    def tick(self) -> None:
        """One look at what waits, if it is time for one."""
        now_s = time.monotonic()
        if self.after_ms < 0 or now_s < self._next_s:
            return
        self._next_s = now_s + self.pace_s
        if now_s >= self._whole_s:
            self._whole_s, self._since_ms = now_s + WHOLE_S, 0
        until_ms = now_ms() - self.after_ms
        waiting = self.catalog.packing.waiting(self._since_ms, until_ms, PAGE)
        for oid in waiting:
            self._enqueue(oid)
        if len(waiting) < PAGE:
            self._since_ms = max(0, until_ms - OVERLAP_MS)
        self._look_again()
        self._make_small()

    def _look_again(self) -> None:
        """Enqueue those that are packed and whose bases are others by now."""
        same = []
        for oid in self.catalog.packing.stale(now_ms() - COOLDOWN * self.after_ms, STALE_PAGE):
            look = self.catalog.packing.look(oid)
            if look is None:
                self.catalog.packing.forget(oid)
            elif look.row is not None and look.row.fingerprint == look.fingerprint:
                same.append(oid)
            else:
                self._enqueue(oid, look.fingerprint)
        self.catalog.packing.looked(same)

    def _make_small(self) -> None:
        """Enqueue those that nobody has asked for in a long time."""
        if self.small_after_ms < 0:
            return
        before_ms = now_ms() - self.small_after_ms
        for oid in self.catalog.packing.cold(before_ms, COLD_PAGE):
            id = f"small-{oid}-{now_ms() // ANEW_MS}"
            if id not in self._small:
                self.jobs.enqueue(KIND, id, {"oid": oid, "small": True}, lane=LANE)
                self._small[id] = None
                if len(self._small) > KNOWN_MAX:
                    self._small.popitem(last=False)

    def _enqueue(self, oid: Digest, fingerprint: str | None = None) -> None:
        anew = now_ms() // ANEW_MS
        if fingerprint is None:
            if self._known.get(oid) == anew:
                return
            look = self.catalog.packing.look(oid)
            if look is None:
                return
            fingerprint = look.fingerprint
        self.jobs.enqueue(KIND, f"pack-{oid}-{fingerprint}-{anew}", {"oid": oid}, lane=LANE)
        self._known[oid] = anew
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    def _run(self, run: Run, arg: dict[str, Any]) -> str:
        """One job; what became of its blob."""
        oid = Digest(arg["oid"])
        order = self.packer.order(oid)
        self._wait_for_young(run, order)
        state = "nothing to do"
        try:
            for one in order:
                made = self.packer.pack(one, small=one == oid and bool(arg.get("small")))
                if one == oid and made is not None:
                    state = made.state
        except (NoSpace, Unavailable) as error:
            raise Again(error.message) from None
        return state

    def _wait_for_young(self, run: Run, order: list[Digest]) -> None:
        """Again when one of them came a moment ago; of bases that keep coming, go without."""
        for one in list(order):
            look = self.catalog.packing.look(one)
            left_ms = 0 if look is None else look.created_ms + self.after_ms - now_ms()
            if left_ms <= 0:
                continue
            if one == order[-1] or run.attempt <= YOUNG_ATTEMPTS_MAX:
                raise Again(f"blob {one} came a moment ago", left_ms / 1000 + 1)
            order.remove(one)
