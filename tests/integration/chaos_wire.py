"""The network that the chaos runs break: a process of its own that carries every packet by hand.

Each node gets a network namespace with one TUN device in it, and this machine gets one more; this
process holds their other ends and copies IP packets from one to the other. So it alone decides what
is lost, late or cut, for each direction of each pair, from a seed; no firewall and no kernel module
has to be there. Namespaces and devices have no names that outlive anybody: the kernel removes them
when the last process that holds them ends, however it ends. This one ends with its standard input.

The machine itself is number 0. What listens there on 127.0.0.1 (an engine) is reached through a
door: a port of number 0 that is relayed, and can lead elsewhere after the engine has moved.

Run as `python chaos_wire.py NODES SEED`; commands come as lines of JSON, each is answered by one.
"""

import ctypes
import errno
import fcntl
import heapq
import json
import math
import os
import random
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

HOST = 0
"""The number of this machine itself."""

NET = "198.18"
"""RFC 2544 keeps 198.18.0.0/15 for tests; the third number is drawn for each run."""

NODES_MAX = 64
PACKETS_PER_TURN = 64
PACKET_BYTES_MAX = 65_536
LATE_PACKETS_MAX = 100_000
"""Packets under way when there is delay; further ones are dropped, as in a router."""

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C  # linux/sockios.h
_IFF_UP, _IFF_RUNNING = 0x1, 0x40


