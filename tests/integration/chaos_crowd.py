"""Many node processes on loopback, without an engine: do they form one mesh, and keep being one?

Times are taken from the nodes' own logs, memory and CPU from /proc. What is sent to them besides
comes from here: bytes that are no datagram, datagrams under another key, and old ones that were
heard on the loopback device (which needs root) and are sent again later.
"""

import math
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import trio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.integration.chaos_keys import Keys, make_keys
from tests.integration.nodes import records
from tests.patience import seen

from gossamer_hotel.demo.processes import Node, open_nodes
from gossamer_mesh.identity import load_or_create
from gossamer_node.local_engines.progress import silent

AGREE_S = 60.0
LOOK_S = 0.2
IDLE_S = 10.0
"""How long the CPU of nodes at rest is measured: no condition, but the length of a measurement."""

JUNK_DATAGRAMS = 200
JUNK_BYTES_MAX = 1_500

_TICKS = os.sysconf("SC_CLK_TCK")
_ETH_P_IP = 0x0800
_IP_HEADER_BYTES, _UDP_HEADER_BYTES = 20, 8


@dataclass(frozen=True, slots=True)
class Deaths:
    """From a crash until a survivor knew, over all pairs of the two, in seconds."""

    pairs: int
    p50_s: float
    p99_s: float


@dataclass(frozen=True, slots=True)
class Rest:
    """What a node costs that has nothing to do; medians over all."""

    memory_mb: float
    """Proportional set size: shared pages are divided among who shares them."""
    cpu_percent: float
    """Of one core."""


class Crowd:
    """The processes. Made by `open_crowd`."""

    def __init__(self, nodes: Sequence[Node], keys: Keys) -> None:
        self.nodes = list(nodes)
        self.keys = keys

    @property
    def alive(self) -> list[Node]:
        return [one for one in self.nodes if not one.killed]

    async def look(self) -> bool:
        looked = [await one.look() for one in self.alive]
        return all(looked)

    async def agreed(self) -> float:
        """Waits until all that live see each other and nobody else. Returns how long it took."""
        began_s = time.monotonic()

        async def look() -> bool:
            return await self.look() and self.is_agreed()

        await seen(look, AGREE_S, LOOK_S)
        return time.monotonic() - began_s

    def is_agreed(self) -> bool:
        """As of the last look: does every node list exactly those that live?

        Who is merely suspected is listed, too."""
        ids = {one.status["node"]["id"] for one in self.alive}
        return all({member["id"] for member in one.status["members"]} == ids for one in self.alive)

    async def kill(self, victims: Iterable[Node]) -> float:
        """Kills them all at once; returns the moment (wall)."""
        ended = list(victims)
        moment_s = time.time()
        for one in ended:
            os.kill(one.pid, signal.SIGKILL)
            one.killed = True
        for one in ended:
            await one.process.wait()
        return moment_s

    async def rotate(self) -> None:
        """Gives all that live another mesh key.

        Raises: RuntimeError when one is left with another, or more than one.
        """
        said = await self.keys.rotate(self.nodes[0].folder / "gossamer.yaml")
        kept = {self.keys.kept_by(one.name) for one in self.alive}
        if kept != {(said[-1]["rotated"],)}:
            raise RuntimeError(f"the nodes are left with the keys {kept}, after {said}")

    def deaths(self, moment_s: float, victims: Iterable[Node]) -> Deaths:
        """When each that lives knew of each victim."""
        names = {one.name for one in victims}
        found = []
        for node in self.alive:
            first: dict[str, float] = {}
            for one in _died(node):
                first.setdefault(one["member"], _seconds(one["ts"]) - moment_s)
            found += [first[name] for name in names if name in first]
        found.sort()
        return Deaths(len(found), _rank(found, 0.5), _rank(found, 0.99))

    async def all_logged(self, moment_s: float, victims: Sequence[Node]) -> Deaths:
        """Waits until each that lives has logged each death: it lists its members before that."""

        async def look() -> Deaths | None:
            found = self.deaths(moment_s, victims)
            return found if found.pairs == len(victims) * len(self.alive) else None

        return await seen(look, AGREE_S, LOOK_S)

    def called_dead(self) -> set[str]:
        """Names that anybody who lives has ever called dead."""
        return {str(one["member"]) for node in self.alive for one in _died(node)}

    def network(self) -> Counter[str]:
        """The network statistics of all that live, added up, as of the last look."""
        total: Counter[str] = Counter()
        for one in self.alive:
            total.update(one.status["network"])
        return total

    async def rest(self) -> Rest:
        """Measures the nodes while nothing happens."""
        await self.look()
        before = [_cpu_s(one.pid) for one in self.alive]
        began_s = time.monotonic()
        await trio.sleep(IDLE_S)
        spent_s = time.monotonic() - began_s
        after = [_cpu_s(one.pid) for one in self.alive]
        used = sorted(b - a for a, b in zip(before, after, strict=True))
        memory = sorted(_memory_mb(one.pid) for one in self.alive)
        return Rest(round(_rank(memory, 0.5), 1), round(100 * _rank(used, 0.5) / spent_s, 2))


