"""One member of a mesh on trio: membership over UDP, messages over TLS streams, on one port.

All decisions are the core's (`swim.protocol`); here are its socket, its clock and its secrets. The
core belongs to one thread and is called between awaits only, so nothing locks. Whatever arrives is
counted or acted on, never raised: an exception that leaves `open_mesh` is a defect of ours.
"""

import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from math import floor, inf
from typing import cast

import trio

from gossamer_mesh.drivers.calls import ANSWER_BYTES_MAX, Handler
from gossamer_mesh.drivers.certificates import Certificates
from gossamer_mesh.drivers.config import (
    Address,
    Member,
    MemberEvent,
    MemberEventKind,
    MemberState,
    MeshConfig,
    Plain,
)
from gossamer_mesh.drivers.discovery import discover
from gossamer_mesh.drivers.links import FRAME, MESSAGES
from gossamer_mesh.drivers.queues import MemberEvents
from gossamer_mesh.drivers.seeds import keep_seeds
from gossamer_mesh.drivers.snapshots import INTERVAL_S as SNAPSHOT_INTERVAL_S
from gossamer_mesh.drivers.snapshots import SnapshotFile
from gossamer_mesh.drivers.sockets import Datagrams, bind, outward_host, resolve
from gossamer_mesh.drivers.strangers import Strangers
from gossamer_mesh.drivers.streams import Streams
from gossamer_mesh.drivers.tags import pack_tags, printable, unpack_tags
from gossamer_mesh.errors import IdentityTakenError, JoinError, ListenError, MisuseError, PeerError
from gossamer_mesh.keyring import Keyring
from gossamer_mesh.packing import pack, unpack
from gossamer_mesh.seal import Seal
from gossamer_mesh.signing import Ed25519Signer
from gossamer_mesh.swim import events
from gossamer_mesh.swim.codec import STREAM_FRAME_BYTES_MAX, Codec, Profile
from gossamer_mesh.swim.members import Member as CoreMember
from gossamer_mesh.swim.protocol import Swim
from gossamer_mesh.swim.rng import Rng

DATAGRAMS_PER_TURN = 256
"""Read at a time before other tasks have their turn."""

FRAME_READ_TIMEOUT_S = 5.0
"""For a frame of the membership protocol over a link of its own; its sender gave up by then."""

MET_MAX = 4_096
"""Addresses of members, present or not, that are remembered: see `Strangers`."""

_STATES: tuple[MemberState, ...] = ("alive", "suspect", "dead", "left")
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


