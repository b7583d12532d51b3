"""Which addresses the hub never connects to on a user's word.

    refusal(address) -> why not, or None

The table is ours: Python's `is_global` differs between releases and takes translated and tunnelled
forms of private addresses (`64:ff9b::7f00:1`, `2002:7f00:1::`) for public ones. Of IPv6 only the
one block that is handed out is open, and holes are cut into it; of IPv4 all is open but the holes.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IANA's special-purpose registry, and what is reserved beside it.
_REFUSED_V4 = {
    "0.0.0.0/8": "this host",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a carrier's customers",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local",  # where clouds keep their credentials
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "protocol assignments",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "AS112",
    "192.52.193.0/24": "AMT",
    "192.88.99.0/24": "6to4 relays",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "AS112",
    "198.18.0.0/15": "benchmarks",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
    "168.63.129.16/32": "a cloud's own service",
}
_OPEN_V6 = IPv6Network("2000::/3")  # all that is handed out to anybody
_REFUSED_V6 = {
    "2001::/23": "protocol assignments",  # Teredo, ORCHID, benchmarks
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4",
    "2620:4f:8000::/48": "AS112",
    "3fff::/20": "documentation",
    "3ffe::/16": "6bone",
}
# Outside of the open block and refused with it; named for the sake of the message.
_NAMED_V6 = {
    "::/128": "this host",
    "::1/128": "loopback",
    "::ffff:0:0/96": "IPv4-mapped",
    "::ffff:0:0:0/96": "IPv4-translated",
    "::/96": "IPv4-compatible",
    "64:ff9b::/96": "NAT64",
    "64:ff9b:1::/48": "local NAT64",
    "100::/64": "discard",
    "5f00::/16": "segment routing",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
}
_V4 = tuple((IPv4Network(text), why) for text, why in _REFUSED_V4.items())
_V6 = tuple((IPv6Network(text), why) for text, why in (_REFUSED_V6 | _NAMED_V6).items())


def refusal(address: Address) -> str | None:
    """What kind of address this is when it is one of those refused; None when it is open."""
    if isinstance(address, IPv4Address):
        return next((why for network, why in _V4 if address in network), None)
    found = next((why for network, why in _V6 if address in network), None)
    if found is None and address not in _OPEN_V6:
        return "not handed out to anybody"
    return found
