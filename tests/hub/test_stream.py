"""Streaming through a real server: right bytes, or a connection that is visibly cut short.

Every test of the way out runs twice: with a lent socket (our connection class) and without.
"""

import gc
import hashlib
import logging
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from email.message import Message
from email.parser import BytesParser
from typing import Any

import pytest
from http_kit import ask, connect, get, read_all, serve, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from effort import examples
from headwater.errors import Corrupt
from headwater.hub import connection, stream
from headwater.hub.connection import Connection, loan
from headwater.hub.feed import feed
from headwater.hub.pump import Piece, Pump, Read
from headwater.hub.replies import json_reply
from headwater.hub.routing import Params, Route
from headwater.hub.stream import BytesReply

MB = 2**20
BIG = random.Random(1).randbytes(24 * MB)  # well over what the sockets of both ends can hold
BROKEN_AT = 17 * MB


class Source:
    """A blob in pieces, that counts how often it is open and notes what was asked of it."""

    def __init__(self, data: bytes = BIG, piece_bytes: int = MB, broken_at: int | None = None):
        self.data = data
        self.piece_bytes = piece_bytes
        self.broken_at = broken_at
        self.open = 0
        self.asked: list[tuple[int, int]] = []
        self.yielded = 0
        self.threads: set[str] = set()
        self.read: Read = self._read  # a test may put another in its place

    def _read(self, start: int, stop: int) -> Iterator[Piece]:
        self.asked.append((start, stop))
        self.open += 1
        try:
            for at in range(start, stop, self.piece_bytes):
                end = min(at + self.piece_bytes, stop)
                if self.broken_at is not None and at <= self.broken_at < end:
                    raise Corrupt("blob b10b: frame damaged")
                self.threads.add(threading.current_thread().name)
                piece = self.data[at:end]
                self.yielded += len(piece)
                yield memoryview(piece) if at % 2 else piece
        finally:
            self.open -= 1


SOURCES: dict[str, Source] = {}


def endpoint(request: Request, params: Params) -> Response:
    source = SOURCES[params["name"]]
    headers = {
        "ETag": '"e1"',
        "Content-Type": "x/y",
        "X-Lent": str(loan(request.scope) is not None),
    }
    return BytesReply(request, source.read, len(source.data), headers=headers)


async def upload(request: Request, params: Params) -> Response:
    writer = Hashing()
    UPLOADS.append(writer)
    size = await feed(request, writer, 10**9)
    return json_reply({"size": size, "sha256": writer.sha256.hexdigest()})


class Hashing:
    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.sha256.update(data)

    def abort(self) -> None:
        self.aborted = True


UPLOADS: list[Hashing] = []
ROUTES = [
    Route("GET", "/blob/{name}", endpoint, "see", head=True),
    Route("PUT", "/upload", upload, "write"),
]


