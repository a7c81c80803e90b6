"""What a mesh driver is given, and what it shows: configuration, members, membership events.

Plain immutable values, without I/O. A node id is 32 lowercase hex digits (`identity.node_id_of`);
an address is the pair (host, port) at which a member takes datagrams and streams alike.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring
from gossamer_mesh.swim.config import Config

Address = tuple[str, int]

Plain = None | bool | int | str | bytes | list["Plain"] | dict[str, "Plain"]
"""What a tag's value may be: what msgpack carries without loss, floats left out."""

MemberState = Literal["alive", "suspect", "dead", "left"]

MemberEventKind = Literal["joined", "changed", "suspected", "cleared", "died", "left"]
"""joined: a member that was unknown, dead or gone is there. changed: its tags, name or address did.
suspected: it does not answer. cleared: it answered after all. died: it stayed silent, or came
back as a new process (then `joined` follows at once). left: it said goodbye."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member as this node sees it now.

    Attributes:
        id: node id, hash of its public key.
        name: for people; not unique, not trusted.
        address: where its datagrams and streams go.
        state: dead and left members are in events only.
        tags: what it says of itself, at most 512 bytes packed.
        incarnation: rises with each thing it says of itself, restarts included.
        session: drawn at random when its process started: another session is another process,
            which knows nothing of the leases of the one before.
    """

    id: str
    name: str
    address: Address
    state: MemberState
    tags: Mapping[str, Plain]
    incarnation: int
    session: int


@dataclass(frozen=True, slots=True)
class MemberEvent:
    """Something happened to a member; `member` is as it was right after."""

    kind: MemberEventKind
    member: Member


def anyone(node_id: str) -> bool:
    """Admits whoever has the mesh key."""
    return True


@dataclass(frozen=True, slots=True)
class MeshConfig:
    """How one node takes part in a mesh.

    Attributes:
        identity: this node's key (`identity.load_or_create`).
        keyring: the mesh's keys (`keyring.read_keyring`): who has one may be in the mesh.
        mesh_name: meshes of different names never mix, even with one key.
        name: this node's name, for people; the default is the first digits of its id.
        host: address to bind, for UDP and TCP.
        port: port to bind, the same number for both; 0 takes a pair that is free.
        advertise: (host, port) that other members use, where it differs from what is bound
            (address translation). The default is what is bound, and for a wildcard host the
            address from which this machine reaches the first seed.
        seeds: addresses of members to join through, host names or digits; each is asked again, now
            and then, while no member has its address, and names are looked up again then.
        discovery: announce and find members on the local network (zeroconf).
        tags: what this node says of itself at first.
        admits: whether the node of an id may be in the mesh although it has the key; by default
            any may. Asked often, so quick; after it changed its mind call `Mesh.admission_changed`.
        snapshot_file: keeps whom this node knew, for its next start: with it a mesh finds itself
            again after a power cut although no seed is there. None: nothing is kept.
        tuning: how fast the protocol goes.
    """

    identity: Identity
    keyring: Keyring
    mesh_name: str = "gossamer"
    name: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    advertise: Address | None = None
    seeds: tuple[Address, ...] = ()
    discovery: bool = False
    tags: Mapping[str, Plain] = field(default_factory=dict)
    admits: Callable[[str], bool] = anyone
    snapshot_file: Path | None = None
    tuning: Config = field(default_factory=Config)
