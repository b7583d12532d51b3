"""Who counts as one caller: a user, or a network, also behind proxies."""

import msgspec
import pytest
from http_kit import HOST, SETTINGS, request_of
from hypothesis import given
from hypothesis import strategies as st

from headwater.catalog.actors import ANONYMOUS
from headwater.hub.callers import caller_of
from headwater.hub.replies import client_host

STRANGER = "203.0.113.9"
FORWARDED = [
    ("198.51.100.7", "198.51.100.7"),
    ("evil, 198.51.100.7", "198.51.100.7"),
    ("192.0.2.1, 198.51.100.7", "198.51.100.7"),
    ("198.51.100.7, 127.0.0.1", "198.51.100.7"),  # two proxies of ours
    ("198.51.100.7:4711", "198.51.100.7"),
    ("[2001:db8::1]:4711", "2001:db8::1"),
    ("2001:DB8::1", "2001:db8::1"),
    ("198.51.100.7, unknown", HOST),
    ("", HOST),
    ("127.0.0.1", HOST),
    ("\xff, 1", HOST),
]


@pytest.mark.parametrize(("header", "host"), FORWARDED)
def test_the_last_hop_that_is_not_ours(header: str, host: str) -> None:
    asked = request_of(headers={"X-Forwarded-For": header})
    assert client_host(asked) == host


@pytest.mark.parametrize(("header", "_"), FORWARDED)
def test_a_stranger_says_nothing_of_themselves(header: str, _: str) -> None:
    asked = request_of(headers={"X-Forwarded-For": header}, client=(STRANGER, 1))
    assert client_host(asked) == STRANGER


def test_two_headers_are_one_list() -> None:
    headers = [(b"x-forwarded-for", b"192.0.2.1"), (b"x-forwarded-for", b"198.51.100.7")]
    asked = request_of()
    asked.scope["headers"] = headers
    assert client_host(asked) == "198.51.100.7"


@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=3000))
def test_whatever_stands_there_is_an_address_or_the_peer(text: str) -> None:
    host = client_host(request_of(headers={"X-Forwarded-For": text}))
    assert host == HOST or all(c in "0123456789abcdef.:%" for c in host.partition("%")[0])


def test_a_household_is_one_caller() -> None:
    def caller(forwarded: str) -> str:
        return caller_of(request_of(headers={"X-Forwarded-For": forwarded}), ANONYMOUS)

    assert caller("2001:db8::1") == caller("2001:db8::2")
    assert caller("2001:db8::1") != caller("2001:db8:0:1::1")
    assert caller("198.51.100.7") != caller("198.51.100.8")
    assert caller("::ffff:198.51.100.7") == caller("198.51.100.7")


def test_nobody_is_trusted_when_the_settings_say_so() -> None:
    alone = msgspec.structs.replace(SETTINGS, trusted_proxies="")
    asked = request_of(headers={"X-Forwarded-For": "198.51.100.7"}, settings=alone)
    assert client_host(asked) == HOST
