"""A mesh of real processes on this machine: what it hears of kills, and what it costs when idle.

`run` starts this module as a program of its own in a network namespace where it is allowed to, so
that the loopback there carries nothing else and its counters are the mesh's bytes. The program
forks the members (thirty interpreters that start by themselves would take the two cores half a
minute), each of which runs the real driver `open_mesh`. All clocks are the machine's monotonic
one, so moments of different processes compare.
"""

import argparse
import fcntl
import json
import multiprocessing
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import trio
from benchmarks.mesh.report import Say

from gossamer_mesh.drivers import Mesh, MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring

AGREE_S_MAX = 120.0
HEARD_S_MAX = 60.0
SETTLE_S = 12.0
"""After a change, before idle costs count."""

GAP_S = 2.0
"""Between agreement and the next kill."""

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


@dataclass(slots=True)
class Told:
    """What a herd found.

    Attributes:
        kills_s: per kill, until the first and until the last of the others knew.
        idle_s: how long was looked at.
        bytes_per_s: on the loopback per member, headers included; None without a namespace.
        cpu_ms_per_s: per member, least, median and greatest.
        false_deaths: deaths heard of members that nobody killed.
    """

    kills_s: list[list[float]] = field(default_factory=list)
    idle_s: float = 0.0
    bytes_per_s: float | None = None
    cpu_ms_per_s: list[float] = field(default_factory=list)
    false_deaths: int = 0


def run(*, members: int, kills: int, idle_s: float, folder: Path, say: Say) -> Told:
    """Runs a herd as a program of its own.

    Raises:
        RuntimeError: it failed; the folder has its log.
    """
    own = ["unshare", "-rn"] if _may_unshare() else []
    command = [sys.executable, "-m", "benchmarks.mesh.herd", f"--members={members}"]
    command += [f"--kills={kills}", f"--idle={idle_s}", *(["--alone"] if own else [])]
    say(f"starting {members} processes" + ("" if own else " (no network namespace of their own)"))
    log = folder / "herd.log"
    with log.open("w") as errors:
        done = subprocess.run(
            [*own, *command],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
        )
    if done.returncode:
        tail = log.read_text()[-2_000:]
        raise RuntimeError(f"the herd ended with {done.returncode}; its log ends:\n{tail}")
    return Told(**json.loads(done.stdout))


def _may_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0
    )


class Herd:
    """The members' processes, and what they say."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("fork")
        self._key = secrets.token_bytes(32)
        self._pipes: dict[Connection, str] = {}
        self._processes: dict[str, Any] = {}
        self._address: tuple[str, int] | None = None
        self._killed: set[str] = set()
        self.views: dict[str, int] = {}
        self.deaths: dict[str, dict[str, float]] = {}
        self.cpu_s: dict[str, float] = {}
        self.false_deaths = 0

    def start(self) -> None:
        """One more member. The first is everybody's seed."""
        here, there = self._context.Pipe()
        identity = Identity.generate()
        seeds = () if self._address is None else (self._address,)
        config = MeshConfig(identity=identity, keyring=Keyring((self._key,)), seeds=seeds)
        child = self._context.Process(target=_run_member, args=(there, config), daemon=True)
        child.start()
        there.close()
        self._pipes[here] = identity.node_id
        self._processes[identity.node_id] = child
        self.views[identity.node_id] = 0
        if self._address is None:
            self.hear_until(lambda: self._address is not None, AGREE_S_MAX)

    def agree(self) -> None:
        """Waits until everyone sees everyone."""
        self.hear_until(
            lambda: all(one == len(self.views) for one in self.views.values()), AGREE_S_MAX
        )

    def kill(self, number: int) -> list[float]:
        """Kills one; seconds until the first and the last of the others knew."""
        victim = sorted(self.views)[number % len(self.views)]
        child = self._processes.pop(victim)
        self._killed.add(victim)
        killed_s = time.monotonic()
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        del self.views[victim]
        for pipe in [one for one, id in self._pipes.items() if id == victim]:
            del self._pipes[pipe]
            pipe.close()
        self.deaths[victim] = {}
        self.hear_until(lambda: set(self.views) <= set(self.deaths[victim]), HEARD_S_MAX)
        after_s = [at_s - killed_s for at_s in self.deaths[victim].values()]
        return [min(after_s), max(after_s)]

    def ask_cpu(self) -> dict[str, float]:
        """CPU seconds of each member so far."""
        self.cpu_s = {}
        for pipe in self._pipes:
            pipe.send("cpu")
        self.hear_until(lambda: len(self.cpu_s) == len(self.views), AGREE_S_MAX)
        return self.cpu_s

    def hear_for(self, length_s: float) -> None:
        end_s = time.monotonic() + length_s
        while (left_s := end_s - time.monotonic()) > 0:
            self._hear(left_s)

    def hear_until(self, done: Callable[[], bool], within_s: float) -> None:
        end_s = time.monotonic() + within_s
        while not done():
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                raise RuntimeError(f"not so within {within_s:.0f} s: {self.views} {self.deaths}")
            self._hear(left_s)

    def _hear(self, within_s: float) -> None:
        for pipe in wait(list(self._pipes), within_s):
            assert isinstance(pipe, Connection)
            id = self._pipes[pipe]
            try:
                kind, value, at_s = pipe.recv()
            except EOFError:
                raise RuntimeError(f"member {id} ended by itself") from None
            if kind == "address":
                self._address = self._address or value
            elif kind == "view":
                self.views[id] = value
            elif kind == "cpu":
                self.cpu_s[id] = value
            elif value in self._killed:
                self.deaths[value].setdefault(id, at_s)
            else:
                self.false_deaths += 1

    def end(self) -> None:
        for child in self._processes.values():
            child.kill()
            child.join()


