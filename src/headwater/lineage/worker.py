"""The process in which models are compared: `python -m headwater.lineage.worker`.

    in:   a job (`Job`); then, for each range asked for, its bytes
    out:  `Ask` as often as it likes; `Answer` at last

Weights are hostile until they were read: all of it happens behind a pipe, within limits of memory
and time (`sandbox`). Messages are MessagePack.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import msgspec

from headwater.errors import HeadwaterError
from headwater.lineage.model import File
from headwater.lineage.parents import Ancestry, trace
from headwater.lineage.relation import Relation
from headwater.lineage.subject import Subject
from headwater.sandbox import child

MEMORY_BYTES_MAX = 4 * 2**30  # of address space: two dozen models of the largest kind, compared
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
    """Bytes of a file: number of its model (0 the target), of the file, and where."""

    model: int
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


def run(job: Job, reads: Callable[[int, int, int, int], bytes]) -> Answer:
    """One answer; what goes wrong is one, too."""
    try:
        if not job.others:
            subject = Subject.of(_files(job.target, 0, reads))
            return Answer(subject.sketch.pack(), subject.sketch.layers, _shapes(subject))
        target = Subject.of(_files(job.target, 0, reads))
        others = {
            model.name: Subject.of(_files(model, number, reads))
            for number, model in enumerate(job.others, 1)
        }
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


def _files(
    model: Files, number: int, reads: Callable[[int, int, int, int], bytes]
) -> Sequence[File]:
    def reader(at: int) -> Callable[[int, int], bytes]:
        return lambda start, stop: reads(number, at, start, stop)

    return [File(name, size, reader(at)) for at, (name, size) in enumerate(model.files)]


def _read(model: int, file: int, start: int, stop: int) -> bytes:
    child.send(msgspec.msgpack.encode(Ask(model, file, start, stop)))
    return child.receive()


def main() -> None:
    """Serve jobs until the input ends."""
    child.limit(MEMORY_BYTES_MAX)
    while True:
        try:
            job = msgspec.msgpack.decode(child.receive(), type=Job)
            child.limit_job(CPU_S_MAX)
            child.send(msgspec.msgpack.encode(run(job, _read)))
        except (EOFError, BrokenPipeError):
            return


if __name__ == "__main__":
    main()
