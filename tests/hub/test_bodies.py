"""Request bodies: strict JSON, bounded lines, and the way into a blocking writer."""

import asyncio
import itertools
import json
import threading
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest
from http_kit import request_of
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from headwater.errors import BadRequest, TooLarge
from headwater.hub.bodies import (
    EncodedBody,
    blocks,
    decode_form,
    decode_json,
    form_or_json,
    json_body,
    ndjson_lines,
    read_body,
)
from headwater.hub.feed import feed
from yardstick import usual_s

MB = 2**20


class Item(msgspec.Struct):
    name: str
    size: int = 0


def all_of(async_iterator: AsyncIterator[Any]) -> list[Any]:
    async def collect() -> list[Any]:
        return [item async for item in async_iterator]

    return asyncio.run(collect())


# Whole bodies


def test_a_body_up_to_its_limit() -> None:
    assert asyncio.run(read_body(request_of([b"ab", b"", b"cd"]), 4)) == b"abcd"
    with pytest.raises(TooLarge):
        asyncio.run(read_body(request_of([b"ab", b"cde"]), 4))


def test_a_declared_size_is_refused_before_a_byte_is_read() -> None:
    with pytest.raises(TooLarge):
        asyncio.run(read_body(request_of(headers={"content-length": "5"}, leaves=True), 4))


@pytest.mark.parametrize(
    "text", ["-1", "1e3", "", "5, 5", "9" * 30, "٣".encode().decode("latin-1")]
)
def test_a_strange_length_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        asyncio.run(read_body(request_of(headers={"content-length": text}), 4))


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "x"])
def test_a_compressed_body_is_refused(encoding: str) -> None:
    with pytest.raises(EncodedBody) as refused:
        asyncio.run(read_body(request_of([b"x"], {"content-encoding": encoding}), 4))
    assert refused.value.status == 415
    assert asyncio.run(read_body(request_of([b"x"], {"content-encoding": "Identity"}), 4)) == b"x"


def test_a_client_that_leaves() -> None:
    with pytest.raises(ClientDisconnect):
        asyncio.run(read_body(request_of([b"x"], leaves=True), 4))


# JSON


def test_json_becomes_its_type() -> None:
    request = request_of([b'{"name": "x",', b' "size": 5, "new": [1]}'])
    assert asyncio.run(json_body(request, Item, 100)) == Item("x", 5)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"null", b'"x"', b'{"name": 5}', b'{"name": "x", "size": "5"}',
        b'{"name": "x", "name": "y"}', b'{"name": "x", "new": {"a": 1, "a": 1}}',
        b'{"name": "x", "size": NaN}', b'{"name": "x", "new": NaN}', b'{"name": "x"} x',
        b'{"name": "x", "size": 1e400}', b'{"name": "x", "new": ' + b"9" * 5000 + b"}",
        b'{"name": "\xff"}', b'{"name": "\xed\xa0\x80"}', b'{"name": "\\ud800"}',
        b'{"name": "x", "new": ' + b"[" * 100_000, b'{"name": ' + b'{"a":' * 20_000,
        b'{"name": "x", "new": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        "﻿{}".encode(), '{"name": "x"}'.encode("utf-16"),
    ],
)  # fmt: skip
def test_wrong_json_is_one_kind_of_refusal(raw: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        decode_json(raw, Item)
    assert refused.value.message.startswith("The body")
    assert len(refused.value.message) < 300


def test_a_refusal_says_where() -> None:
    with pytest.raises(BadRequest, match=r"\$\.size"):
        decode_json(b'{"name": "x", "size": []}', Item)
    with pytest.raises(BadRequest, match="'name' twice"):
        decode_json(b'{"name": "x", "name": "y"}', Item)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values, st.booleans())
def test_json_that_is_right_is_taken(value: Any, escaped: bool) -> None:
    assert decode_json(json.dumps(value, ensure_ascii=escaped).encode(), object) == value


@given(st.binary(max_size=100))
def test_any_bytes_are_json_or_refused(raw: bytes) -> None:
    try:
        decode_json(raw, object)
    except BadRequest:
        return


# Forms


def test_forms_and_json_to_one_address() -> None:
    form = request_of([b"paths=a%2Fb&paths=%C3%A9+x&expand=true&empty="])
    assert asyncio.run(form_or_json(form)) == {
        "paths": ["a/b", "é x"], "expand": ["true"], "empty": [""],
    }  # fmt: skip
    sent = request_of([b'{"paths": ["a"]}'], {"content-type": "application/json; charset=utf-8"})
    assert asyncio.run(form_or_json(sent)) == {"paths": ["a"]}


@pytest.mark.parametrize("raw", [b"a=%ff", b"a=\xff", b"&".join([b"a=1"] * 10_001)])
def test_a_bad_form_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        decode_form(raw)


# Lines


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(n % (len(data) + 1) for n in at)})
    return [data[a:b] for a, b in itertools.pairwise(marks)]


