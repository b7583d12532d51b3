"""Reconstructions, followed to the letter, give back the file."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import BadRequest, RangeNotSatisfiable
from headwater.formats.xet_shard import Term
from headwater.hub import reconstruct
from headwater.names import Digest, XetHash
from headwater.store import ChunkedFile, XorbIndex
from headwater.store.recipe import ROW, pack_terms

NAME = Digest("0" * 64)
U32 = np.uint32


@dataclass(frozen=True)
class Xorb:
    """Chunks, and their records: a length of eight bytes, then the chunk as it is."""

    index: XorbIndex
    body: bytes

    @classmethod
    def of(cls, number: int, chunks: list[bytes]) -> Xorb:
        records = [len(chunk).to_bytes(8, "little") + chunk for chunk in chunks]
        lengths = np.array([len(chunk) for chunk in chunks], U32)
        index = XorbIndex(
            XetHash(f"{number:064x}"),
            number,
            bytes(32 * len(chunks)),
            np.cumsum([len(record) for record in records], dtype=U32),
            lengths,
            np.cumsum(lengths, dtype=U32),
            np.zeros(len(chunks), np.uint64),
        )
        return cls(index, b"".join(records))

    def chunks(self, start: int, stop: int) -> list[bytes]:
        return unpack(self.body)[start:stop]


def unpack(records: bytes) -> list[bytes]:
    chunks, at = [], 0
    while at < len(records):
        end = at + 8 + int.from_bytes(records[at : at + 8], "little")
        chunks.append(records[at + 8 : end])
        at = end
    assert at == len(records), "a byte range cuts a record"
    return chunks


@dataclass(frozen=True)
class World:
    xorbs: dict[XetHash, Xorb]
    file: ChunkedFile
    data: bytes

    @classmethod
    def of(cls, xorbs: list[Xorb], runs: list[tuple[int, int, int]]) -> World:
        terms, pieces = [], []
        for number, start, stop in runs:
            chunks = xorbs[number].chunks(start, stop)
            terms.append(Term(xorbs[number].index.hash, sum(map(len, chunks)), start, stop))
            pieces += chunks
        ends = np.array(list(accumulate(term.raw_bytes for term in terms)), np.int64)
        table = np.frombuffer(pack_terms(terms), ROW)
        file = ChunkedFile(NAME, XetHash("f" * 64), 0, table, ends)
        return cls({xorb.index.hash: xorb for xorb in xorbs}, file, b"".join(pieces))

    def index(self, xorb: XetHash) -> XorbIndex:
        return self.xorbs[xorb].index

    def plan(self, start: int, stop: int | None) -> reconstruct.Plan:
        return reconstruct.plan(self.file, start, stop, self.index)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    lengths = st.lists(st.integers(1, 40), min_size=1, max_size=12)
    seed = draw(st.integers(0, 2**32))
    noise = np.random.default_rng(seed)
    xorbs = [
        Xorb.of(number, [noise.bytes(length) for length in draw(lengths)])
        for number in range(draw(st.integers(1, 3)))
    ]
    runs = []
    for _ in range(draw(st.integers(0, 8))):
        number = draw(st.integers(0, len(xorbs) - 1))
        start = draw(st.integers(0, len(xorbs[number].index) - 1))
        runs.append((number, start, draw(st.integers(start + 1, len(xorbs[number].index)))))
    return World.of(xorbs, runs)


def url_of(xorb: XetHash, part: int) -> str:
    return f"{xorb}/{part}"


def follow(world: World, reply: dict[str, Any], size_bytes: int) -> bytes:
    """What a client makes of a reply: fetch, unpack, pick, skip, cut."""
    fetched: dict[str, list[tuple[int, list[bytes]]]] = {}
    if "xorbs" in reply:
        entries = [
            (xorb, piece["chunks"], piece["bytes"])
            for xorb, parts in reply["xorbs"].items()
            for part in parts
            for piece in part["ranges"]
        ]
    else:
        entries = [
            (xorb, piece["range"], piece["url_range"])
            for xorb, pieces in reply["fetch_info"].items()
            for piece in pieces
        ]
    for xorb, chunks, where in entries:
        records = world.xorbs[xorb].body[where["start"] : where["end"] + 1]
        got = unpack(records)
        assert len(got) == chunks["end"] - chunks["start"]
        fetched.setdefault(xorb, []).append((chunks["start"], got))
    data = b""
    for term in reply["terms"]:
        start, end = term["range"]["start"], term["range"]["end"]
        holding = [
            (first, got)
            for first, got in fetched[term["hash"]]
            if first <= start and end <= first + len(got)
        ]
        assert len(holding) == 1, "a term lies in exactly one range"
        first, got = holding[0]
        raw = b"".join(got[start - first : end - first])
        assert len(raw) == term["unpacked_length"]
        data += raw
    return data[reply["offset_into_first_range"] :][:size_bytes]


@given(world=worlds(), ask=st.data())
def test_following_a_reconstruction_gives_the_bytes(world: World, ask: st.DataObject) -> None:
    size = len(world.data)
    start = ask.draw(st.integers(0, max(size - 1, 0)))
    stop = ask.draw(st.none() | st.integers(start + 1, size + 50))
    plan = world.plan(start, stop)
    wanted = world.data[start:stop]
    for form in (reconstruct.v1, reconstruct.v2):
        assert follow(world, form(plan, url_of), len(wanted)) == wanted
    # Nothing is fetched that the range does not touch.
    if plan.terms:
        first = plan.terms[0]
        assert plan.offset_bytes < world.index(first.xorb).raw_lengths[first.start]


@given(world=worlds(), ask=st.data())
def test_what_is_pointed_to_is_what_the_file_uses(world: World, ask: st.DataObject) -> None:
    """The door to the bytes opens for every range of every plan, and for no other chunk."""
    start = ask.draw(st.integers(0, max(len(world.data) - 1, 0)))
    plan = world.plan(start, ask.draw(st.integers(start + 1, len(world.data) + 1)))
    for xorb, runs in plan.runs.items():
        used = reconstruct.uses(world.file, world.index(xorb))
        for run in runs:
            assert any(u.first_byte <= run.first_byte < run.stop_byte <= u.stop_byte for u in used)
        assert all(a.stop < b.start for a, b in pairwise(runs))
    for xorb in world.xorbs.values():
        used = reconstruct.uses(world.file, xorb.index)
        chunks = {n for run in used for n in range(run.start, run.stop)}
        named = {
            n
            for term in world.file.terms
            if term.xorb == xorb.index.hash
            for n in range(term.start, term.stop)
        }
        assert chunks == named


@given(world=worlds())
def test_past_the_end_is_told(world: World) -> None:
    size = len(world.data)
    with pytest.raises(RangeNotSatisfiable) as caught:
        world.plan(max(size, 1), None)
    assert caught.value.size_bytes == size


def test_an_empty_file_has_no_terms() -> None:
    world = World.of([], [])
    assert reconstruct.v2(world.plan(0, None), url_of) == {
        "offset_into_first_range": 0,
        "terms": [],
        "xorbs": {},
    }


def test_many_ranges_of_one_xorb_are_spread_over_addresses() -> None:
    xorb = Xorb.of(0, [bytes([n % 251, n // 251]) for n in range(2001)])
    world = World.of([xorb], [(0, n, n + 1) for n in range(0, 2001, 2)])
    plan = world.plan(0, None)
    parts = reconstruct.v2(plan, url_of)["xorbs"][xorb.index.hash]
    assert [len(part["ranges"]) for part in parts] == [256, 256, 256, 233]
    assert len({part["url"] for part in parts}) == len(parts)
    for form in (reconstruct.v1, reconstruct.v2):
        assert follow(world, form(plan, url_of), len(world.data)) == world.data


def test_a_stretch_of_too_many_terms_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconstruct, "TERMS_MAX", 3)
    world = World.of([Xorb.of(0, [b"abc"])], [(0, 0, 1)] * 5)
    with pytest.raises(BadRequest, match="in ranges"):
        world.plan(0, None)
    assert len(world.plan(0, 9).terms) == 3
