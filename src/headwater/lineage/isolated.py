"""Sketching and tracing models in a process that may be killed.

    with Isolated() as isolated:
        isolated.sketch(model)                            -> Sketched
        isolated.trace(model, others, earlier, known)     -> Ancestry, or Stopped

`model`: a `Bytes`, whose files are read on this side; its name stands for them for good, since the
process keeps what it read of the last ones. Errors of reading go through; what the bytes
do to the process (hang it, fill its memory, crash it) is a `Stopped` with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from math import isfinite
from typing import Self, get_args

import msgspec

from headwater.lineage import worker as worker_module
from headwater.lineage.parents import Ancestry
from headwater.lineage.relation import Kind, Relation
from headwater.lineage.worker import Answer, Ask, Files, Job, Said
from headwater.sandbox.child import FRAME_BYTES_MAX
from headwater.sandbox.parent import Dead, Worker

START_S = 60.0  # numpy on a busy machine
SKETCH_S = 120.0  # in which it computes; what the store takes to read is not counted
TRACE_S = 900.0  # of some two dozen relatives
JOB_S = 7_200.0  # with all that the store takes to read
READS_MAX = 2_000_000  # ranges asked for in one job
READ_BYTES_MAX = 64 * 2**30  # in one job, in all

LINKS_MAX = 12  # of a merge
EVIDENCE_CHARS_MAX = 20_000
KINDS = frozenset({*get_args(Kind), "merged"})

Read = Callable[[int, int], bytes]


class Stopped(Exception):
    """There is no answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """A model: name, size and reader of each of its files."""

    name: str
    files: tuple[tuple[str, int, Read], ...] = field(repr=False)

    @property
    def wire(self) -> Files:
        return Files(self.name, tuple((name, size) for name, size, _ in self.files))


@dataclass(frozen=True, slots=True)
class Sketched:
    """`shapes`: equal for models of one architecture, known or not; empty without any tensor."""

    sketch: bytes  # `Sketch.pack`
    layers: int
    shapes: str


class Isolated:
    """One process, started when it is needed. For one thread."""

    def __init__(self, *, sketch_s: float = SKETCH_S, trace_s: float = TRACE_S) -> None:
        self.sketch_s = sketch_s
        self.trace_s = trace_s
        self._worker: Worker | None = None

    def sketch(self, model: Bytes) -> Sketched:
        """Stopped when the files do not let themselves be sketched."""
        answer = self._ask(Job(model.wire), [model], self.sketch_s)
        return Sketched(answer.sketch, answer.layers, answer.shapes)

    def trace(
        self,
        target: Bytes,
        others: Sequence[Bytes],
        earlier: Sequence[str],
        known: Mapping[str, Relation],
        *,
        wall_s: float | None = None,
    ) -> Ancestry:
        """`parents.trace` among at least one other; Stopped when there is no answer. `wall_s`: less
        time than usual."""
        wire = tuple(other.wire for other in others)
        job = Job(target.wire, wire, tuple(earlier), dict(known))
        ancestry = self._ask(job, [target, *others], wall_s or self.trace_s).ancestry
        names = {other.name for other in others}
        if ancestry is None or not _sound(ancestry, names):
            self.close()
            raise Stopped("it went wrong")
        return ancestry

    def close(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, job: Job, models: Sequence[Bytes], wall_s: float) -> Answer:
        try:
            answer = self._job(job, models, wall_s)
        except Dead as dead:
            self.close()
            raise Stopped(str(dead)) from None
        except BaseException:
            self.close()  # it waits for bytes that will not come
            raise
        if answer.failed:
            raise Stopped(answer.failed)
        return answer

    def _job(self, job: Job, models: Sequence[Bytes], wall_s: float) -> Answer:
        if self._worker is None or not self._worker.alive:
            self.close()
            self._worker = Worker(worker_module.__name__, start_s=START_S)
        worker = self._worker
        worker.allow(wall_s)
        named = {model.name: model for model in models}
        worker.send(msgspec.msgpack.encode(job))
        spent, deadline = 0, time.monotonic() + JOB_S
        for _ in range(READS_MAX):
            said = _said(worker.receive())
            worker.is_up()
            if isinstance(said, Answer):
                return said
            read, start, stop = _range(said, named)
            spent += stop - start
            if spent > READ_BYTES_MAX:
                raise Dead("it would read too much")
            if time.monotonic() > deadline:
                raise Dead(f"it took more than {JOB_S:g} s")
            worker.send(read(start, stop))
        raise Dead("it would read too often")


def _said(raw: bytes) -> Said:
    try:
        return msgspec.msgpack.decode(raw, type=Said)
    except Exception:  # whatever can be wrong with bytes: nested too deeply, no text, another type
        raise Dead("it went wrong") from None


def _sound(ancestry: Ancestry, names: Set[str]) -> bool:
    """Whether it speaks of those that were asked about, in words that there are."""
    relations = ancestry.relations
    links = ancestry.links
    numbers = [link.weight for link in links]
    return (
        set(relations) <= names
        and len(links) <= LINKS_MAX
        and all(map(isfinite, numbers))
        and all(isfinite(found.log10_p) or found.log10_p < 0 for found in relations.values())
        and {link.parent for link in links} <= set(relations)
        and all(link.kind in KINDS for link in links)
        and all(len("".join(found.evidence)) <= EVIDENCE_CHARS_MAX for found in relations.values())
        and len("".join(ancestry.evidence)) <= EVIDENCE_CHARS_MAX
    )


def _range(ask: Ask, models: Mapping[str, Bytes]) -> tuple[Read, int, int]:
    """Who reads it, and what; Dead for what no honest worker asks for."""
    model = models.get(ask.model)
    if model is None or not 0 <= ask.file < len(model.files):
        raise Dead("it went wrong")
    _, size, read = model.files[ask.file]
    if not 0 <= ask.start <= ask.stop or ask.stop - ask.start > FRAME_BYTES_MAX:
        raise Dead("it would read too much at once")
    # Like `pread`, a read may reach past the end: what is there is given.
    return read, min(ask.start, size), min(ask.stop, size)
