"""Labels made when they are needed: at the first look, or soon after a push.

    labelling.verdicts(repo, entries, seconds) -> {etag: Verdict}   looks at what has none yet
    labelling.weights(repo, entries)           -> Weighed           what safetensors and GGUF say
    labelling.look(repo, commit)               the summary of main, kept beside the repo
    labelling.work(), .sweep()                 in the background, within a time each

A commit never waits for this. What cannot be looked at within its time has no verdict yet and is
shown as queued. Damaged bytes get no label: `check` reports them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from headwater.catalog.catalog import Catalog
from headwater.catalog.labels import is_of
from headwater.catalog.models import Entry, Repo
from headwater.errors import HeadwaterError
from headwater.formats.inspection import Verdict
from headwater.hub.inspector import ENDED, Inspector, Read, reader_of
from headwater.hub.weights import Weighed, is_weight, weigh
from headwater.names import GitOid
from headwater.store.store import Store

log = logging.getLogger(__name__)

LOOK_S = 4.0  # of one request: a page waits no longer for files that nobody looked at before
REPO_S = 30.0  # of one repo in the background
WORK_S = 60.0  # of one round in the background
FILES_MAX = 5_000  # of one repo; the rest has no labels, and a page says so
ORDINARY_BYTES_MAX = 16 * 2**20  # a file that lies in git is read whole
SWEEP_REPOS = 500  # of one round


class Labelling:
    def __init__(self, catalog: Catalog, store: Store, inspector: Inspector | None = None) -> None:
        self.catalog = catalog
        self.store = store
        self.inspector = inspector or Inspector()
        self._seen_event: int | None = None
        self._lock = threading.Lock()  # one background round at a time
        self._stopped = threading.Event()

    def close(self) -> None:
        """Stop between two files, and end the worker. The hub is going down."""
        self._stopped.set()
        self.inspector.close()

    # Labels

    def verdicts(
        self, repo: Repo, entries: Iterable[Entry], seconds: float = LOOK_S
    ) -> dict[str, Verdict]:
        """A verdict for each file by its etag; those that `seconds` did not suffice for lack."""
        here = (e for e in entries if e.kind == "file" and not (e.lfs and e.lfs.gone))
        files = {e.etag: e for e in here}
        found = self.catalog.labels.of(files)
        deadline = time.monotonic() + seconds
        made: dict[str, Verdict] = {}
        try:
            for etag, entry in files.items():
                if etag in found:
                    continue
                if time.monotonic() >= deadline or self._stopped.is_set():
                    break
                verdict = self._inspect(repo, entry)
                if verdict is not None:
                    made[etag] = verdict
        finally:
            with _best_effort():
                self.catalog.labels.put(made)
        return found | made

    def _inspect(self, repo: Repo, entry: Entry) -> Verdict | None:
        """A verdict; None on bytes that cannot be read, being damaged or missing.

        What ended the worker may have been a busy machine and not the file: it has a second try
        before that is kept.
        """
        try:
            read = self._reader(repo, entry)
            verdict = self.inspector.inspect(read, entry.size_bytes)
            if verdict.kind == ENDED:
                verdict = self.inspector.inspect(read, entry.size_bytes)
        except HeadwaterError:
            return None
        return None if verdict.kind == ENDED and self._stopped.is_set() else verdict

    def _reader(self, repo: Repo, entry: Entry) -> Read:
        if entry.lfs is not None:
            oid = entry.lfs.oid
            return reader_of(lambda start, stop: self.store.read(oid, start, stop))
        data = b""
        if entry.size_bytes <= ORDINARY_BYTES_MAX:
            data = self.catalog.files.read(repo, entry)
        return lambda start, stop: data[start:stop]

    # Weights

    def weights(
        self, repo: Repo, entries: Sequence[Entry], seconds: float = LOOK_S
    ) -> Weighed | None:
        """What the weights among `entries` come to; None while one was not looked at."""
        files = [entry for entry in entries if is_weight(entry)][:FILES_MAX]
        verdicts = self.verdicts(repo, files, seconds)
        if any(entry.etag not in verdicts for entry in files):
            return None
        return weigh(files, verdicts)

    def look(self, repo: Repo, commit: GitOid, seconds: float = LOOK_S) -> Weighed | None:
        """The weights of `main`, from what is kept beside the repo or made and kept now."""
        if is_of(repo.weights, commit):
            return msgspec.json.decode(repo.weights, type=Weighed)
        weighed = self.weights(repo, self.files(repo, commit), seconds)
        if weighed is not None:
            summary: dict[str, Any] = msgspec.to_builtins(weighed)
            with _best_effort():
                self.catalog.labels.set_weights(repo, commit, summary, weighed.parameters)
        return weighed

    def files(self, repo: Repo, commit: GitOid) -> list[Entry]:
        tree = self.catalog.refs.resolve(repo, commit).tree
        entries = self.catalog.files.list(repo, tree, recursive=True, limit=FILES_MAX)
        return [entry for entry in entries if entry.kind == "file"]

    # In the background

    def work(self) -> int:
        """Look at the repos that were pushed to since the last time; how many."""
        if self._seen_event is None:
            self._seen_event = self.catalog.labels.last_event()
        self._seen_event, repo_ids = self.catalog.labels.pushed(self._seen_event)
        return self._all(self.catalog.labels.unlooked_among(repo_ids))

    def sweep(self) -> int:
        """Look at repos that nobody looked at by today's rules; how many."""
        self.catalog.labels.forget_unheld()
        return self._all(self.catalog.labels.unlooked(SWEEP_REPOS))

    def _all(self, repos: Sequence[tuple[Repo, GitOid]]) -> int:
        done, deadline = 0, time.monotonic() + WORK_S
        with self._lock:
            for repo, commit in repos:
                if time.monotonic() >= deadline or self._stopped.is_set():
                    break
                try:
                    self.look(repo, commit, REPO_S)
                    self.verdicts(repo, self.files(repo, commit), REPO_S)
                except HeadwaterError:
                    continue  # deleted meanwhile, or damaged: `check` says so
                done += 1
            if repos:
                self.inspector.close()  # between pushes no process waits
        return done


@contextmanager
def _best_effort() -> Iterator[None]:
    """A page is shown also when what was found cannot be kept: it is found again next time."""
    try:
        yield
    except HeadwaterError as error:
        log.warning("labels not kept: %s", error.message)
