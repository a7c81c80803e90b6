"""Where a granted name may lead: to the public internet, and to networks that the node grants.

A grant names an origin, but whoever runs the name's DNS chooses its addresses, and may choose one
of this machine or its network. An address that stands in the origin itself was chosen by who
granted it; `localhost` means loopback (RFC 6761 §6.3). Everything else that is not the public
internet has to be granted as a network.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NOT_PUBLIC = tuple(
    ipaddress.IPv4Network(one)
    for one in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
"""IANA's IPv4 special-purpose registry, multicast, and what is reserved. Python's own `is_global`
differs between its patch versions."""

_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that was ever given out for the internet (RFC 4291 §2.4, IANA)."""

_NOT_PUBLIC_6 = tuple(
    ipaddress.IPv6Network(one) for one in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
"""Of that: protocol assignments with Teredo, documentation, and 6to4, which embeds any IPv4."""

_EMBEDDING = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96"))
"""IPv4-mapped (RFC 4291 §2.5.5.2) and NAT64 (RFC 6052): the IPv4 address is what is reached."""


def parse_network(text: str) -> str:
    """A network in CIDR, or one address, as it is written best. Raises ValueError."""
    return str(ipaddress.ip_network(text))


def may_lead(host: str, address: str, networks: Iterable[str]) -> bool:
    """Whether a connection to `host` may be one to `address`.

    Args:
        networks: what is granted beyond the public internet.
    """
    found = _reached(ipaddress.ip_address(address.partition("%")[0]))
    try:
        if _reached(ipaddress.ip_address(host)) == found:
            return True
    except ValueError:
        if found.is_loopback and (host == "localhost" or host.endswith(".localhost")):
            return True
    return _is_public(found) or any(found in _network(one) for one in networks)


@lru_cache(maxsize=1_024)
def _network(text: str) -> Network:
    return ipaddress.ip_network(text)


def _reached(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address) and any(address in one for one in _EMBEDDING):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in one for one in _NOT_PUBLIC)
    return address in _UNICAST and not any(address in one for one in _NOT_PUBLIC_6)
