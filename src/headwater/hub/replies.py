"""Replies: JSON, errors, and the addresses inside them.

An address in a reply is always built from the host that the client called: clients refuse another
one. `X-Forwarded-*` is believed only when the peer is a proxy that the settings name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from headwater.errors import BadRequest, GatedRepo, HeadwaterError, RangeNotSatisfiable, Refused
from headwater.names import shown
from headwater.settings import Settings

JSON = "application/json"
MESSAGE_CHARS_MAX = 300  # of X-Error-Message; proxies cut off long headers
FORWARDED_CHARS_MAX = 1000  # of X-Forwarded-For, from its end: some twenty hops
RETRY_AFTER_S = 2  # for errors that do not say
RETRY_STATUSES = frozenset({408, 429, 503, 504})  # "try again": always with Retry-After
REQUEST_ID = "headwater.request_id"  # keys that the router sets in the scope
ADDRESSING = "headwater.addressing"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
HOST = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z"
)
_HOP = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?\Z")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/?\Z")


@dataclass(frozen=True, slots=True)
class TrustedPeers:
    """The proxies whose X-Forwarded-* headers are believed."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> TrustedPeers:
        """From addresses or networks, comma-separated; Refused when one is neither."""
        try:
            parts = [part.strip() for part in text.split(",")]
            return cls(tuple(ip_network(part, strict=False) for part in parts if part))
        except ValueError as error:
            raise Refused(f"trusted_proxies: {error}; write addresses or networks") from None

    def __contains__(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Addressing:
    """What the settings say about the hub's own address."""

    public_url: str = ""  # empty: the host that the client called
    trusted: TrustedPeers = TrustedPeers()

    @classmethod
    def of(cls, settings: Settings) -> Addressing:
        return cls(settings.public_url.rstrip("/"), TrustedPeers.parse(settings.trusted_proxies))


def json_reply(obj: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`obj` (dicts, lists, structs, our own names) as JSON."""
    body = msgspec.json.encode(obj, enc_hook=_plain)
    return Response(body, status, headers, media_type=JSON)


def _plain(value: Any) -> Any:
    """msgspec does not take subclasses of `str`; Digest and its sisters are text on the wire."""
    if isinstance(value, str):
        return str.__str__(value)
    raise NotImplementedError(f"{type(value).__name__} cannot go into JSON")


def error_reply(error: HeadwaterError, request_id: str) -> Response:
    """What a client hears of a failure; the contract is in docs/protocol.md, "Errors".

    The router adds X-Request-Id, here as to every reply.
    """
    body: dict[str, object] = {
        **error.extra,
        "error": error.message.encode("utf-8", "backslashreplace").decode(),
        "errorCode": error.code,
        "requestId": request_id,
    }
    return json_reply(body, error.status, error_headers(error))


def error_headers(error: HeadwaterError) -> dict[str, str]:
    """What every failure says in its headers, whatever form its body has."""
    sent = {
        "X-Error-Code": error.code,
        "X-Error-Message": header_text(error.message),
        "Cache-Control": "no-store",
        **error.headers,
    }
    if error.status in RETRY_STATUSES:
        sent["Retry-After"] = str(getattr(error, "retry_after_s", RETRY_AFTER_S))
    if isinstance(error, RangeNotSatisfiable):
        sent["Content-Range"] = f"bytes */{error.size_bytes}"
    return sent


def header_text(text: str) -> str:
    """`text` fit for a header: one line, ASCII (others escaped), at most 300 characters."""
    plain = _CONTROL.sub(" ", text).encode("ascii", "backslashreplace").decode("ascii")
    return plain[:MESSAGE_CHARS_MAX].strip()


def request_id(request: Request) -> str:
    """The id under which this request is logged."""
    return str(request.scope[REQUEST_ID])


def base_url(request: Request) -> str:
    """`https://hub.example/prefix`, no slash at the end, as the client wrote it.

    BadRequest when Host is missing, doubled or no host name.
    """
    addressing: Addressing = request.scope[ADDRESSING]
    if addressing.public_url:
        return addressing.public_url
    scheme = request.scope.get("scheme", "http")
    prefix = request.scope.get("root_path", "").rstrip("/")
    hosts = request.headers.getlist("host")
    if request.client is not None and request.client.host in addressing.trusted:
        if proto := _forwarded(request, "x-forwarded-proto"):
            scheme = proto.lower()
        if host := _forwarded(request, "x-forwarded-host"):
            hosts = [host]
        if stated := _forwarded(request, "x-forwarded-prefix"):
            prefix = stated.rstrip("/")
    if not hosts and request.scope.get("http_version") == "1.0":
        hosts = [_own_address(request)]  # HTTP/1.0 has no Host: where it came is what it called
    if len(hosts) != 1 or not HOST.match(hosts[0]):
        raise BadRequest(f"Host {shown(', '.join(hosts))} is not one host name")
    if scheme not in ("http", "https") or not _PREFIX.match(prefix):
        raise BadRequest("X-Forwarded-Proto or -Prefix is malformed; fix the proxy")
    return f"{scheme}://{hosts[0]}{prefix}"


def _own_address(request: Request) -> str:
    """The address and port at which this request arrived; empty when the server does not say."""
    host, port = request.scope.get("server") or ("", None)
    name = f"[{host}]" if ":" in host else host
    return f"{name}:{port}" if port else name


def _forwarded(request: Request, name: str) -> str | None:
    """The value set by our own proxy: the last, for what stands before it came from outside."""
    values = request.headers.getlist(name)
    return values[-1].rpartition(",")[2].strip() if values else None


def client_host(request: Request) -> str:
    """The address that the request came from; empty when nothing is known.

    Behind proxies that the settings name, the last hop of X-Forwarded-For that is none of them:
    what stands before it is only what a stranger wrote.
    """
    trusted = request.scope[ADDRESSING].trusted
    host = request.client.host if request.client else ""
    if host not in trusted:
        return host
    text = ",".join(request.headers.getlist("x-forwarded-for"))
    for hop in reversed(text[-FORWARDED_CHARS_MAX:].split(",")):
        hop = _bare(hop.strip())
        if not hop:
            break  # no address: nobody of ours wrote this
        host = hop
        if host not in trusted:
            break
    return host


def _bare(hop: str) -> str:
    """The address alone, of `1.2.3.4:567` and `[::1]:567` too; empty when it is none."""
    found = _HOP.match(hop)
    try:
        return str(ip_address((found[1] or found[2]) if found else hop))
    except ValueError:
        return ""


def show_address(request: Request, error: GatedRepo) -> None:
    """Make the page that the message names a whole address, as this client would call it."""
    if error.page:
        url = base_url(request) + error.page
        error.message = error.message.replace(f" {error.page} ", f" {url} ")


def next_link(request: Request, cursor: str) -> str:
    """The Link header that names the next page: this address, with another `cursor`."""
    scope = request.scope
    raw: bytes = (scope.get("raw_path") or scope["path"].encode()).partition(b"?")[0]
    root = scope.get("root_path", "").rstrip("/").encode()
    path = quote(raw.removeprefix(root), safe="/%:@!$&'()*+,;=~")
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    query = [(name, value) for name, value in query if name != "cursor"]
    return f'<{base_url(request)}{path}?{urlencode([*query, ("cursor", cursor)])}>; rel="next"'
