"""Tokens in every wrong form (B33): refused with 401 in the words that clients look for, and never
written into the log. A token in an address is not looked at."""

import base64
import contextlib
import socket
import sqlite3

import httpx
import pytest

from live import HOST, LiveHub
from raw import Raw

BAD_TOKEN = "Invalid credentials in Authorization header"
OTHERS = "hf_" + "A" * 30 + "000000"  # the right shape, of no hub or another one
MARK = "SecretMark"  # in what must not be logged
PRIVATE = "keyed/closed"
ADDRESSES = ("/api/whoami-v2", f"/api/models/{PRIVATE}", f"/{PRIVATE}/resolve/main/a.txt",
             "/api/models?limit=1")  # fmt: skip


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


FORMS: dict[str, bytes] = {
    "empty": b"Authorization: \r\n",
    "bearer alone": b"Authorization: Bearer\r\n",
    "bearer and a space": b"Authorization: Bearer \r\n",
    "no scheme": b"Authorization: " + OTHERS.encode() + b"\r\n",
    "another scheme": b"Authorization: Digest " + OTHERS.encode() + b"\r\n",
    "of another hub": b"Authorization: Bearer " + OTHERS.encode() + b"\r\n",
    "not hf": b"Authorization: Bearer api_" + MARK.encode() + b"\r\n",
    "5,000 characters": b"Authorization: Bearer hf_" + b"a" * 5000 + b"\r\n",
    "UTF-8": "Authorization: Bearer hf_é\u202e😀\r\n".encode(),
    "latin-1": b"Authorization: Bearer hf_\xe9\xff\r\n",
    "a tab": b"Authorization: Bearer\thf_" + MARK.encode() + b"\r\n",
    "two tokens": b"Authorization: Bearer " + b", ".join([OTHERS.encode()] * 2) + b"\r\n",
    "basic of nothing": b"Authorization: Basic \r\n",
    "basic that is none": b"Authorization: Basic %%%\r\n",
    "basic, not UTF-8": b"Authorization: Basic /////w==\r\n",
    "basic of a stranger": f"Authorization: {basic('user:' + OTHERS)}\r\n".encode(),
    "SQL": b"Authorization: Bearer ' OR 1=1 --\r\n",
}


@pytest.fixture(scope="module")
def token(live_hub: LiveHub) -> str:
    token = live_hub.token("keyed")
    with Raw(live_hub.url, token) as raw:
        assert raw.create(PRIVATE, private=True).status == 200
        raw.commit(PRIVATE, {"a.txt": b"secret"})
    return token


def asked(hub: LiveHub, address: str, header: bytes) -> httpx.Response:
    """One request with this very header line, which no client library would send."""
    head = f"GET {address} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n".encode()
    with socket.create_connection((HOST, hub.port), timeout=20) as client:
        client.sendall(head + header + b"\r\n")
        came = b""
        while piece := client.recv(1 << 16):
            came += piece
    top, _, body = came.partition(b"\r\n\r\n")
    status, *lines = top.split(b"\r\n")
    headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    return httpx.Response(int(status.split()[1]), headers=headers, content=body)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_wrong_token_is_401(live_hub: LiveHub, token: str, form: bytes, address: str) -> None:
    """Everywhere, also where no token would do: whoever sends one means to be somebody."""
    reply = asked(live_hub, address, form)
    assert reply.status_code == 401, reply.text
    assert reply.headers["X-Error-Message"] == BAD_TOKEN
    assert reply.json()["errorCode"] == "Unauthorized"


@pytest.mark.parametrize(
    ("form", "statuses"),
    [
        pytest.param(b"Authorization: Bearer hf_\0a\r\n", {400}, id="NUL"),
        pytest.param(b"Authorization: Bearer hf_" + b"a" * 2**20 + b"\r\n", {431}, id="1 MB"),
    ],
)
def test_what_is_no_header_is_no_token(live_hub: LiveHub, form: bytes, statuses: set[int]) -> None:
    reply = asked(live_hub, "/api/whoami-v2", form)
    assert reply.status_code in statuses


def test_two_headers(live_hub: LiveHub, token: str) -> None:
    """Also of one token that holds: which of two counts is nothing to guess."""
    line = f"Authorization: Bearer {token}\r\n".encode()
    assert asked(live_hub, "/api/whoami-v2", line).status_code == 200
    assert asked(live_hub, "/api/whoami-v2", line * 2).status_code == 401
    other = f"Authorization: Bearer {OTHERS}\r\n".encode()
    assert asked(live_hub, "/api/whoami-v2", line + other).status_code == 401


@pytest.mark.parametrize("column", ["revoked_ms", "expires_ms"])
def test_a_token_whose_time_is_over(live_hub: LiveHub, token: str, column: str) -> None:
    """Revoked from the command line; expired by the clock, here by a time in its row."""
    short = live_hub.cli_ok("token", "create", "keyed", "--name", column, "--role", "read")
    line = f"Authorization: Bearer {short}\r\n".encode()
    assert asked(live_hub, "/api/whoami-v2", line).status_code == 200
    if column == "revoked_ms":
        live_hub.cli_ok("token", "revoke", "keyed", column)
    else:
        with contextlib.closing(sqlite3.connect(live_hub.data / "catalog.sqlite")) as conn, conn:
            conn.execute("UPDATE token SET expires_ms = 1 WHERE name = ?", (column,))
    reply = asked(live_hub, "/api/whoami-v2", line)
    assert (reply.status_code, reply.headers["X-Error-Message"]) == (401, BAD_TOKEN)


@pytest.mark.parametrize("name", ["token", "access_token", "api_key", "authorization", "auth"])
def test_a_token_in_the_address_opens_nothing(live_hub: LiveHub, token: str, name: str) -> None:
    reply = httpx.get(f"{live_hub.url}/api/models/{PRIVATE}?{name}={token}", trust_env=False)
    assert reply.status_code == 401
    assert reply.headers["X-Error-Code"] == "RepoNotFound"


def test_a_token_as_a_cookie_opens_nothing(live_hub: LiveHub, token: str) -> None:
    cookies = {"Cookie": f"token={token}; hf_token={token}; session={token}"}
    reply = httpx.get(f"{live_hub.url}/api/whoami-v2", headers=cookies, trust_env=False)
    assert reply.status_code == 401


def test_basic_takes_the_password(live_hub: LiveHub, token: str) -> None:
    """As git and git-lfs send it."""
    for pair in (f"keyed:{token}", f":{token}", f"{token}:"):
        line = f"Authorization: {basic(pair)}\r\n".encode()
        assert asked(live_hub, "/api/whoami-v2", line).json()["name"] == "keyed"


def test_none_of_it_is_in_the_log(live_hub: LiveHub, token: str) -> None:
    for form in FORMS.values():
        for address in ADDRESSES:
            asked(live_hub, f"{address}{'&' if '?' in address else '?'}token={token}", form)
    text = live_hub.log.read_text(errors="replace")
    for secret in (token, OTHERS, MARK, basic("user:" + OTHERS).removeprefix("Basic ")):
        assert secret not in text
