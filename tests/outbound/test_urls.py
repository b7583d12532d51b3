"""S21: no URL leads the hub to itself, to its network, or to anything but a public address.

Every form is resolved by the real resolver and, if it got so far, called for real, with a listener
on loopback that counts connections: it must count none.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import BadRequest, HeadwaterError, Refused, Unavailable
from headwater.outbound.addresses import refusal
from headwater.outbound.post import post
from headwater.outbound.target import Outbound
from receiver import Receiver, receiver

# PORT is where the listener is. Each of these must end without a connection.
HOSTS = """
127.0.0.1 127.0.0.2 127.255.255.254 127.1 127.0.1 2130706433 0x7f000001 0x7f.1 0x7f.0.0.1
0177.0.0.1 017700000001 0177.0.1 127.0.0.01 127.0.0.1. 00127.0.0.1 0 0.0.0.0 0.1 localhost
LOCALHOST localhost. localhost.localdomain [::1] [::] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1]
[::ffff:7f00:1] [::127.0.0.1] [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1] [64:ff9b::7f00:1]
[64:ff9b:1::7f00:1] [2002:7f00:1::] [2002:7f00:1::1] [2001:0:7f00:1::1] [fe80::1] [fe80::1%25lo]
[fc00::1] [fd00:ec2::254] [fec0::1] [ff02::1] [2001:db8::1] [100::1] 10.0.0.1 172.16.0.1
172.31.255.255 192.168.0.1 169.254.169.254 2852039166 100.64.0.1 100.127.255.255 192.0.0.1
192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
255.255.255.255 168.63.129.16 127.0.0.1%2e 127%2e0.0.1 ①②⑦.⓪.⓪.① 127。0。0。1
127.0.0.1\\@example.org user@127.0.0.1 user:pass@localhost example.org@127.0.0.1 -localhost a..b
""".split()
WHOLE = [
    "http:127.0.0.1:PORT", "http:///127.0.0.1:PORT", "//127.0.0.1:PORT/", "file:///etc/passwd",
    "gopher://127.0.0.1:PORT/_x", "ftp://127.0.0.1:PORT/", "dict://127.0.0.1:PORT/",
    "data:text/plain,x", "javascript:alert(1)", "unix:///run/docker.sock", "HTTP+UNIX://x/", "http://127.0.0.1:PORT#@a.org/",
    "http://127.0.0.1:0/", "http://127.0.0.1:99999/", "http://127.0.0.1:PORT:80/", "http://", "https://",
    "http://\n127.0.0.1:PORT/", "http://127.0.0.1:PORT/\r\nHost: x", " http://127.0.0.1:PORT/", "",
    "http://127.0.0.1:PORT/" + "a" * 3000,
]  # fmt: skip


@pytest.fixture(scope="module")
def listener() -> object:
    with receiver() as running:
        yield running


def forms(port: int) -> list[str]:
    return [f"http://{host}:{port}/x" for host in HOSTS] + [
        whole.replace("PORT", str(port)) for whole in WHOLE
    ]


@pytest.mark.parametrize("number", range(len(HOSTS) + len(WHOLE)))
def test_no_form_gets_through(number: int, listener: Receiver) -> None:
    """Refused as it is given, or at the latest by what its name means now."""
    url = forms(listener.port)[number]
    with pytest.raises((BadRequest, Unavailable)):
        post(Outbound().resolve(url), b"{}", {}, 2.0)
    assert listener.connections == 0, url


def test_there_are_enough_forms_and_the_listener_would_have_counted(listener: Receiver) -> None:
    """Without these two, nothing above would mean anything."""
    assert len(HOSTS) + len(WHOLE) >= 60
    with receiver() as open_one:
        target = Outbound.parse("127.0.0.1").resolve(open_one.url)
        assert post(target, b"{}", {}).status == 200
        assert open_one.connections == 1


def test_a_name_is_refused_when_any_of_its_addresses_is(
    monkeypatch: pytest.MonkeyPatch, listener: Receiver
) -> None:
    """The resolver is replaced: one public and one private answer, and then a rebind."""
    answers = [["93.184.216.34", "127.0.0.1"], ["93.184.216.34"], ["127.0.0.1"]]
    asked = []

    def answer(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        return [(2, 1, 6, "", (text, port)) for text in answers[len(asked) - 1]]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with pytest.raises(BadRequest, match="loopback"):
        Outbound().resolve("http://mixed.example/")
    target = Outbound().resolve("http://rebind.example/")
    assert target.addresses == ("93.184.216.34",), "later answers of the resolver do not count"
    assert asked == ["mixed.example", "rebind.example"], "one look each"


def test_the_connection_goes_to_the_checked_address_under_the_right_name() -> None:
    """A Target says where to connect; Host is what the URL says. No second look-up can move it."""
    with receiver() as running:
        outbound = Outbound.parse("no-such-name.invalid,127.0.0.1")
        url = outbound.check(f"http://no-such-name.invalid:{running.port}/a?b=%20c")
        target = type(outbound.resolve(running.url))(url, ("127.0.0.1",))
        assert post(target, b"x", {"X-A": "b"}).status == 200
        came = running.requests[0]
        assert came.headers["host"] == f"no-such-name.invalid:{running.port}"
        assert (came.path, came.body, came.headers["x-a"]) == ("/a?b=%20c", b"x", "b")


def test_what_the_operator_opens_is_open_and_nothing_beside() -> None:
    outbound = Outbound.parse(" 10.1.0.0/16, localhost ,::1 ")
    assert outbound.resolve("http://10.1.2.3/").addresses == ("10.1.2.3",)
    assert "127.0.0.1" in outbound.resolve("https://LocalHost:8443/x").addresses
    assert outbound.resolve("http://[::1]/").url.host_header == "[::1]"
    for url in ("http://10.2.0.1/", "http://127.0.0.1/", "http://[::2]/"):
        with pytest.raises(BadRequest):
            outbound.resolve(url)
    for text in ("10.0.0.0/99", "a b", "http://x", "*"):
        with pytest.raises(Refused):
            Outbound.parse(text)


@given(st.ip_addresses())
def test_what_python_calls_private_is_refused(address: object) -> None:
    """The table is at least as strict as Python's own, whatever release that is of."""
    assert refusal(ip_address(str(address))) or address.is_global  # type: ignore[attr-defined]


@given(st.ip_addresses(v=4))
def test_every_wrapping_of_an_ipv4_address_is_refused(address: object) -> None:
    """Mapped, compatible, translated, tunnelled: none is a way around the table."""
    number = int(address)  # type: ignore[call-overload]
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    wrapped = "::ffff:{} ::{} 64:ff9b::{} 2002:{}::1 2001:0:{}:: ::ffff:0:{}"
    for text in wrapped.replace("{}", f"{high}:{low}").split():
        assert refusal(ip_address(text)), text


@given(st.text(max_size=40))
def test_any_text_is_refused_or_a_url_and_nothing_else(text: str) -> None:
    for url in (text, f"http://{text}", f"https://{text}/"):
        try:
            found = Outbound().check(url)
        except HeadwaterError:
            continue
        assert found.host.isascii()
        assert not set(found.host) & set("@/\\?# %")