def missing() -> str:
    """What this machine lacks for namespaces of our own, as a sentence; empty if nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "network namespaces need /dev/net/tun"
    tried = subprocess.run(
        [sys.executable, "-I", __file__, "try"], capture_output=True, text=True, check=False
    )
    return f"no network namespace: {tried.stderr.strip()[-200:]}" if tried.returncode else ""


# --- the process


@dataclass(slots=True)
class Link:
    """One direction between two numbers."""

    cut: bool = False
    loss: float = 0.0
    delay_ms: tuple[int, int] = (0, 0)


class Carrier:
    """Carries packets between the devices.

    Args:
        devices: one file descriptor for each number, not blocking.
        net: the first three numbers of the addresses.
        seed: of loss and delay.
    """

    def __init__(self, devices: Sequence[int], net: str, seed: int) -> None:
        self._devices = devices
        self._number_of = {
            socket.inet_aton(address(net, number)): number for number in range(len(devices))
        }
        self._random = random.Random(seed)
        self._links: dict[tuple[int, int], Link] = {}
        self._late: list[tuple[float, int, int, bytes]] = []
        self._late_changed = trio.Event()
        self.counts = {"carried": 0, "cut": 0, "lost": 0, "late": 0}

    def set_links(self, pairs: Iterable[tuple[int, int]], link: Link) -> None:
        for pair in pairs:
            self._links[pair] = link

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(len(self._devices)):
                nursery.start_soon(self._run_device, number)
            nursery.start_soon(self._run_late)

    async def _run_device(self, number: int) -> None:
        device = self._devices[number]
        while True:
            await trio.lowlevel.wait_readable(device)
            for _ in range(PACKETS_PER_TURN):
                try:
                    packet = os.read(device, PACKET_BYTES_MAX)
                except BlockingIOError:
                    break
                self._carry(number, packet)
            await trio.lowlevel.checkpoint()

    def _carry(self, source: int, packet: bytes) -> None:
        if packet[0] >> 4 != 4:
            return  # the kernel's own IPv6 chatter
        number = self._number_of.get(packet[16:20])
        if number is None:
            return
        link = self._links.get((source, number))
        if link is not None:
            if link.cut:
                self.counts["cut"] += 1
                return
            if link.loss and self._random.random() < link.loss:
                self.counts["lost"] += 1
                return
            if link.delay_ms[1]:
                delay_s = self._random.randint(*link.delay_ms) / 1_000
                if len(self._late) < LATE_PACKETS_MAX:
                    self.counts["late"] += 1
                    due = trio.current_time() + delay_s
                    heapq.heappush(self._late, (due, self.counts["late"], number, packet))
                    self._late_changed.set()
                return
        self._write(number, packet)

    def _write(self, number: int, packet: bytes) -> None:
        try:
            os.write(self._devices[number], packet)
            self.counts["carried"] += 1
        except OSError as error:  # its queue is full: lost, as anywhere
            if error.errno not in (errno.EAGAIN, errno.ENOBUFS, errno.EIO, errno.EINVAL):
                raise
            self.counts["lost"] += 1

    async def _run_late(self) -> None:
        while True:
            self._late_changed = trio.Event()
            due = self._late[0][0] if self._late else math.inf
            with trio.move_on_at(due):
                await self._late_changed.wait()
            while self._late and self._late[0][0] <= trio.current_time():
                _, _, number, packet = heapq.heappop(self._late)
                self._write(number, packet)


class Doors:
    """Ports of number 0 that lead to ports of 127.0.0.1."""

    def __init__(self, host: str, nursery: trio.Nursery) -> None:
        self._host = host
        self._nursery = nursery
        self._leads_to: dict[int, int] = {}

    async def lead(self, door: int, port: int) -> int:
        """Opens a door (0: a free one), or lets one lead elsewhere. Returns its port."""
        if door not in self._leads_to:
            (listener,) = await trio.open_tcp_listeners(door, host=self._host)
            door = listener.socket.getsockname()[1]
            self._nursery.start_soon(
                partial(trio.serve_listeners, partial(self._pass, door), [listener])
            )
        self._leads_to[door] = port
        return door

    async def _pass(self, door: int, outside: trio.SocketStream) -> None:
        async with outside:
            try:
                inside = await trio.open_tcp_stream("127.0.0.1", self._leads_to[door])
            except OSError:
                return  # the engine is down: a connection that closes without a word
            async with inside, trio.open_nursery() as nursery:
                nursery.start_soon(_copy, outside, inside)
                await _copy(inside, outside)
                nursery.cancel_scope.cancel()


async def _copy(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    try:
        while data := await source.receive_some(65_536):
            await sink.send_all(data)
        await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


def address(net: str, number: int) -> str:
    """The address of a number."""
    return f"{net}.{number + 1}"


def _make_devices(nodes: int, net: str) -> tuple[list[int], list[int]]:
    """Devices of all numbers, and the namespaces of the nodes, as file descriptors."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    devices = [_make_device(f"gsmr{os.getpid()}", address(net, HOST))]
    namespaces = []
    for number in range(1, nodes + 1):
        if libc.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
        namespaces.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
        _bring_up("lo")
        devices.append(_make_device("tun0", address(net, number)))
        if libc.setns(home, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    return devices, namespaces


def _make_device(name: str, place: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for request, value in ((_SIOCSIFADDR, place), (_SIOCSIFNETMASK, "255.255.255.0")):
            packed = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(value))
            fcntl.ioctl(control, request, struct.pack("16s24s", name.encode(), packed))
    _bring_up(name)
    return device


def _bring_up(name: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        flags = struct.pack("16sH22x", name.encode(), _IFF_UP | _IFF_RUNNING)
        fcntl.ioctl(control, _SIOCSIFFLAGS, flags)


async def _serve(devices: Sequence[int], namespaces: Sequence[int], net: str, seed: int) -> None:
    carrier = Carrier(devices, net, seed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(carrier.run)
        doors = Doors(address(net, HOST), nursery)
        _say({"net": net, "pid": os.getpid(), "namespaces": list(namespaces)})
        async for line in _lines():
            command = json.loads(line)
            if "door" in command:
                _say({"door": await doors.lead(command["door"], command["port"])})
            elif "pairs" in command:
                link = Link(command["cut"], command["loss"], tuple(command["delay_ms"]))
                carrier.set_links([tuple(one) for one in command["pairs"]], link)
                _say(carrier.counts)
            else:
                _say(carrier.counts)
        nursery.cancel_scope.cancel()


async def _lines() -> AsyncIterator[bytes]:
    waiting = b""
    async with trio.lowlevel.FdStream(os.dup(0)) as stream:
        while data := await stream.receive_some():
            *whole, waiting = (waiting + data).split(b"\n")
            for line in whole:
                yield line


def _say(told: object) -> None:
    print(json.dumps(told), flush=True)


def main(arguments: Sequence[str]) -> int:
    """The process. `try` alone makes one namespace and ends: can this machine do it?"""
    if arguments[0] == "try":
        _make_devices(1, f"{NET}.255")
        return 0
    nodes, seed = int(arguments[0]), int(arguments[1])
    net = f"{NET}.{random.SystemRandom().randrange(255)}"
    devices, namespaces = _make_devices(nodes, net)
    trio.run(_serve, devices, namespaces, net, seed)
    return 0


# --- who starts it


class Wire:
    """The process, as its starter sees it. Numbers of nodes begin at 1."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._waiting = b""
        self._about: dict[str, Any] = {}

    @property
    def host(self) -> str:
        """The address of this machine, as the nodes see it."""
        return self.address(HOST)

    def address(self, number: int) -> str:
        return address(self._about["net"], number)

    def within(self, number: int) -> list[str]:
        """What to write before a command for it to run in a node's namespace."""
        namespace = self._about["namespaces"][number - 1]
        return ["nsenter", f"--net=/proc/{self._about['pid']}/fd/{namespace}"]

    async def lead(self, port: int, door: int = 0) -> int:
        """Opens a door to a port of 127.0.0.1, or lets one lead there. Returns its port."""
        answer = await self._ask({"door": door, "port": port})
        return int(answer["door"])

    async def cut(self, ones: Iterable[int], others: Iterable[int]) -> None:
        """Lets nothing pass between these and those, in both directions."""
        await self._set(_both_ways(ones, others), cut=True)

    async def lose(self, ones: Iterable[int], others: Iterable[int], share: float) -> None:
        """Loses this share of packets in both directions."""
        await self._set(_both_ways(ones, others), loss=share)

    async def delay(
        self, ones: Iterable[int], others: Iterable[int], delay_ms: tuple[int, int]
    ) -> None:
        """Makes each packet late by a time from this range, in both directions."""
        await self._set(_both_ways(ones, others), delay_ms=delay_ms)

    async def heal(self) -> None:
        """Lets everything pass again."""
        everyone = range(len(self._about["namespaces"]) + 1)
        await self._set(_both_ways(everyone, everyone))

    async def counts(self) -> dict[str, int]:
        """Packets carried, cut, lost and late."""
        return dict(await self._ask({}))

    async def _set(
        self,
        pairs: list[tuple[int, int]],
        *,
        cut: bool = False,
        loss: float = 0.0,
        delay_ms: tuple[int, int] = (0, 0),
    ) -> None:
        await self._ask({"pairs": pairs, "cut": cut, "loss": loss, "delay_ms": delay_ms})

    async def _ask(self, command: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps(command).encode() + b"\n")
        return await self.hear()

    async def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while b"\n" not in self._waiting:
            data = await self._process.stdout.receive_some()
            if not data:
                raise RuntimeError("the wire's process has ended; its error is above.")
            self._waiting += data
        line, _, self._waiting = self._waiting.partition(b"\n")
        return dict(json.loads(line))

    async def begin(self) -> None:
        self._about = await self.hear()


def _both_ways(ones: Iterable[int], others: Iterable[int]) -> list[tuple[int, int]]:
    pairs = [(one, other) for one in ones for other in others if one != other]
    return sorted({*pairs, *((other, one) for one, other in pairs)})


@asynccontextmanager
async def open_wire(nodes: int, seed: int) -> AsyncIterator[Wire]:
    """Namespaces for so many nodes, for the length of a block. See `missing` first."""
    if not 1 <= nodes <= NODES_MAX:
        raise ValueError(f"{nodes} nodes: give 1 to {NODES_MAX}.")
    process = await trio.lowlevel.open_process(
        [sys.executable, str(Path(__file__)), str(nodes), str(seed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        wire = Wire(process)
        await wire.begin()
        yield wire
    finally:
        with trio.CancelScope(shield=True):
            assert process.stdin is not None
            await process.stdin.aclose()
            await process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
