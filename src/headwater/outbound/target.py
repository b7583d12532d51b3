"""A user's URL, looked at before anything is sent.

    Outbound.parse("example.org, 10.1.0.0/16")      what the operator opened beside the public net
    outbound.check(url)   -> Url                    its form alone; nothing is asked
    outbound.resolve(url) -> Target                 its name looked up once, every address checked

`post` connects to the addresses of a Target and to nothing else: a name that means another address
a moment later (DNS rebinding) gains nothing. A host is ASCII: a name, four decimal numbers, or
IPv6 in brackets; the other spellings that resolvers take (`2130706433`, `0x7f.1`, `017700000001`)
are refused as they stand.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal
from urllib.parse import urlsplit

from headwater.errors import BadRequest, Refused, Unavailable
from headwater.names import shown
from headwater.outbound.addresses import Address, Network, refusal

URL_CHARS_MAX = 2000
ADDRESSES_MAX = 16  # of one name; more is nobody's web server
_PRINTABLE = re.compile(r"[\x21-\x7e]+\Z")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_NUMERIC = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class ForbiddenAddress(BadRequest):
    """A URL that leads to where the hub does not go on a user's word."""

    code = "ForbiddenAddress"


@dataclass(frozen=True, slots=True)
class Url:
    """A URL whose form is good. `host` is lower case, an IPv6 address without its brackets."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    target: str  # path and query

    @property
    def host_header(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect: the addresses are checked, and are those to use."""

    url: Url
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outbound:
    """The rule, with the operator's exceptions."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = field(default=())

    @classmethod
    def parse(cls, text: str) -> Outbound:
        """From host names, addresses and networks, comma-separated; Refused when one is none."""
        hosts, networks = set(), []
        for part in filter(None, (part.strip().lower() for part in text.split(","))):
            try:
                networks.append(ip_network(part, strict=False))
            except ValueError:
                if not _is_name(part):
                    raise Refused(
                        f"outbound_allow: {shown(part)} is no host name, address or network"
                    ) from None
                hosts.add(part)
        return cls(frozenset(hosts), tuple(networks))

    def check(self, text: str) -> Url:
        """BadRequest, saying why, for a URL that could never be called."""
        url = _parsed(text)
        address = _literal(url.host)
        if address is not None:
            self._demand(address, url.host)
        return url

    def resolve(self, text: str) -> Target:
        """Look its host up, once. BadRequest when any of its addresses is refused, Unavailable
        when there is none now. Blocks as long as the resolver does."""
        url = self.check(text)
        if (literal := _literal(url.host)) is not None:
            return Target(url, (str(literal),))
        found = _looked_up(url)
        if url.host not in self.hosts:
            for address in found:
                self._demand(address, url.host)
        return Target(url, tuple(str(address) for address in found))

    def _demand(self, address: Address, host: str) -> None:
        why = refusal(address)
        if why is None or any(address in network for network in self.networks):
            return
        raise ForbiddenAddress(
            f"{shown(host)} leads to an address that this hub does not call ({why}). Use a public "
            "one, or ask the operator to open it with outbound_allow."
        )


def _parsed(text: str) -> Url:
    if len(text) > URL_CHARS_MAX or not _PRINTABLE.match(text) or "\\" in text:
        raise BadRequest(f"a URL is plain ASCII without spaces, at most {URL_CHARS_MAX} characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise BadRequest(f"{shown(text, 100)} is not a URL") from None
    scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
    if parts.scheme not in _DEFAULT_PORTS or not text[len(scheme) :].startswith("://"):
        raise BadRequest("a URL begins with https:// or http://")
    if "@" in parts.netloc:
        raise BadRequest("a URL holds no name and no password; use the secret of the webhook")
    if "%" in parts.netloc or parts.netloc.endswith(":") or port == 0:
        raise BadRequest(f"{shown(parts.netloc, 100)} is no host and port")
    if parts.fragment or text.endswith("#"):
        raise BadRequest("a URL to be called has no fragment (#...)")
    host = _host(parts.netloc, parts.hostname or "")
    query = f"?{parts.query}" if parts.query else ""
    return Url(scheme, host, port or _DEFAULT_PORTS[scheme], (parts.path or "/") + query)


def _host(netloc: str, host: str) -> str:
    if netloc.startswith("["):
        try:
            return str(IPv6Address(host))
        except ValueError:
            raise BadRequest(f"[{shown(host, 60)}] is no IPv6 address") from None
    if _NUMERIC.match(host.rstrip(".").rpartition(".")[2]):
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise BadRequest(
                f"{shown(host, 60)}: write an IPv4 address as four decimal numbers"
            ) from None
    if not _is_name(host):
        raise BadRequest(f"{shown(host, 60)} is no host name")
    return host


def _is_name(host: str) -> bool:
    return 0 < len(host) <= 253 and all(_LABEL.match(label) for label in host.split("."))


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _looked_up(url: Url) -> list[Address]:
    try:
        rows = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"the name {shown(url.host)} cannot be looked up: {error}") from None
    texts = dict.fromkeys(str(row[4][0]).partition("%")[0] for row in rows)
    if not 0 < len(texts) <= ADDRESSES_MAX:
        raise Unavailable(f"the name {shown(url.host)} has {len(texts)} addresses")
    return [ip_address(text) for text in texts]
