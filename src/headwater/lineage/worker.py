"""The process in which models are compared: `python -m headwater.lineage.worker`.

    in:   a job (`Job`); then, for each range asked for, its bytes
    out:  `Ask` as often as it likes; `Answer` at last

Weights are hostile until they were read: all of it happens behind a pipe, within limits of memory
and time (`sandbox`). Messages are MessagePack.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

import msgspec
import numpy.ma  # noqa: F401  (by `numpy.median`, when it is first called: no file is opened then)

from headwater.errors import HeadwaterError
from headwater.lineage.model import File
from headwater.lineage.parents import Ancestry, trace
from headwater.lineage.relation import Relation
from headwater.lineage.subject import Subject
from headwater.sandbox import child

MEMORY_BYTES_MAX = 4 * 2**30  # of address space: two dozen models of the largest kind, compared
KEPT_BYTES_MAX = 1 * 2**30  # rows of models that are kept for the next job
CPU_S_MAX = 1_800  # of one job; ended sooner by who waits for it


class Files(msgspec.Struct, frozen=True):
    """A model: name and size of each of its files."""

    name: str
    files: tuple[tuple[str, int], ...]


class Job(msgspec.Struct, frozen=True):
    """Without `others`: sketch it. With them: whom it comes from among them."""

    target: Files
    others: tuple[Files, ...] = ()
    earlier: tuple[str, ...] = ()  # names of those that are older, the oldest first
    known: dict[str, Relation] = {}  # found before


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Bytes of a file: name of its model, number of the file, and where."""

    model: str
    file: int
    start: int
    stop: int


class Answer(msgspec.Struct, frozen=True, tag=True):
    sketch: bytes = b""
    layers: int = 0
    shapes: str = ""  # hash of all tensors' shapes
    ancestry: Ancestry | None = None
    failed: str = ""  # why there is neither


Said = Ask | Answer


Reads = Callable[[str, int, int, int], bytes]


class Subjects:
    """Models as they are compared, the last ones used: a family is traced over and over. Names
    stand for bytes that do not change."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._kept: OrderedDict[str, tuple[Subject, int]] = OrderedDict()

    def of(self, model: Files) -> Subject:
        if model.name in self._kept:
            self._kept.move_to_end(model.name)
            return self._kept[model.name][0]
        subject = Subject.of([self._file(model.name, *one) for one in enumerate(model.files)])
        size = sum(rows.nbytes for rows in subject.probe.rows.values())
        self._kept[model.name] = subject, size
        while sum(size for _, size in self._kept.values()) > KEPT_BYTES_MAX:
            self._kept.popitem(last=False)
        return subject

    def _file(self, model: str, at: int, file: tuple[str, int]) -> File:
        name, size = file
        return File(name, size, lambda start, stop: self._reads(model, at, start, stop))


def run(job: Job, subjects: Subjects) -> Answer:
    """One answer; what goes wrong is one, too."""
    try:
        target = subjects.of(job.target)
        if not job.others:
            return Answer(target.sketch.pack(), target.sketch.layers, _shapes(target))
        others = {model.name: subjects.of(model) for model in job.others}
        return Answer(ancestry=trace(target, others, job.earlier, job.known))
    except MemoryError:
        return Answer(failed="it takes more memory than is given")
    except EOFError:
        raise
    except HeadwaterError as error:
        return Answer(failed=error.message)
    except Exception as error:  # a bug of ours must not look like an answer
        return Answer(failed=f"{type(error).__name__}: {error}"[:300])


def _shapes(subject: Subject) -> str:
    """What two models of one unknown architecture have in common; empty without any tensor."""
    found = sorted(span.shape for _, span in subject.model.spans)
    return hashlib.sha256(repr(found).encode()).hexdigest() if found else ""


def _read(model: str, file: int, start: int, stop: int) -> bytes:
    child.send(msgspec.msgpack.encode(Ask(model, file, start, stop)))
    return child.receive()


def main() -> None:
    """Serve jobs until the input ends."""
    child.limit(MEMORY_BYTES_MAX)
    subjects = Subjects(_read)
    while True:
        try:
            job = msgspec.msgpack.decode(child.receive(), type=Job)
            child.limit_job(CPU_S_MAX)
            child.send(msgspec.msgpack.encode(run(job, subjects)))
        except (EOFError, BrokenPipeError):
            return


if __name__ == "__main__":
    main()
