"""What is sent to nodes by who does not belong to them, or once did, or lies.

Four kinds, from the outside in: bytes that are no datagram; datagrams under another key; datagrams
that members really sent, heard on the loopback device (which needs root) and sent again later; and
a thief of the mesh key who speaks for another member, without that member's own key.
"""

import random
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import trio

from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_mesh.packing import pack, unpack
from gossamer_mesh.seal import Seal
from gossamer_mesh.signing import Ed25519Signer
from gossamer_mesh.swim.codec import GOSSIP, PUBLIC_KEY_BYTES, Codec, Profile

Address = tuple[str, int]

JUNK_PER_NODE = 200
JUNK_BYTES_MAX = 1_500
PACKET_BYTES_MAX = 65_536

_ETH_P_IP, _IPPROTO_UDP = 0x0800, 17
_IP_HEADER_BYTES, _UDP_HEADER_BYTES = 20, 8


def send(datagrams: Iterable[bytes], addresses: Sequence[Address]) -> int:
    """Sends each to each, from a socket that nobody knows. Returns how many that were."""
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for datagram in datagrams:
            for address in addresses:
                stranger.sendto(datagram, address)
                sent += 1
    return sent


def junk(seed: int) -> list[bytes]:
    """Random bytes of all lengths, a part of which begins as a datagram of ours does."""
    rng = random.Random(seed)
    return [
        bytes((number % 3,)) + rng.randbytes(rng.randrange(JUNK_BYTES_MAX))
        for number in range(JUNK_PER_NODE)
    ]


class Thief:
    """Holds a key, the mesh's or another, and an identity that is no member's.

    Args:
        key: 32 bytes, under which it seals.
        mesh_name: of the mesh that it speaks to.
    """

    def __init__(self, key: bytes, mesh_name: str) -> None:
        self._seal = Seal(Keyring((key,)), mesh_name)
        self._identity = Identity.generate()
        self._codec = Codec(pack, unpack, Ed25519Signer(self._identity, mesh_name))

    def gossip(self, update: bytes) -> bytes:
        """A datagram that hands on an update."""
        frame = self._codec.encode(
            GOSSIP, self._identity.node_id, 1, target="", address=None, updates=[update]
        )
        return self._seal.seal(frame)

    def claim_for(self, public_key: bytes, incarnation: int, host: str, port: int) -> bytes:
        """A datagram in which another member seems to say where it is now; signed by the thief."""
        own = self._codec.claim(incarnation, Profile(host, port, "thief", b"", 1)).encoded
        return self.gossip(own[:1] + public_key + own[1 + PUBLIC_KEY_BYTES :])


class Ear:
    """Hears what is sent on the loopback device. Made by `open_ear`."""

    def __init__(self, device: socket.socket) -> None:
        self._device = device

    async def hear(self, ports: Iterable[int], count: int) -> list[bytes]:
        """The next datagrams that sockets at these ports send, so many and each once."""
        wanted = set(ports)
        found: dict[bytes, None] = {}  # each passes the device twice
        while len(found) < count:
            await trio.lowlevel.wait_readable(self._device)
            packet = self._device.recv(PACKET_BYTES_MAX)
            if len(packet) < _IP_HEADER_BYTES + _UDP_HEADER_BYTES:
                continue
            header = (packet[0] & 0x0F) * 4
            (port,) = struct.unpack_from(">H", packet, header)
            if packet[9] == _IPPROTO_UDP and port in wanted:
                found[packet[header + _UDP_HEADER_BYTES :]] = None
        return list(found)


@contextmanager
def open_ear() -> Iterator[Ear]:
    """An ear for the length of a block.

    Raises: PermissionError for all but root.
    """
    device = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
    with device:
        device.bind(("lo", 0))
        device.setblocking(False)
        yield Ear(device)
