"""An address that a person writes, `host:port`: read, judged, shown."""

import re
from dataclasses import dataclass
from ipaddress import ip_address

from gossamer_node.schema import Form

PORT_DEFAULT = 7407
"""UDP for gossip and TCP for streams. Below Linux's ephemeral range, which begins at 32768."""


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port. Port 0, where one listens, is any free port."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def is_wildcard(self) -> bool:
        return self.host in ("0.0.0.0", "::")  # noqa: S104 - it is recognised, not bound

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`host:port`, `[v6]:port` or a bare host, which gets the default port."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::([0-9]{1,5}))?", text)
    if match is None:
        raise ValueError("is not an address")
    port = PORT_DEFAULT if match[3] is None else int(match[3])
    if port > 65_535:
        raise ValueError("has no port that exists")
    if match[1]:
        ip_address(match[1])
    return Address(match[1] or match[2], port)


ADDRESS = Form("an address, `host:port`", parse_address, str)

LISTEN = Address("127.0.0.1", PORT_DEFAULT)
"""Where a node listens that is told nothing."""