@pytest.fixture(scope="module", params=["lent", "ahead"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    with serve(ROUTES, http=Connection if request.param == "lent" else HttpToolsProtocol) as port:
        yield port


@pytest.fixture
def blob() -> Iterator[Callable[..., Source]]:
    made: list[str] = []

    def make(*args: Any, **more: Any) -> Source:
        made.append("blob")
        SOURCES["blob"] = Source(*args, **more)
        return SOURCES["blob"]

    yield make
    wait_until(lambda: SOURCES["blob"].open == 0)


def fields(head: bytes) -> Message:
    return BytesParser().parsebytes(head.partition(b"\r\n")[2], headersonly=True)


def fetch(port: int, headers: str = "") -> tuple[int, Message, bytes]:
    with connect(port, get("/blob/blob", headers)) as client:
        head, body = read_all(client)
    return int(head.split()[1]), fields(head), body


# Right bytes


@pytest.mark.parametrize("size", [0, 1, 1000, MB, MB + 1, 3 * MB, len(BIG)])
def test_a_file_arrives(port: int, blob: Callable[..., Source], size: int) -> None:
    source = blob(BIG[:size])
    status, head, body = fetch(port)
    assert (status, head["Content-Length"]) == (200, str(size))
    assert body == BIG[:size]
    assert (head["Accept-Ranges"], head["ETag"], head["Content-Type"]) == ("bytes", '"e1"', "x/y")
    assert head["X-Request-Id"]
    assert all(name.startswith("headwater-send") for name in source.threads)


def test_the_socket_is_lent_where_it_should_be(port: int, request: pytest.FixtureRequest) -> None:
    """The first to notice when uvicorn changes what `connection` relies on."""
    SOURCES["blob"] = Source(b"x")
    lent = request.node.callspec.params["port"] == "lent"
    assert fetch(port)[1]["X-Lent"] == str(lent)


def test_one_range(port: int, blob: Callable[..., Source]) -> None:
    source = blob()
    status, head, body = fetch(port, "Range: bytes=1000000-5000000\r\n")
    assert status == 206
    assert head["Content-Range"] == f"bytes 1000000-5000000/{len(BIG)}"
    assert body == BIG[1_000_000:5_000_001]
    assert source.asked == [(1_000_000, 5_000_001)], "only what was asked is read"


def test_several_ranges(port: int, blob: Callable[..., Source]) -> None:
    blob()
    spans = [(0, 10), (2 * MB, 5 * MB), (len(BIG) - 3, len(BIG))]
    asked = ",".join(f"{a}-{b - 1}" for a, b in reversed(spans))
    status, head, body = fetch(port, f"Range: bytes={asked}\r\n")
    assert status == 206
    assert len(body) == int(head["Content-Length"])
    message = BytesParser().parsebytes(
        b"Content-Type: " + head["Content-Type"].encode() + b"\r\n\r\n" + body
    )
    parts = message.get_payload()
    assert isinstance(parts, list)
    for part, (a, b) in zip(parts, spans, strict=True):
        assert isinstance(part, Message)
        assert part["Content-Range"] == f"bytes {a}-{b - 1}/{len(BIG)}"
        assert part["Content-Type"] == "x/y"
    # The parser takes line ends for its own: compare the bytes by position instead.
    for a, b in spans:
        mark = f"Content-Range: bytes {a}-{b - 1}/{len(BIG)}\r\n\r\n".encode()
        at = body.index(mark) + len(mark)
        assert body[at : at + b - a] == BIG[a:b]
        assert body[at + b - a :].startswith(b"\r\n--")


def test_past_the_end(port: int, blob: Callable[..., Source]) -> None:
    blob(BIG[:100])
    status, head, _ = fetch(port, "Range: bytes=100-\r\n")
    assert (status, head["Content-Range"]) == (416, "bytes */100")


@pytest.mark.parametrize(
    ("condition", "status"),
    [('"e1"', 206), ('"e2"', 200), ('W/"e1"', 200), ("Tue, 24 Nov 2026 00:00:00 GMT", 200)],
)
def test_if_range(port: int, blob: Callable[..., Source], condition: str, status: int) -> None:
    blob(BIG[:100])
    got, _, body = fetch(port, f"Range: bytes=5-\r\nIf-Range: {condition}\r\n")
    assert got == status
    assert body == (BIG[5:100] if status == 206 else BIG[:100])


def test_head_reads_nothing(port: int, blob: Callable[..., Source]) -> None:
    source = blob(broken_at=0)
    asked = get("/blob/blob", "Range: bytes=0-5\r\n").replace(b"GET", b"HEAD", 1)
    with connect(port, asked) as client:
        head, body = read_all(client)
    assert head.startswith(b"HTTP/1.1 200")
    assert fields(head)["Content-Length"] == str(len(BIG))
    assert body == b""
    assert source.asked == []


def test_a_connection_goes_on_after_a_stream(port: int, blob: Callable[..., Source]) -> None:
    """Three requests on one connection, the last two sent before the first was answered."""
    blob()
    ask_again = get("/blob/blob").replace(b"Connection: close\r\n", b"")
    with connect(port, ask_again * 2 + get("/blob/blob", "Range: bytes=-9\r\n")) as client:
        data = b""
        while piece := client.recv(MB):
            data += piece
    for expected in (BIG, BIG, BIG[-9:]):
        head, _, data = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 20")
        assert data[: len(expected)] == expected
        data = data[len(expected) :]
    assert data == b""


def test_eight_at_once(port: int, blob: Callable[..., Source]) -> None:
    blob()
    bodies: list[bytes] = []
    threads = [threading.Thread(target=lambda: bodies.append(fetch(port)[2])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bodies == [BIG] * 8


@settings(max_examples=examples(15), deadline=None)
@given(
    st.integers(1, 300_000),
    st.integers(1, 50_000),
    st.integers(0, 400_000),
    st.integers(0, 400_000),
)
def test_any_range_of_any_pieces(port: int, size: int, piece: int, a: int, b: int) -> None:
    SOURCES["blob"] = Source(BIG[:size], piece)
    status, _, body = fetch(port, f"Range: bytes={min(a, b)}-{max(a, b)}\r\n")
    if min(a, b) >= size:
        assert status == 416
    else:
        assert status == 206
        assert body == BIG[: min(size, max(a, b) + 1)][min(a, b) :]


# Damage


def test_a_damaged_first_piece_is_a_clean_error(port: int, blob: Callable[..., Source]) -> None:
    blob(broken_at=5)
    for ranges in ("", "Range: bytes=5-\r\n", "Range: bytes=5-6,9000000-9000001\r\n"):
        status, head, body = fetch(port, ranges)
        assert (status, head["X-Error-Code"]) == (500, "BlobCorrupt")
        assert b"frame damaged" in body


def test_damage_in_the_middle_cuts_the_connection(
    port: int, blob: Callable[..., Source], caplog: pytest.LogCaptureFixture
) -> None:
    blob(broken_at=BROKEN_AT)
    status, head, body = fetch(port)
    assert (status, head["Content-Length"]) == (200, str(len(BIG)))
    assert len(body) <= BROKEN_AT, "no bad byte left"
    assert body == BIG[: len(body)]
    wait_until(lambda: "blob b10b: frame damaged" in caplog.text)
    assert head["X-Request-Id"] in caplog.text


@pytest.mark.parametrize("change", [-1, -5 * MB, 1])
def test_a_source_of_the_wrong_length_is_damage(
    port: int, blob: Callable[..., Source], change: int
) -> None:
    """Neither fewer nor more bytes than promised ever look complete."""
    source = blob()
    read = source.read
    source.read = lambda start, stop: (
        read(start, stop + change) if change < 0 else _more(read, stop)
    )
    _, head, body = fetch(port)
    assert len(body) < int(head["Content-Length"])
    assert body == BIG[: len(body)]


def _more(read: Callable[[int, int], Iterator[Piece]], stop: int) -> Iterator[Piece]:
    pieces = list(read(0, stop))
    yield from pieces[:-1]
    yield bytes(pieces[-1]) + b"x"


def test_a_bug_in_the_middle_cuts_the_connection_too(
    port: int, blob: Callable[..., Source]
) -> None:
    source = blob()

    def buggy(start: int, stop: int) -> Iterator[Piece]:
        yield BIG[:MB]
        raise ValueError("bug")

    source.read = buggy
    _, _, body = fetch(port)
    assert body == BIG[: len(body)]
    assert len(body) <= MB


# Clients that leave, or take their time


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("read_bytes", [0, 100, 5 * MB])
def test_a_client_that_leaves_ends_the_reading(
    port: int, blob: Callable[..., Source], reset: bool, read_bytes: int
) -> None:
    source = blob()
    client = connect(port, get("/blob/blob"))
    got = 0
    while got < read_bytes:
        got += len(client.recv(min(MB, read_bytes - got)))
    wait_until(lambda: source.open == 1 or source.yielded > 0)
    if reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    wait_until(lambda: source.open == 0, 3)
    assert source.yielded < len(BIG)


def test_a_slow_client_holds_no_thread_and_little_memory(
    port: int, blob: Callable[..., Source]
) -> None:
    """Forty stalled downloads, more than there are threads, and one that must not wait for them."""
    source = blob()
    stalled = [connect(port, get("/blob/blob")) for _ in range(40)]
    try:
        wait_until(lambda: source.open == 40, 10)
        time.sleep(0.3)
        assert source.yielded < 40 * 16 * MB, "what the two sockets hold, and some pieces"
        started = time.monotonic()
        assert fetch(port)[2] == BIG
        assert time.monotonic() - started < 5
    finally:
        for client in stalled:
            client.close()
    wait_until(lambda: source.open == 0, 10)


def test_a_slow_client_gets_all_of_it(port: int, blob: Callable[..., Source]) -> None:
    blob()
    client = connect(port, get("/blob/blob"))
    data = bytearray()
    while piece := client.recv(2 * MB):
        data += piece
        if len(data) < 12 * MB:
            time.sleep(0.02)
    client.close()
    assert data.endswith(BIG)


def test_a_stalled_client_is_given_up(
    blob: Callable[..., Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STALL_S", 0.2)
    source = blob()
    with serve(ROUTES) as port, connect(port, get("/blob/blob")) as client:
        wait_until(lambda: source.yielded > 0)
        wait_until(lambda: source.open == 0)
        assert len(read_all(client)[1]) < len(BIG)


def test_the_server_stops_with_a_stream_under_way(blob: Callable[..., Source]) -> None:
    """A graceful stop waits its time, then cancels; the source is closed, nothing lingers."""
    source = blob()
    with serve(ROUTES) as port:
        client = connect(port, get("/blob/blob"))
        wait_until(lambda: source.yielded > 0)
    wait_until(lambda: source.open == 0)
    with client:
        assert len(read_all(client)[1]) < len(BIG)


def test_no_socket_is_left_open(blob: Callable[..., Source]) -> None:
    """A forgotten duplicate would keep the connection alive after the reply."""
    blob()
    with serve(ROUTES) as port:
        for headers in ("", "Range: bytes=0-20000000\r\n", ""):
            assert fetch(port, headers)[0] in (200, 206)
        gc.collect()  # with warnings as errors, an unclosed socket fails the test


# Without a server


def test_any_asgi_server_will_do() -> None:
    SOURCES["blob"] = Source(BIG[: 5 * MB])
    assert ask(ROUTES, "GET", b"/blob/blob").body == BIG[: 5 * MB]


@given(st.lists(st.binary(max_size=5)), st.integers(1, 4))
def test_a_pump_hands_out_what_went_in(pieces: list[bytes], count: int) -> None:
    size = sum(map(len, pieces))
    pump = Pump(lambda: iter(pieces), size)
    pump.start()
    taken: list[memoryview] = []
    while batch := pump.take(count):
        assert len(batch) <= count
        taken += batch
    assert b"".join(taken) == b"".join(pieces)
    assert not pump.open


# Uploads and the head of a request


def put(body: bytes, length: int) -> bytes:
    head = (
        f"PUT /upload HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )
    return head.encode() + body


def test_an_upload_arrives(port: int) -> None:
    with connect(port, put(BIG, len(BIG))) as client:
        _, body = read_all(client)
    assert hashlib.sha256(BIG).hexdigest().encode() in body


def test_an_upload_cut_short_aborts_the_writer(port: int) -> None:
    before = len(UPLOADS)
    with connect(port, put(BIG[: 5 * MB], len(BIG))):
        wait_until(lambda: len(UPLOADS) > before)
    wait_until(lambda: UPLOADS[-1].aborted)


def test_an_endless_head_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    with serve(ROUTES) as port:
        for status, head in (
            (414, b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: t\r\n\r\n"),
            (431, b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"a" * 70_000 + b"\r\n\r\n"),
            (431, b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 20_000 + b"\r\n"),
        ):
            with connect(port, head) as client:
                assert read_all(client)[0].startswith(b"HTTP/1.1 %d " % status)


def test_a_head_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.3)
    SOURCES["blob"] = Source(b"x")
    whole = get("/blob/blob").replace(b"Connection: close\r\n", b"")
    with serve(ROUTES) as port:
        for sent in (b"", b"GET / HT", whole + b"GET /bl"):
            with connect(port, sent) as client:
                started = time.monotonic()
                answered, _ = read_all(client)
                assert 0.2 < time.monotonic() - started < 3
                assert answered.startswith(b"HTTP/1.1 200") == (sent.startswith(whole))
