"""One member of a mesh on trio: membership over UDP, messages over TLS streams, on one port.

This is the signature, ahead of its body.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from gossamer_mesh.drivers.config import Address, Member, MemberEvent, MeshConfig, Plain


class Mesh(Protocol):
    """A running member. All methods belong to the trio thread; made by `open_mesh`."""

    @property
    def node_id(self) -> str:
        """This node's id, 32 hex digits."""

    @property
    def address(self) -> Address:
        """What other members use: the advertised host and the port that was bound."""

    def members(self) -> list[Member]:
        """Members that are alive or suspected, this node included, sorted by id."""

    def set_tags(self, tags: Mapping[str, Plain]) -> None:
        """Replaces what this node says of itself; it spreads by gossip, in a second or so.

        The same tags again cost nothing.

        Raises:
            MisuseError: more than 512 bytes when packed, or a value that is not plain.
                The tags are as before.
        """

    async def next_event(self) -> MemberEvent:
        """Waits for the next membership event. One consumer at a time.

        A consumer that lags sees fewer, never wrong events: per member at most two wait, the end
        of one life (`died`, `left`) and the newest after it.
        """

    async def join(self, addresses: Iterable[Address]) -> int:
        """Asks members at these addresses for the mesh; returns how many answered (at least 1).

        Raises:
            JoinError: nobody answered in the time (about 3 s). The sentence tells apart: nobody
                listens there; somebody does, but with another mesh key or mesh name; datagrams
                do not pass although streams do. The node goes on alone and may be asked again.
        """

    async def leave(self) -> None:
        """Says goodbye and waits, at most 2 s, until it has been handed on. Idempotent.

        Members see `left` and not, seconds later, `died`. The streams still work; close the mesh
        (leave its `async with`) next.
        """

    def send_nowait(self, node_id: str, message: bytes) -> bool:
        """Queues a message for one member. Messages of one sender arrive in order, at most once.

        Returns:
            False when it was not queued: the member is not there (or is this node), or its queue is
            full (256 messages or 16 MiB): try again later. True promises nothing: a member that
            dies, or a stream that breaks, loses what it had; the layer above repeats.

        Raises:
            MisuseError: the message is longer than 4 MiB.
        """

    async def receive(self) -> tuple[str, bytes]:
        """Waits for the next message; the node id is the sender's as its key proved it.

        The sender need not be among `members()` yet. Who reads slowly slows the senders down.
        """

    def statistics(self) -> dict[str, int]:
        """Counters since the start and gauges, by name."""


@asynccontextmanager
async def open_mesh(config: MeshConfig) -> AsyncIterator[Mesh]:
    """Binds, listens and takes part until the block ends. Seeds are asked in the background.

    Leaving the block without `leave()` is what a crash looks like to the others.

    Raises:
        ListenError: the address cannot be bound; nothing was started.
        MisuseError: a field of the configuration is out of its bounds; nothing was started.
    """
    raise NotImplementedError(config)
    yield
