"""Who speaks here and is not of us: said once, and looked into where we know the address.

Of a datagram that does not open nothing is certain, its source least of all, so it is counted and
a host is spoken of once. Where its source is a member or a seed of ours, one side may have been
away while the mesh changed its key: a handshake with that address finds out which, and the error
says what to do.

What does open, and is refused all the same, comes from who has the mesh key. A host is spoken of
once for each way in which it does not belong; over a stream, it is the node that its key proved.
"""

import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress

import trio

from gossamer_mesh.drivers.certificates import is_retired_alert
from gossamer_mesh.drivers.config import Address
from gossamer_mesh.drivers.links import BROKEN, Links, log
from gossamer_mesh.errors import ForeignMeshError, JoinError
from gossamer_mesh.seal import Seal

LOOK_INTERVAL_S = 60.0
"""Between two handshakes that only look who is there."""

ADMISSION_WAIT_S = 1.0
"""Who is not let in is shown the door at once; who is may speak, and nobody answers yet."""

JOIN_EXPLAIN_MAX = 3
"""Addresses that are looked into for the sentence of a `JoinError`."""

_REJECTED = (
    (
        "junk",
        "has the mesh key and sends what is no frame of ours; if it is a node of this mesh, give "
        "it the version of Gossamer that the others have",
    ),
    (
        "not listed",
        "sends datagrams of a node that has the mesh key and is not on the list of members; if it "
        "belongs here, run there: gossamer status, and here: gossamer key trust NODE-ID",
    ),
    (
        "forged",
        "has the mesh key and speaks for other members, without their keys; find out who runs "
        "there, and give the mesh another key: gossamer key rotate",
    ),
)
"""What is said of each count of `Swim.rejected`."""


class Strangers:
    """What one member makes of datagrams that it cannot open.

    Args:
        seal: that did not open them.
        links: to look who is there.
        mesh_name, own_id: for the sentences.
        is_ours: whether an address is, or was, a member's or a seed's.
    """

    def __init__(
        self,
        seal: Seal,
        links: Links,
        mesh_name: str,
        own_id: str,
        is_ours: Callable[[Address], bool],
    ) -> None:
        self._seal = seal
        self._links = links
        self._mesh_name = mesh_name
        self._own_id = own_id
        self._is_ours = is_ours
        self._doubted: Address | None = None
        self._doubt = trio.Event()
        self._rejected = (0, 0, 0)

    def judge(self, who: str, rejected: tuple[int, int, int]) -> None:
        """After a frame that opened: says whether it was refused.

        Args:
            who: a host, or the id that a stream proved.
            rejected: as `Swim.rejected` counts now.
        """
        for before, now, (topic, text) in zip(self._rejected, rejected, _REJECTED, strict=True):
            if now > before:
                self._links.log_once(who, topic, text)
        self._rejected = rejected

    def take(self, datagram: bytes, source: Address) -> None:
        """A datagram that did not open."""
        if self._seal.is_of_retired_key(datagram):
            self._links.counts["datagrams_of_a_retired_key"] += 1
            self._links.log_once(
                source[0],
                "retired key",
                "sends datagrams under a mesh key that was removed here; if it is a node of this "
                "mesh, it was away when the key changed: copy a member's key file to it and "
                "restart it",
            )
            return
        self._links.log_once(
            source[0], "datagram", "sends datagrams that are not of this mesh, or not under its key"
        )
        if self._doubted is None and self._is_ours(source):
            self._doubted = source
            self._doubt.set()

    async def run(self) -> None:
        """Looks into what `take` found doubtful until cancelled."""
        while True:
            await self._doubt.wait()
            assert self._doubted is not None
            _, error = await self._look_into(self._doubted)
            if isinstance(error, ForeignMeshError):  # anything else is no news
                log.error("%s", error)
            await trio.sleep(LOOK_INTERVAL_S)
            self._doubt, self._doubted = trio.Event(), None

    async def why_unanswered(self, addresses: Iterable[Address]) -> JoinError:
        """The most telling of what the addresses' streams say."""
        findings = [await self._look_into(each) for each in list(addresses)[:JOIN_EXPLAIN_MAX]]
        return min(findings, key=lambda finding: finding[0])[1]

    async def _look_into(self, address: Address) -> tuple[int, JoinError]:
        """What is there, behind how little it tells."""
        where = f"{address[0]}:{address[1]}"
        try:
            link = await self._links.open(address)
        except (trio.TooSlowError, OSError):
            said = f"nobody answers at {where}; start that node first, or check the address."
            return 4, JoinError(said)
        except trio.BrokenResourceError as error:
            if is_retired_alert(error.__cause__):
                return 0, ForeignMeshError(
                    f"the member at {where} has removed the mesh key that this node has: the mesh "
                    "changed its key while this node was away; copy a member's key file over this "
                    "node's and start it again, or run: gossamer key reload"
                )
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                return 1, ForeignMeshError(
                    f"the node at {where} has another mesh key, or another mesh name than "
                    f"{self._mesh_name!r}; give both nodes the same."
                )
            said = f"what listens at {where} is no node of a mesh; check the address."
            return 3, JoinError(said)
        try:
            with trio.move_on_after(ADMISSION_WAIT_S) as silence, suppress(*BROKEN):
                await link.stream.receive_some(1)
            if not silence.cancelled_caught:
                return 0, JoinError(
                    f"the member at {where} closes this node's connections: it may keep a list of "
                    "members, without this one on it; on that machine run: gossamer key trust "
                    f"{self._own_id}"
                )
        finally:
            await trio.aclose_forcefully(link.stream)
        return 2, JoinError(
            f"the member at {where} takes streams, but no datagrams reach it or come back; "
            f"let UDP pass on port {address[1]}."
        )