def _run_member(pipe: Connection, config: MeshConfig) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    trio.run(_member, pipe, config)


async def _member(pipe: Connection, config: MeshConfig) -> None:
    async with open_mesh(config) as mesh, trio.open_nursery() as nursery:
        pipe.send(("address", mesh.address, time.monotonic()))
        nursery.start_soon(_answer, pipe)
        await _tell(pipe, mesh)


async def _tell(pipe: Connection, mesh: Mesh) -> None:
    while True:
        event = await mesh.next_event()
        if event.kind == "died":
            pipe.send(("died", event.member.id, time.monotonic()))
        pipe.send(("view", len(mesh.members()), time.monotonic()))


async def _answer(pipe: Connection) -> None:
    while True:
        await trio.lowlevel.wait_readable(pipe.fileno())
        pipe.recv()
        pipe.send(("cpu", time.process_time(), time.monotonic()))


def raise_loopback() -> None:
    """In a new network namespace it is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(plain, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(plain, _SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | _IFF_UP, b""))


def loopback_bytes() -> int:
    """Sent so far."""
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == "lo":
            return int(counts.split()[8])
    raise RuntimeError("no loopback in /proc/self/net/dev")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=30)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--idle", type=float, default=0.0, help="seconds to count idle costs")
    parser.add_argument("--alone", action="store_true", help="the network namespace is ours")
    arguments = parser.parse_args()
    if arguments.alone:
        raise_loopback()
    told = Told(idle_s=arguments.idle)
    herd = Herd()
    try:
        for _ in range(arguments.members):
            herd.start()
        herd.agree()
        if arguments.idle:
            herd.hear_for(SETTLE_S)
            before, before_bytes, began_s = herd.ask_cpu(), loopback_bytes(), time.monotonic()
            herd.hear_for(arguments.idle)
            length_s, sent_bytes = time.monotonic() - began_s, loopback_bytes() - before_bytes
            after = herd.ask_cpu()
            cpu = sorted((after[id] - before[id]) / length_s * 1_000 for id in after)
            told.cpu_ms_per_s = [cpu[0], cpu[len(cpu) // 2], cpu[-1]]
            if arguments.alone:
                told.bytes_per_s = sent_bytes / length_s / arguments.members
        for number in range(arguments.kills):
            herd.hear_for(GAP_S)
            told.kills_s.append(herd.kill(7 * number + 3))
            herd.start()
            herd.agree()
        told.false_deaths = herd.false_deaths
    finally:
        herd.end()
    print(json.dumps(asdict(told)))


if __name__ == "__main__":
    main()
