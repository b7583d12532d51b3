"""Wrong HTTP, byte by byte, against the hub alone and behind the shipped nginx.

For each case: one answer at most for what is one request, never a 5xx from the hub, nobody answers
the request that is hidden in another, and the hub is well afterwards and hardly larger.
"""

import contextlib
import re
import socket
from collections.abc import Iterator

import httpx
import pytest
from raw_cases import CASES, HIDDEN_MARK, LIST, Case, get

from live import HOST, LiveHub
from nginx_kit import NGINX, nginx

WAIT_S = 3.0
HEAD_S = 10.0  # the hub's and nginx's patience with a head
GROWTH_BYTES_MAX = 48 * 2**20  # of the hub over all cases
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ?[^\r\n]*\r\n")
MORE_THAN_ONE = frozenset({"50 at once", "upgrade", "upgrade with a body"})  # rightly, one by one


@pytest.fixture(scope="module")
def proxy(live_hub: LiveHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if NGINX is None:
        pytest.skip("nginx is not installed")
    with nginx(tmp_path_factory.mktemp("nginx"), live_hub.port) as port:
        yield port


def answers(port: int, sent: bytes, wait_s: float = WAIT_S) -> tuple[list[int], bytes, bool]:
    """(final statuses, all that came, whether the server closed)."""
    came, closed = b"", True
    with socket.create_connection((HOST, port), timeout=wait_s) as client:
        with contextlib.suppress(OSError):  # refused while we still send: an answer may be there
            client.sendall(sent)
        try:
            while piece := client.recv(1 << 16):
                came += piece
                if whole(came):
                    client.settimeout(0.2)  # a second answer would follow at once
        except TimeoutError:
            closed = False
        except ConnectionResetError:
            pass
    found = [int(status) for status in STATUS.findall(came)]
    return [status for status in found if status >= 200], came, closed


def whole(came: bytes) -> bool:
    head, end, body = came.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return bool(end) and length is not None and len(body) >= int(length[1])


def judge(case: Case, port: int, allowed: tuple[int, ...]) -> None:
    wait_s = HEAD_S + WAIT_S if 0 in allowed else WAIT_S  # given up without a word
    found, came, closed = answers(port, case.sent, wait_s)
    if case.name not in MORE_THAN_ONE:
        assert len(found) <= 1, f"{case.name}: {len(found)} answers: {came[:400]!r}"
    if not found:
        assert closed, f"{case.name}: neither answered nor closed"
    assert (found[0] if found else 0) in allowed, f"{case.name}: {found}, {came[:300]!r}"
    assert HIDDEN_MARK not in came, f"{case.name}: the hidden request was answered"
    assert b"Traceback" not in came


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_hub_alone(case: Case, live_hub: LiveHub) -> None:
    judge(case, live_hub.port, case.app)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_behind_nginx(case: Case, proxy: int) -> None:
    judge(case, proxy, case.proxy)


def test_every_refusal_of_the_hub_keeps_the_error_contract(live_hub: LiveHub) -> None:
    """Also those that no route ever saw."""
    for case in CASES:
        found, came, _ = answers(live_hub.port, case.sent)
        if not found or found[0] < 400:
            continue
        head, _, body = came.partition(b"\r\n\r\n")
        for name in (b"x-error-code: ", b"x-error-message: ", b"x-request-id: "):
            assert name in head.lower(), (case.name, head)
        if case.name != "trace":
            assert httpx.Response(found[0], content=body).json().keys() >= {
                "error", "errorCode", "requestId"
            }, case.name  # fmt: skip


def test_half_a_request_is_given_up(live_hub: LiveHub) -> None:
    """Without it, a few thousand sockets that never end a line would hold the hub for ever."""
    with socket.create_connection((HOST, live_hub.port), timeout=20) as client:
        client.sendall(b"GET / HT")
        assert client.recv(100) == b""


def test_a_slow_head_is_given_up_although_it_moves(live_hub: LiveHub) -> None:
    with socket.create_connection((HOST, live_hub.port), timeout=1) as client:
        sent = iter(get(b"X: " + b"a" * 500))
        for _ in range(20):
            try:
                client.sendall(bytes([next(sent)]))
                assert client.recv(100) == b""
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            raise AssertionError("a head of one byte a second was waited for")


def test_a_bad_body_behind_an_answer_is_not_answered_again(live_hub: LiveHub) -> None:
    """The answer comes before the body is read; its chunks then break."""
    head = b"POST /api/whoami-v2 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection((HOST, live_hub.port), timeout=5) as client:
        client.sendall(head)
        first = b""
        while not whole(first):
            first += client.recv(1 << 16)
        client.sendall(b"ZZ\r\n")
        assert client.recv(1 << 16) == b""
    assert STATUS.findall(first) == [b"405"]


def test_all_of_it_leaves_no_mark(live_hub: LiveHub) -> None:
    for case in CASES:  # once, so that what is made at the first time is not counted
        answers(live_hub.port, case.sent)
    before = live_hub.rss_bytes()
    for _ in range(3):
        for case in CASES:
            answers(live_hub.port, case.sent)
    assert live_hub.rss_bytes() - before < GROWTH_BYTES_MAX
    assert httpx.get(live_hub.url + LIST.decode(), trust_env=False).status_code == 200
