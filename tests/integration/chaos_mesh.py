"""A mesh of node processes, each in a network namespace of its own, that can be hurt.

Who is who is asked of the nodes themselves, as `gossamer status --json` shows it. Signals go to the
node by its own process id. Whatever happens, leaving the block ends every node at once.
"""

import json
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from tests.integration.chaos_keys import Keys, make_keys
from tests.integration.chaos_wire import Wire
from tests.integration.nodes import records
from tests.patience import seen

from gossamer_hotel.demo.processes import Node, gossamer_process, wait_until_ready

PORT = 7407
LOOK_S = 0.1
AGREE_S = 60.0
"""How long a mesh may take to agree: far beyond any detection or reconnect interval."""

Lease = Mapping[str, Any]
"""As the status shows it."""


class ChaosMesh:
    """The nodes, by number; the first is 1. Made by `open_chaos_mesh`.

    Args:
        wire: their network.
        engine: the name of the engine that they reach.
        settings: what the configuration of all says beside name, place and key.
    """

    def __init__(
        self,
        wire: Wire,
        engine: str,
        settings: Mapping[str, Any],
        folder: Path,
        keys: Keys,
        stack: AsyncExitStack,
    ) -> None:
        self.wire = wire
        self.keys = keys
        self.nodes: dict[int, Node] = {}
        self._engine = engine
        self._settings = settings
        self._folder = folder
        self._stack = stack

    # --- up and down

    async def start(self, number: int) -> None:
        """Starts a node, or starts one again that was killed, on its old data."""
        name = f"node-{number}"
        home = self._folder / name
        if number not in self.nodes:
            (home / "data").mkdir(mode=0o700, parents=True)
        config = {
            "name": name,
            "listen": f"{self.wire.address(number)}:{PORT}",
            "join": [f"{self.wire.address(one)}:{PORT}" for one in (1, 2) if one != number],
            "mesh": self.keys.settings_of(name),
            "data_dir": str(home / "data"),
            "cache_dir": str(self._folder / "cache"),
            "log": {"format": "json", "level": "info"},
            **self._settings,
        }
        file = self.config_of(number)
        file.write_text(yaml.safe_dump(config, sort_keys=False))
        process = await self._stack.enter_async_context(
            gossamer_process(["node", "--config", str(file)], home, within=self.wire.within(number))
        )
        self.nodes[number] = Node(name, home, process)

    def config_of(self, number: int) -> Path:
        """A node's configuration file."""
        return self._folder / f"node-{number}" / "gossamer.yaml"

    async def ready(self, number: int) -> None:
        """Waits until a node that was started answers."""
        node = self.nodes[number]
        await wait_until_ready(node.name, node.process, node.folder, node.look)

    def signal(self, number: int, which: signal.Signals) -> None:
        os.kill(self.nodes[number].pid, which)

    async def kill(self, number: int) -> float:
        """Ends a node as a power cut would. Returns the moment (wall, seconds)."""
        node = self.nodes[number]
        moment = time.time()
        os.kill(node.pid, signal.SIGKILL)
        node.killed = True
        await node.process.wait()
        return moment

    def kill_all(self) -> None:
        for node in self.nodes.values():
            if not node.killed and node.pid and node.process.returncode is None:
                node.killed = True
                with suppress(ProcessLookupError):
                    os.kill(node.pid, signal.SIGKILL)

    @property
    def alive(self) -> list[int]:
        return [number for number, node in self.nodes.items() if not node.killed]

    # --- who is who

    async def look(self, numbers: Sequence[int] | None = None) -> bool:
        """Looks at nodes; whether all answered."""
        looked = [await self.nodes[one].look() for one in numbers or self.alive]
        return all(looked)

    async def agreed(self, numbers: Sequence[int] | None = None) -> int:
        """Waits until these nodes (all that live) see each other, nobody else, and one claimer that
        is one of them. Returns its number.

        Raises: trio.TooSlowError when they do not agree.
        """
        among = list(numbers or self.alive)

        async def look() -> int | None:
            return self._claimer(among) if await self.look(among) else None

        return await seen(look, AGREE_S, LOOK_S)

    def _claimer(self, among: Sequence[int]) -> int | None:
        """As of the last look; None while views differ."""
        ids = {self.id_of(one) for one in among}
        named = set()
        for one in among:
            if {member["id"] for member in self.nodes[one].status["members"]} != ids:
                return None
            named.add(self.roles(one).get("id"))
        if len(named) != 1:
            return None
        return next((one for one in among if self.id_of(one) in named), None)

    def roles(self, number: int) -> Mapping[str, Any]:
        """What a node says of the engine's claimer (and standby), as of the last look."""
        for one in self.nodes[number].status["claimers"]:
            if one["engine"] == self._engine:
                return dict(one)
        return {}

    def standby(self, number: int) -> int | None:
        """The number of the standby, as this node says; None when it knows none."""
        told = self.roles(number).get("standby")
        for one in self.nodes:
            if told and told in (self.id_of(one), self.nodes[one].name):
                return one
        return None

    def id_of(self, number: int) -> str:
        return str(self.nodes[number].status["node"]["id"])

    def leases(self, claimer: int) -> list[Lease]:
        """Those of a claimer, as of the last look."""
        return list(self.nodes[claimer].status["leases"])

    # --- what they logged

    def deaths(self) -> list[tuple[float, int, str]]:
        """Who called whom dead, and when (wall, seconds): of all nodes' logs, in order of time."""
        told = []
        for number, node in self.nodes.items():
            for one in records(node):
                if one["msg"] == "member" and one["change"] == "died":
                    told.append((_seconds(one["ts"]), number, str(one["member"])))
        return sorted(told)

    def troubles(self) -> list[str]:
        """Tracebacks and errors in any log."""
        found = []
        for node in self.nodes.values():
            for line in (node.folder / "log").read_text(errors="replace").splitlines():
                try:
                    one = json.loads(line)
                except ValueError:
                    found.append(f"{node.name}: {line}")
                else:
                    if one["level"] == "error" or "traceback" in one:
                        found.append(f"{node.name}: {line}")
        return found


@asynccontextmanager
async def open_chaos_mesh(
    wire: Wire, count: int, engine: str, settings: Mapping[str, Any], folder: Path
) -> AsyncIterator[ChaosMesh]:
    """A mesh of so many nodes for the length of a block, ready but perhaps not yet agreed."""
    folder.mkdir(parents=True)
    keys = await make_keys(folder / "keys")
    async with AsyncExitStack() as stack:
        mesh = ChaosMesh(wire, engine, settings, folder, keys, stack)
        # Else each guard would wait for its node to finish in good order, one after the other.
        stack.callback(mesh.kill_all)
        try:
            for number in range(1, count + 1):
                await mesh.start(number)
            for number in range(1, count + 1):
                await mesh.ready(number)
            yield mesh
        finally:
            mesh.kill_all()


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