class Mesh:
    """A running member. All methods belong to the trio thread; made by `open_mesh`."""

    def __init__(
        self, config: MeshConfig, sockets: tuple[socket.socket, socket.socket], address: Address
    ) -> None:
        datagrams, listener = sockets
        self._config = config
        self._address = address
        self._keyring = config.keyring
        self._tags: dict[str, Plain] = dict(config.tags)
        self._lasting_tags: dict[str, Plain] = {}
        self._seal = Seal(config.keyring, config.mesh_name)
        self._datagrams = Datagrams(datagrams)
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        self._snapshots = SnapshotFile(config.snapshot_file)
        snapshot = self._snapshots.read()
        self._swim = Swim(
            config=config.tuning,
            codec=Codec(
                pack,
                unpack,
                Ed25519Signer(config.identity, config.mesh_name),
                config.tuning.frame_bytes_max,
            ),
            rng=Rng(secrets.randbits(64)),
            node_id=config.identity.node_id,
            # Any number will do; one that is higher than before a restart saves a round of gossip.
            incarnation=time.time_ns() // 1_000_000,
            profile=Profile(
                host=address[0],
                port=address[1],
                name=config.name or config.identity.node_id[:8],
                tags=pack_tags(config.tags),
                session=secrets.randbits(32),
            ),
            now_ms=_now_ms(),
            admits=config.admits,
            snapshot=snapshot,
        )
        if self._swim.statistics().get("snapshots_rejected"):
            self._snapshots.say_broken()
        certificates = Certificates(config.keyring, config.mesh_name, config.identity)
        self._streams = Streams(certificates, self._address_of, config.admits)
        self.handle(FRAME, Handler(self._take_frame, STREAM_FRAME_BYTES_MAX, FRAME_READ_TIMEOUT_S))
        self._met: OrderedDict[Address, None] = OrderedDict()
        self._strangers = Strangers(
            self._seal,
            self._streams.links,
            config.mesh_name,
            self.node_id,
            self._met.__contains__,
        )
        self._events = MemberEvents()
        self._followers: list[MemberEvents] = []
        self._seen: dict[str, tuple[CoreMember, Member]] = {}
        self._joins: list[_JoinCall] = []
        self._left = trio.Event()
        self.failure: IdentityTakenError | None = None
        self.failed = trio.Event()
        self._timer_changed = trio.Event()
        self._sleeping_until_ms: float = inf

    @property
    def node_id(self) -> str:
        """This node's id, 32 hex digits."""
        return self._swim.node_id

    @property
    def session(self) -> int:
        """Of this process, as all members know it: another run of it will not have the number."""
        return self._swim.own.profile.session

    @property
    def address(self) -> Address:
        """What other members use: the advertised host and port."""
        return self._address

    @property
    def keyring(self) -> Keyring:
        """The mesh's keys as this node has them now."""
        return self._keyring

    def members(self) -> list[Member]:
        """Members that are alive or suspected, this node included, sorted by id."""
        return [self._member_of(member) for member in self._swim.present()]

    def set_tags(self, tags: Mapping[str, Plain]) -> None:
        """Replaces what this node says of itself; it spreads by gossip, in a second or so.

        What `set_tag` said stays, and wins over a tag of the same name. The same tags again cost
        nothing.

        Raises:
            MisuseError: more than 512 bytes when packed, or a value that is not plain.
                The tags are as before.
        """
        self._announce(dict(tags), self._lasting_tags)

    def set_tag(self, name: str, value: Plain) -> None:
        """Says one thing more, whatever `set_tags` says from now on; None says it no more.

        Raises: MisuseError, as `set_tags` does.
        """
        lasting = {**self._lasting_tags, name: value}
        self._announce(self._tags, {key: one for key, one in lasting.items() if one is not None})

    def _announce(self, tags: dict[str, Plain], lasting: dict[str, Plain]) -> None:
        self._swim.set_tags(pack_tags({**tags, **lasting}), _now_ms())
        self._tags, self._lasting_tags = tags, lasting
        self._pump()

    async def next_event(self) -> MemberEvent:
        """Waits for the next membership event, of others only. One consumer at a time.

        A consumer that lags sees fewer, never wrong events: per member at most two wait, the end
        of one life (`died`, `left`) and the newest after it.
        """
        return await self._events.next()

    def follow(self) -> MemberEvents:
        """The events of others from now on for one more consumer, in a queue of its own.

        It is as long-lived as this member; take from it, or it holds two events for each member.
        """
        self._followers.append(MemberEvents())
        return self._followers[-1]

    async def join(self, addresses: Iterable[Address]) -> None:
        """Asks members at these addresses for the mesh; returns when the first has answered.

        This node's own address is left out; with no other there is nothing to do.

        Raises:
            ForeignMeshError: nobody answered, and a node there has another mesh key or mesh name.
            JoinError: nobody answered in the time (3 s by default). The sentence tells apart:
                nobody listens there; somebody does who is no node; datagrams do not pass
                although streams do. The node goes on alone and may be asked again.
            MisuseError: this node has left.
        """
        if self._left.is_set():
            raise MisuseError("this node has left the mesh; open a new one to join again.")
        wanted = sorted(set(addresses))
        resolved = {place for each in wanted for place in await self._resolve(each)}
        if wanted and not resolved:
            names = ", ".join(host for host, _ in wanted)
            raise JoinError(f"{names} cannot be found; check the name or give an address.")
        found = resolved - {self._address}
        if not found:
            return
        call = _JoinCall(found)
        self._joins.append(call)
        try:
            self._swim.join(sorted(found), _now_ms())
            self._pump()
            await call.done.wait()
        finally:
            self._joins.remove(call)
        if not call.is_answered:
            raise await self._strangers.why_unanswered(sorted(found))

    async def leave(self) -> None:
        """Says goodbye and waits, at most 2 s, until it has been handed on. Idempotent.

        Members see `left` and not, seconds later, `died`. The streams still work; close the mesh
        (leave its `async with`) next.
        """
        self._swim.leave(_now_ms())
        self._pump()
        await self._left.wait()
        await self._snapshots.write(self._swim.snapshot())

    def send_nowait(self, node_id: str, message: bytes, kind: int = MESSAGES) -> bool:
        """Queues a message for one member. Messages of one sender arrive in order, at most once.

        Args:
            kind: `links.MESSAGES` or `links.KEYS`; each has its own streams, queues and order.

        Returns:
            False when it was not queued: the member is not there (or is this node), or its queue is
            full (256 messages or 16 MiB): try again later. True promises nothing: a member that
            dies, or a stream that breaks, loses what it had; the layer above repeats.

        Raises:
            MisuseError: the message is longer than 4 MiB.
        """
        return self._streams.send_nowait(node_id, message, kind)

    async def receive(self, kind: int = MESSAGES) -> tuple[str, bytes]:
        """Waits for the next message of a kind; the node id is the sender's as its key proved it.

        The sender need not be among `members()` yet. Who reads slowly slows the senders down.
        """
        return await self._streams.inboxes[kind].get()

    def handle(self, kind: int, handler: Handler) -> None:
        """Takes requests of a kind (`links.ORDER`, ...) on links of their own, beside messages."""
        self._streams.calls.handle(kind, handler)

    async def ask(
        self,
        node_id: str,
        kind: int,
        request: bytes,
        *,
        timeout_s: float,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
    ) -> bytes:
        """A member's answer to a request, on a link of its own: never behind messages.

        Raises:
            PeerError: it is not there, cannot be reached, or did not answer in time. It may have
                acted on the request.
        """
        address = self._address_of(node_id)
        if address is None:
            raise PeerError("is not in the mesh now")
        return await self._streams.calls.ask(
            kind, address, node_id, request, timeout_s, answer_bytes_max
        )

    def set_keyring(self, ring: Keyring) -> None:
        """Other keys for the mesh, from now on. Streams change to them without losing a message.

        Change one thing at a time, and on all members before the next: see `keyring`.
        """
        certificates = Certificates(ring, self._config.mesh_name, self._config.identity)
        self._keyring = ring
        self._seal.set_ring(ring)
        self._streams.set_certificates(certificates)

    def admission_changed(self) -> None:
        """`MeshConfig.admits` answers otherwise than before: who is not admitted is cut off."""
        self._streams.drop_not_admitted()
        self._swim.check_admission(_now_ms())
        self._pump()

    def refused(self) -> list[str]:
        """Ids of nodes that have the mesh key and were not admitted, 256 at most."""
        return [each for each in self._streams.links.refused() if not self._config.admits(each)]

    def statistics(self) -> dict[str, int]:
        """Counters since the start and gauges, by name."""
        return {
            **self._swim.statistics(),
            **self._datagrams.counts,
            **self._streams.statistics(),
            "datagrams_of_unknown_form": self._seal.rejected_form,
            "datagrams_of_another_key": self._seal.rejected_key,
        }

    # Tasks.

    async def _run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._streams.run, self._listener)
            nursery.start_soon(self._run_datagrams)
            nursery.start_soon(self._run_timer)
            nursery.start_soon(self._run_seeds)
            nursery.start_soon(self._strangers.run)
            nursery.start_soon(self._run_snapshots)
            if self._config.discovery:
                nursery.start_soon(self._run_discovery)

    async def _run_datagrams(self) -> None:
        while True:
            await self._datagrams.wait()
            self._read_waiting()
            await trio.lowlevel.checkpoint()

    async def _run_timer(self) -> None:
        while True:
            timer_ms = self._swim.get_timer()
            self._sleeping_until_ms = inf if timer_ms is None else timer_ms
            self._timer_changed = trio.Event()
            with trio.move_on_at(self._sleeping_until_ms / 1_000):
                await self._timer_changed.wait()
                continue
            # After a stall the answers lie in the socket: they count before the timers do.
            self._read_waiting()
            self._swim.handle_timer(_now_ms())
            self._pump()

    async def _run_seeds(self) -> None:
        def found(known: set[Address], new: set[Address]) -> None:
            self._swim.set_seeds(known)
            self._swim.join(new - {self._address}, _now_ms())
            self._pump()
            for each in known:
                self._meet(each)

        await keep_seeds(
            self._config.seeds,
            resolve=self._resolve,
            is_met=lambda places: any(each.address in places for each in self._swim.present()),
            found=found,
        )

    async def _run_snapshots(self) -> None:
        while True:
            await trio.sleep(SNAPSHOT_INTERVAL_S)
            if not self._left.is_set():  # then `leave` keeps the last one
                await self._snapshots.write(self._swim.snapshot())

    async def _run_discovery(self) -> None:
        def found(address: Address) -> None:
            if address not in {member.address for member in self._swim.present()}:
                self._swim.join([address], _now_ms())
                self._pump()

        await discover(
            mesh_name=self._config.mesh_name,
            node_id=self.node_id,
            address=self._address,
            bound_host=self._config.host,
            found=found,
        )

    def _read_waiting(self) -> None:
        for data, source in self._datagrams.read(DATAGRAMS_PER_TURN):
            frame = self._seal.open(data)
            if frame is None:
                self._strangers.take(data, source)
            else:
                self._swim.receive_datagram(frame, source, _now_ms())
                self._strangers.judge(source[0], self._swim.rejected())
        self._pump()

    def _pump(self) -> None:
        """After any call of the core: passes on its events, sends its datagrams, keeps its time."""
        while (event := self._swim.next_event()) is not None:
            if isinstance(event, events.MemberEvent):
                self._take_member_event(event)
            elif isinstance(event, events.LeaveDone):
                self._left.set()
            elif isinstance(event, events.IdentityTaken):
                self._end_as_taken(event.address)
            elif isinstance(event, events.NameTaken):
                name = printable(event.member.profile.name)
                self._streams.links.log_once(
                    event.member.id,
                    "name",
                    f"has the name {name!r}, and so has {event.other_id}; name nodes differently",
                )
            elif isinstance(event, (events.JoinAnswered, events.JoinUnanswered)):
                for call in self._joins:
                    call.take(event.address, isinstance(event, events.JoinAnswered))
        for frame, destination in self._swim.datagrams_to_send():
            self._datagrams.send(self._seal.seal(frame), destination)
        for frame, destination, node_id in self._swim.stream_frames_to_send():
            self._streams.send_frame_soon(FRAME, destination, node_id, frame)
        timer_ms = self._swim.get_timer()
        if timer_ms is not None and timer_ms < self._sleeping_until_ms:
            self._timer_changed.set()

    def _take_member_event(self, event: events.MemberEvent) -> None:
        member = self._member_of(event.member)
        self._meet(member.address)
        if not event.member.is_present:
            self._streams.drop(member.id)
            self._seen.pop(member.id, None)
        told = MemberEvent(cast(MemberEventKind, event.kind), member)
        for queue in (self._events, *self._followers):
            queue.put(told)

    async def _take_frame(self, sender: str, frame: bytes) -> None:
        self._swim.receive_stream_frame(frame, sender, _now_ms())
        self._strangers.judge(sender, self._swim.rejected())
        self._pump()

    def _end_as_taken(self, address: Address) -> None:
        self.failure = IdentityTakenError(
            f"another process at {address[0]}:{address[1]} has the identity {self.node_id} of this "
            "node; stop one of the two, and where its key file was copied, delete the copy: a new "
            "one is made at the start."
        )
        self._left.set()
        self.failed.set()

    # Small things.

    def _meet(self, address: Address) -> None:
        self._met[address] = None
        self._met.move_to_end(address)
        if len(self._met) > MET_MAX:
            self._met.popitem(last=False)

    def _member_of(self, member: CoreMember) -> Member:
        seen = self._seen.get(member.id)
        if seen is not None and seen[0] is member:
            return seen[1]
        shown = Member(
            id=member.id,
            name=printable(member.profile.name),
            address=member.address,
            state=_STATES[member.state],
            tags=unpack_tags(member.profile.tags),
            incarnation=member.incarnation,
            session=member.profile.session,
        )
        self._seen[member.id] = (member, shown)
        return shown

    async def _resolve(self, address: Address) -> list[Address]:
        return await resolve(address, self._datagrams.family)

    def _address_of(self, node_id: str) -> Address | None:
        member = self._swim.member(node_id)
        if member is None or not member.is_present or node_id == self.node_id:
            return None
        return member.address