@given(
    st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"")), min_size=1),
    st.lists(st.integers(0, 1000)),
    st.booleans(),
)
def test_lines_come_out_whole(lines: list[bytes], at: list[int], ended: bool) -> None:
    """Blank ones and what is white in them, too; nothing after the last LF is no line."""
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    if not ended and not lines[-1]:
        lines = lines[:-1]
    found = all_of(ndjson_lines(request_of(cut(data, at)), line_bytes_max=100, limit_bytes=10_000))
    assert found == list(enumerate(lines, 1))


def test_a_long_line_is_named_before_it_has_all_arrived() -> None:
    request = request_of([b"{}\n", b"x" * 60, b"x" * 60], leaves=True)
    with pytest.raises(TooLarge, match="Line 2"):
        all_of(ndjson_lines(request, line_bytes_max=100, limit_bytes=10_000))


def test_all_lines_together_have_a_limit() -> None:
    with pytest.raises(TooLarge):
        all_of(ndjson_lines(request_of([b"{}\n"] * 100), line_bytes_max=100, limit_bytes=150))


def test_many_pieces_of_one_line_cost_linear_time() -> None:
    request = request_of([b"x" * 1000] * 5000)
    limits = {"line_bytes_max": 10 * MB, "limit_bytes": 10 * MB}
    lines = []
    assert usual_s(lambda: lines.extend(all_of(ndjson_lines(request, **limits)))) < 1
    assert [len(line) for _, line in lines] == [5_000_000]


# Blocks and feed


@given(st.lists(st.binary(max_size=50), max_size=30), st.integers(1, 60))
def test_blocks_are_the_body_in_larger_pieces(chunks: list[bytes], size: int) -> None:
    made = all_of(blocks(request_of(chunks), 10_000, size))
    assert b"".join(made) == b"".join(chunks)
    assert all(len(block) >= size for block in made[:-1])


class Recorder:
    """A writer that keeps what it is given, and notices when two threads are in it."""

    def __init__(self, *, slow_s: float = 0.0, fails_at: int | None = None) -> None:
        self.data = bytearray()
        self.calls = 0
        self.aborted = False
        self.threads: set[str] = set()
        self._slow_s = slow_s
        self._fails_at = fails_at
        self._inside = threading.Lock()

    def write(self, data: bytes) -> None:
        with self._alone():
            self.calls += 1
            self.threads.add(threading.current_thread().name)
            time.sleep(self._slow_s)
            if self.calls == self._fails_at:
                raise OSError("disk")
            self.data += data

    def abort(self) -> None:
        with self._alone():
            assert not self.aborted
            self.aborted = True

    def _alone(self) -> threading.Lock:
        assert not self._inside.locked(), "two threads in one writer"
        return self._inside


def test_feed_writes_all_of_it_in_large_blocks() -> None:
    chunks = [bytes([n % 251]) * 100_000 for n in range(100)]
    writer = Recorder()
    assert asyncio.run(feed(request_of(chunks), writer, 10**9)) == 10_000_000
    assert bytes(writer.data) == b"".join(chunks)
    assert writer.calls == 5
    assert all(name.startswith("headwater-feed") for name in writer.threads)
    assert not writer.aborted


def test_feed_of_nothing() -> None:
    writer = Recorder()
    assert asyncio.run(feed(request_of(), writer, 5)) == 0
    assert writer.calls == 0


@pytest.mark.parametrize("pieces", [0, 5, 50])
def test_a_client_that_leaves_aborts_the_writer(pieces: int) -> None:
    writer = Recorder(slow_s=0.01)
    with pytest.raises(ClientDisconnect):
        asyncio.run(feed(request_of([b"x" * 100_000] * pieces, leaves=True), writer, 10**9))
    assert writer.aborted


def test_a_failed_write_aborts_and_is_told() -> None:
    writer = Recorder(fails_at=2)
    with pytest.raises(OSError, match="disk"):
        asyncio.run(feed(request_of([b"x" * 3 * MB] * 5), writer, 10**9))
    assert writer.aborted


def test_too_much_aborts() -> None:
    writer = Recorder()
    with pytest.raises(TooLarge):
        asyncio.run(feed(request_of([b"x" * 3 * MB] * 5), writer, 10 * MB))
    assert writer.aborted
    assert len(writer.data) <= 10 * MB


def test_a_cancelled_feed_aborts_after_the_write_under_way() -> None:
    writer = Recorder(slow_s=0.2)

    async def cancelled() -> None:
        task = asyncio.create_task(feed(request_of([b"x" * 3 * MB] * 9), writer, 10**9))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert writer.aborted


def test_a_slow_writer_slows_the_client_down() -> None:
    """No more than three blocks are taken from the client ahead of what is written."""
    writer = Recorder(slow_s=0.02)
    request = request_of([b"x" * MB] * 40)
    taken, ahead = 0, 0
    receive = request._receive

    async def counting() -> Any:
        nonlocal taken, ahead
        taken += 1
        ahead = max(ahead, taken * MB - len(writer.data))
        return await receive()

    request._receive = counting
    assert asyncio.run(feed(request, writer, 10**9)) == 40 * MB
    assert ahead <= 3 * 2 * MB + MB
