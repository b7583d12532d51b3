"""Who descends from whom, found when nobody waits: each model once, as it comes to a repo.

    tick()    often, in every process: enqueue a job for each repo that was pushed to

A job sketches the models of one repo, traces each among those it may be compared with, and traces
anew those whose parent it may be: quantizations that were there before their original, models whose
cards name it. Killed at any moment it begins anew; what was found by then is kept. Weights are read
in a process that may be killed (`lineage.isolated`): a file that hangs it, or is no model, is noted
with the reason and not tried again until the rules change.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from headwater.catalog.catalog import Catalog
from headwater.catalog.clock import now_ms
from headwater.catalog.models import Repo
from headwater.errors import HeadwaterError, Malformed, Unavailable
from headwater.jobs.jobs import Again, Jobs, Kind, Run
from headwater.lineage.isolated import Isolated, Stopped
from headwater.lineage.sketch import Sketch
from headwater.lineage.units import Unit, UnitFile, units
from headwater.names import GitOid
from headwater.settings import Settings
from headwater.store.store import Store
from headwater.work.trace import Blocks, Lost, Tracer

log = logging.getLogger(__name__)

KIND = "lineage.repo"
LANE = "lineage"  # one for all: what comes later is compared with what came before
ATTEMPTS_MAX = 20  # each an hour after the last at most: most of a day of a store that is away
PAGE = 100  # repos that are enqueued at once; the next come when these are done
PACE_S = 2.0  # between two looks at what happened
ROUND_S = 20.0  # between two looks at all repos when nothing did
SWEEP_S = 600.0  # between two looks for what no repo holds any more
TURN_S = 600.0  # of one repo; then others have their turn
TURNS_MAX = 100  # repos that wait for their next one
AGAIN_S = 1.0
ORPHANS_MAX = 10_000  # in one round
FILES_MAX = 5_000  # of one repo
ANEW_MS = 6 * 3600 * 1000  # a job that was lost is made again
KNOWN_MAX = 10_000


class LineageWork:
    def __init__(self, settings: Settings, catalog: Catalog, store: Store, jobs: Jobs) -> None:
        self.catalog = catalog
        self.jobs = jobs
        self.wanted = settings.lineage
        self.blocks = Blocks(store)
        self.tracer = Tracer(catalog, self.blocks)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._isolated = Isolated()  # kept from one job to the next, while there are any
        self._busy = threading.Lock()
        self._left: dict[tuple[int, GitOid], Sequence[str]] = {}  # of repos with many models
        self._after_id = 0  # of the repo up to which this round has come
        self._next_s = 0.0  # of the monotonic clock
        self._event = -1  # the last one that was seen
        self._round_s = 0.0
        self._sweep_s = time.monotonic() + SWEEP_S
        jobs.register(Kind(KIND, self._run, attempts_max=ATTEMPTS_MAX))

    def tick(self) -> None:
        """One look at what waits, if it is time for one."""
        now_s = time.monotonic()
        if not self.wanted or now_s < self._next_s:
            return
        self._next_s = now_s + PACE_S
        if not self._worth_a_look(now_s):
            return
        if now_s >= self._sweep_s:
            self._sweep_s = now_s + SWEEP_S
            self.sweep()
        # By turns through all of them: those whose jobs fail again and again hold up nobody.
        waiting = self.catalog.ancestry.unlooked(PAGE, self._after_id)
        if not waiting and not self._after_id:
            self.rest()
        self._after_id = waiting[-1].repo.id if len(waiting) == PAGE else 0
        for one in waiting:
            repo = one.repo
            stands = f"{repo.owner_id}-{int(repo.private)}{int(repo.disabled)}"
            id = f"lineage-{repo.id}-{one.commit}-{stands}-{one.last_ms}-{now_ms() // ANEW_MS}"
            if id in self._known:
                continue
            self.jobs.enqueue(KIND, id, {"repo": repo.id}, lane=LANE)
            self._known[id] = None
            if len(self._known) > KNOWN_MAX:
                self._known.popitem(last=False)

    def _worth_a_look(self, now_s: float) -> bool:
        """To look through all repos takes a tenth of a second of a hundred thousand: it is done
        when something happened, while there is more, and now and then."""
        last = self.catalog.labels.last_event()
        if last == self._event and not self._after_id and now_s < self._round_s:
            return False
        self._event, self._round_s = last, now_s + ROUND_S
        return True

    def sweep(self) -> None:
        """Forget what no repo holds; look again at whoever lost a parent with it."""
        self.catalog.ancestry.look_again(self.catalog.ancestry.orphans(ORPHANS_MAX))
        self.catalog.sketches.forget_unheld()

    def rest(self) -> None:
        """Between jobs no process waits. Does nothing while there is one at work."""
        if self._busy.acquire(blocking=False):
            try:
                self._isolated.close()
            finally:
                self._busy.release()

    def _run(self, run: Run, arg: dict[str, Any]) -> str:
        """One job; how many models it looked at."""
        found = self.catalog.ancestry.repo(arg["repo"])
        if found is None:
            return "nothing to do"
        try:
            return f"{self.look(*found)} models"
        except Unavailable as error:
            raise Again(error.message) from None

    def look(self, repo: Repo, commit: GitOid) -> int:
        """Sketch and trace the models of a repo, as `commit` has them; how many there are."""
        try:
            models = models_of(self.catalog, repo, commit)
        except Unavailable:
            raise
        except HeadwaterError as error:  # deleted meanwhile, or damaged: `check` says so
            log.warning("lineage of %s: %s", repo.full, error.message)
            models = ()
        keys = list(dict.fromkeys(unit.key for unit in models))
        # What leaves this repo may be nobody's parent then: its children are looked at again,
        # whatever becomes of this job.
        before = self.catalog.sketches.units([repo.id]).get(repo.id, [])
        left = {held.key for held in before} - set(keys)
        links = self.catalog.ancestry.children(left)
        self.catalog.ancestry.look_again(link.key for some in links.values() for link in some)
        self.catalog.sketches.set_units(repo, models)
        until = time.monotonic() + TURN_S
        turn = repo.id, commit
        with self._busy:
            for unit in models:
                if self.catalog.sketches.state(unit.key) is None and time.monotonic() < until:
                    self._sketch(self._isolated, unit)
            todo = self.tracer.trace(self._isolated, self._left.pop(turn, keys), until)
        if todo:
            self._left = {turn: todo, **dict(list(self._left.items())[:TURNS_MAX])}
            raise Again(f"{repo.full} has many models; others have their turn", AGAIN_S)
        self.catalog.ancestry.looked(repo, commit)
        return len(models)

    def _sketch(self, isolated: Isolated, unit: Unit) -> None:
        files = [(file.oid, file.size_bytes) for file in unit.files]
        try:
            made = isolated.sketch(self.blocks.bytes_of(unit.key, files))
            sketch = Sketch.unpack(made.sketch)
        except (Stopped, Lost) as stopped:
            self.catalog.sketches.put(unit, None, reason=str(stopped))
        except Malformed as error:
            self.catalog.sketches.put(unit, None, reason=error.message)
        else:
            self.catalog.sketches.put(unit, sketch, made.shapes)


def models_of(catalog: Catalog, repo: Repo, revision: str) -> Sequence[Unit]:
    """The models of a repo at a revision, the largest first."""
    tree = catalog.refs.resolve(repo, revision).tree
    entries = catalog.files.list(repo, tree, recursive=True, limit=FILES_MAX)
    return units(
        UnitFile(str(entry.path), entry.lfs.oid, entry.size_bytes)
        for entry in entries
        if entry.kind == "file" and entry.lfs is not None and not entry.lfs.gone
    )