class _JoinCall:
    """One `Mesh.join` that waits."""

    def __init__(self, addresses: set[Address]) -> None:
        self._waiting = set(addresses)
        self.is_answered = False
        self.done = trio.Event()

    def take(self, address: Address, is_answered: bool) -> None:
        if address in self._waiting:
            self._waiting.discard(address)
            self.is_answered = self.is_answered or is_answered
        if self.is_answered or not self._waiting:
            self.done.set()


@asynccontextmanager
async def open_mesh(config: MeshConfig) -> AsyncIterator[Mesh]:
    """Binds, listens and takes part until the block ends. Seeds are asked in the background.

    Leaving the block without `leave()` is what a crash looks like to the others.

    Raises:
        ListenError: the address cannot be bound; nothing was started.
        MisuseError: a field of the configuration is out of its bounds; nothing was started.
        IdentityTakenError: at the end of the block, which is cancelled: another process has this
            node's identity.
    """
    datagrams, listener = await bind(config.host, config.port)
    with datagrams, listener:
        mesh = Mesh(config, (datagrams, listener), await _advertised(config, datagrams))
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mesh._run)
            nursery.start_soon(_cancel_when, mesh.failed, nursery.cancel_scope)
            try:
                yield mesh
            except Exception as error:  # the caller's own; a nursery would make a group of it
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if mesh.failure is not None:
            raise mesh.failure


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _advertised(config: MeshConfig, bound: socket.socket) -> Address:
    if config.advertise is not None:
        places = await resolve(config.advertise, bound.family)
        if not places:
            raise ListenError(
                f"the advertised host {config.advertise[0]!r} has no address; name one that has."
            )
        return places[0]
    host, port = bound.getsockname()[:2]
    if host in _WILDCARDS:
        host = outward_host(bound.family, list(config.seeds))
    return host, port


def _now_ms() -> int:
    # The small addend undoes the rounding of a timer's milliseconds to seconds and back.
    return floor(trio.current_time() * 1_000 + 0.001)