@dataclass(frozen=True, slots=True)
class Measured:
    """A crowd that formed, rested, lost a part, agreed and got another key. Times in seconds."""

    nodes: int
    killed: int
    formed_s: float
    """From when the last process answered; their starts take most of the time before."""
    rest: Rest
    deaths: Deaths
    rotated_s: float
    commit: str

    def sentence(self) -> str:
        """For a person."""
        return (
            f"{self.nodes} node processes agree {self.formed_s:.1f} s after the last has started. "
            f"At rest each takes {self.rest.memory_mb} MB and {self.rest.cpu_percent} % of a core. "
            f"Of {self.killed} killed at once, half were known dead within {self.deaths.p50_s} s, "
            f"99 % within {self.deaths.p99_s} s ({self.deaths.pairs} pairs). "
            f"The rest had another mesh key {self.rotated_s:.1f} s after the command."
        )


async def measure(count: int, killed: int, folder: Path, commit: str) -> Measured:
    """Forms a crowd, lets it rest, and kills a part at once.

    Raises: trio.TooSlowError when those that are left do not agree.
    """
    async with open_crowd(count, folder) as crowd:
        formed_s = await crowd.agreed()
        rest = await crowd.rest()
        victims = crowd.nodes[1 : 1 + killed]
        moment_s = await crowd.kill(victims)
        await crowd.agreed()
        deaths = await crowd.all_logged(moment_s, victims)
        began_s = time.monotonic()
        await crowd.rotate()
        rotated_s = time.monotonic() - began_s
        await crowd.agreed()
    return Measured(count, killed, formed_s, rest, deaths, rotated_s, commit)


@asynccontextmanager
async def open_crowd(count: int, folder: Path) -> AsyncIterator[Crowd]:
    """So many nodes on 127.0.0.1 for the length of a block; they end with it, without a goodbye."""
    keys = await make_keys(folder / "keys")
    settings = [{"mesh": keys.settings_of(f"node-{one}")} for one in range(1, count + 1)]
    async with open_nodes(settings, folder, silent) as nodes:
        crowd = Crowd(nodes, keys)
        try:
            yield crowd
        finally:
            for one in crowd.alive:
                with suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGKILL)


def address_of(node: Node) -> tuple[str, int]:
    """Where a node listens, as of the last look."""
    host, _, port = str(node.status["node"]["address"]).rpartition(":")
    return host, int(port)


def public_key_of(node: Node) -> bytes:
    """The raw public half of a node's own key, from its data."""
    key = load_or_create(node.data_dir / "identity.pem").private_key.public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _died(node: Node) -> list[dict[str, Any]]:
    return [one for one in records(node) if one["msg"] == "member" and one["change"] == "died"]


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _rank(ordered: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed (nearest rank); NaN of none."""
    if not ordered:
        return math.nan
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 3)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1_024
    return math.nan
