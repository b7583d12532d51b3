"""Reconstructions: which chunks of which xorbs make a stretch of a file, and where their bytes lie.

    plan(file, start, stop, index_of) -> Plan      the chunks that bytes `start` to `stop` need
    v1(plan, url_of), v2(plan, url_of) -> dict     the two JSON forms of a plan
    uses(file, index) -> [Run]                     everything of one xorb that the file consists of

Format: Xet Protocol 1.1.0. Chunk ranges exclude their end, byte ranges include it and count from
the first record of the serialized xorb. Clients look at lengths only, never at hashes, so a wrong
number here is a wrong byte in somebody's file. Nothing here reads a disk or knows a request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from headwater.errors import BadRequest, RangeNotSatisfiable
from headwater.formats.xet_shard import Term
from headwater.names import XetHash
from headwater.store import ChunkedFile, XorbIndex

# Clients put them all into one Range header, 18 characters each; the protocol would allow 500, but
# proxies take a header line of 8 KB at most.
RANGES_PER_URL_MAX = 256
TERMS_MAX = 100_000  # of one reply: some 20 MB of JSON; clients ask for windows of 8 GB at most

IndexOf = Callable[[XetHash], XorbIndex]
UrlOf = Callable[[XetHash, int], str]  # (xorb, part): parts of one xorb need addresses of their own


class Run(NamedTuple):
    """Chunks `start` to `stop` of a xorb and the bytes of their records; both ends excluded."""

    start: int
    stop: int
    first_byte: int
    stop_byte: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a client must fetch, and how many decoded bytes it must skip at the front."""

    offset_bytes: int = 0
    terms: list[Term] = field(default_factory=list)
    runs: dict[XetHash, list[Run]] = field(default_factory=dict)  # disjoint, ascending


def plan(file: ChunkedFile, start: int, stop: int | None, index_of: IndexOf) -> Plan:
    """The chunks that bytes `start` to `stop` (excluded; clamped to the end) of `file` need.

    RangeNotSatisfiable when `start` is past the end; the first byte of an empty file is not.
    BadRequest when the stretch has too many terms for one reply.
    """
    size_bytes = file.size_bytes
    stop = size_bytes if stop is None else min(stop, size_bytes)
    if size_bytes == start == 0:
        return Plan()
    if not 0 <= start < stop:
        raise RangeNotSatisfiable(
            f"byte {start} is not in a file of {size_bytes} bytes", size_bytes=size_bytes
        )
    first, last = file.term_at(start), file.term_at(stop - 1) + 1
    if last - first > TERMS_MAX:
        raise BadRequest(
            f"a reconstruction of {last - first} terms; the limit is {TERMS_MAX}. "
            "Ask for the file in ranges."
        )
    indexes: dict[XetHash, XorbIndex] = {}
    runs: dict[XetHash, list[tuple[int, int]]] = {}
    terms: list[Term] = []
    offset_bytes = 0
    for number, term in enumerate(file.terms_of(first, last), first):
        index = indexes.get(term.xorb) or indexes.setdefault(term.xorb, index_of(term.xorb))
        if number in (first, last - 1):
            begin = int(file.raw_ends[number]) - term.raw_bytes  # of the term, in the file
            term, skipped_bytes = _trimmed(term, index, start - begin, stop - begin)
            offset_bytes += skipped_bytes if number == first else 0
        terms.append(term)
        runs.setdefault(term.xorb, []).append((term.start, term.stop))
    return Plan(offset_bytes, terms, {x: _merged(pairs, indexes[x]) for x, pairs in runs.items()})


def uses(file: ChunkedFile, index: XorbIndex) -> list[Run]:
    """The runs of one xorb that any part of `file` is made of: disjoint, ascending."""
    rows = file.table[file.table["xorb"] == np.void(index.hash.raw)]
    return _merged(zip(rows["start"].tolist(), rows["stop"].tolist(), strict=True), index)


def v2(plan: Plan, url_of: UrlOf) -> dict[str, Any]:
    """The reply to `GET /v2/reconstructions/{file}`: one address for many ranges of a xorb."""
    xorbs = {
        xorb: [
            {"url": _named(url_of(xorb, part), some), "ranges": [_v2_range(run) for run in some]}
            for part, some in enumerate(_parts(runs))
        ]
        for xorb, runs in plan.runs.items()
    }
    return {**_head(plan), "xorbs": xorbs}


def v1(plan: Plan, url_of: UrlOf) -> dict[str, Any]:
    """The reply to `GET /v1/reconstructions/{file}`: every range with its address."""
    return {**_head(plan), "fetch_info": fetch_info(plan, url_of)}


def terms_of(plan: Plan) -> list[dict[str, Any]]:
    """The terms as JSON, the same in every form."""
    return [
        {
            "hash": term.xorb,
            "unpacked_length": term.raw_bytes,
            "range": {"start": term.start, "end": term.stop},
        }
        for term in plan.terms
    ]


def fetch_info(plan: Plan, url_of: UrlOf) -> dict[str, list[dict[str, Any]]]:
    """Where the records lie, as v1 and the batch reply say it."""
    return {
        xorb: [
            {
                "range": {"start": run.start, "end": run.stop},
                "url": _named(url, [run]),
                "url_range": {"start": run.first_byte, "end": run.stop_byte - 1},
            }
            for part, some in enumerate(_parts(runs))
            for url in [url_of(xorb, part)]
            for run in some
        ]
        for xorb, runs in plan.runs.items()
    }


def _named(url: str, runs: Sequence[Run]) -> str:
    """An address that no other range has: hf_xet 1.2 takes one answer for all requests to one
    address that are under way, whatever their Range header says, and gives out wrong bytes."""
    return f"{url}?bytes={runs[0].first_byte}-{runs[-1].stop_byte - 1}"


def _head(plan: Plan) -> dict[str, Any]:
    return {"offset_into_first_range": plan.offset_bytes, "terms": terms_of(plan)}


def _v2_range(run: Run) -> dict[str, Any]:
    return {
        "chunks": {"start": run.start, "end": run.stop},
        "bytes": {"start": run.first_byte, "end": run.stop_byte - 1},
    }


def _parts(runs: list[Run]) -> Iterator[list[Run]]:
    for at in range(0, len(runs), RANGES_PER_URL_MAX):
        yield runs[at : at + RANGES_PER_URL_MAX]


def _trimmed(term: Term, index: XorbIndex, start: int, stop: int) -> tuple[Term, int]:
    """The chunks of `term` that its decoded bytes `start` to `stop` touch (both may lie outside
    it), and how many bytes of the first of them come before `start`."""
    base, end = index.raw_range(term.start, term.stop)
    start, stop = max(base + start, base), min(base + stop, end)
    first = int(np.searchsorted(index.raw_ends, np.uint32(start), "right"))
    last = int(np.searchsorted(index.raw_ends, np.uint32(stop), "left")) + 1
    begin, end = index.raw_range(first, last)
    return Term(term.xorb, end - begin, first, last), start - begin


def _merged(pairs: Iterable[tuple[int, int]], index: XorbIndex) -> list[Run]:
    """Chunk ranges as runs: sorted, those that touch or overlap made one."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(pairs):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(stop, merged[-1][1])
        else:
            merged.append((start, stop))
    return [Run(start, stop, *index.byte_range(start, stop)) for start, stop in merged]
