"""Who keeps a key: its circle, the members that work on its service, in an order of the key's own.

Each member's tags have a *filter* of the services with a key that it works on (Bloom, 1970), the
same few bytes whatever their number. A wrong hit costs nothing: to keep a state takes no module, so
a member that the filter names by mistake keeps it all the same, and all members see the same tags
and make the same mistake. Members are ranked by a hash of key and id (`leases.placement`): the
first is the key's home, the second has the copy. When one comes or goes, only keys that it led, or
kept the copy of, move.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gossamer_mesh.leases.placement import rank
from gossamer_node.keyed.key import Key

FILTER_BYTES = 32

_HASHES = 4
"""With 16 services one in 400 others hits by mistake, with 64 one in 7; see above."""

CIRCLE_MAX = 32
"""Members of a circle. A mesh may have more that work on the service: the first of the key's order
keep it, and with them everybody agrees before a turn is given."""

SERVICES_MAX = 10_000
"""Whose members are remembered between two changes of the mesh."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What counts of a member.

    Attributes:
        session: of its process.
        services: its filter; empty for one that works on none.
    """

    session: int
    services: bytes


def filter_of(services: Iterable[str]) -> bytes:
    """What a member says of the services with a key that it works on; empty for none."""
    bits = 0
    for one in services:
        bits |= _bits(one)
    return bits.to_bytes(FILTER_BYTES, "big") if bits else b""


def is_named(services: bytes, service: str) -> bool:
    """Whether a filter has a service."""
    bits = _bits(service)
    return len(services) == FILTER_BYTES and int.from_bytes(services, "big") & bits == bits


def _bits(service: str) -> int:
    digest, found = hashlib.sha256(service.encode()).digest(), 0
    for number in range(_HASHES):
        found |= 1 << int.from_bytes(digest[2 * number : 2 * number + 2], "big") % (
            8 * FILTER_BYTES
        )
    return found


class View:
    """The members as this one sees them.

    Attributes:
        own: this member's id.
        peers: all others that are there.
    """

    def __init__(self, own: str) -> None:
        self.own = own
        self.peers: Mapping[str, Peer] = {}
        self._known: dict[str, tuple[tuple[str, ...], int]] = {}
        self._epoch = 0

    def set(self, peers: Mapping[str, Peer]) -> None:
        """Who is there now."""
        self.peers = dict(peers)
        self._epoch += 1
        for service, (members, _) in list(self._known.items()):
            now = self._find(service)
            if now != members:
                self._known[service] = (now, self._epoch)

    def stamp(self, service: str) -> int:
        """Another number after each change of who works on a service."""
        return self._look(service)[1]

    def others(self, service: str) -> tuple[str, ...]:
        """The other members that work on it."""
        return self._look(service)[0]

    def circle(self, key: Key) -> list[str]:
        """The key's home first, then who has the copy; this member counts as one of them."""
        name = f"{key.service}\n{key.tenant}\n{key.value}"
        return rank(name, [self.own, *self.others(key.service)])[:CIRCLE_MAX]

    def _look(self, service: str) -> tuple[tuple[str, ...], int]:
        found = self._known.get(service)
        if found is None:
            if len(self._known) >= SERVICES_MAX:
                # A number of their own for those that come back: they are asked about once more.
                self._known.clear()
                self._epoch += 1
            found = self._known[service] = (self._find(service), self._epoch)
        return found

    def _find(self, service: str) -> tuple[str, ...]:
        return tuple(
            sorted(id for id, one in self.peers.items() if is_named(one.services, service))
        )
