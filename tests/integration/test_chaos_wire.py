"""The network of the chaos runs: what it is told to lose, delay or cut, and nothing else."""

import sys

import pytest
import trio
from tests.conftest import NO_RIGHTS
from tests.integration.chaos_wire import HOST, Wire, missing, open_wire
from tests.patience import patience

pytestmark = pytest.mark.processes

COUNT = 400
SEED = 7

SAY = f"""
import socket, sys
ECHO_REPLY = bytes((0, 0, 0xFF, 0xFF, 0, 0, 0, 0))  # RFC 792: type, code, checksum
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as mouth:
    for _ in range({COUNT}):
        mouth.sendto(ECHO_REPLY, (sys.argv[1], 0))
"""
"""Packets to which nobody answers, as there was no question: what is counted is these alone."""


async def say(wire: Wire, number: int, to: int) -> None:
    await trio.run_process([*wire.within(number), sys.executable, "-c", SAY, wire.address(to)])


async def carried(wire: Wire, number: int, to: int) -> dict[str, int]:
    """What became of `COUNT` packets. Nobody need listen for one to be carried."""
    before = await wire.counts()
    await say(wire, number, to)
    with patience():
        while True:
            counts = {name: count - before[name] for name, count in (await wire.counts()).items()}
            if sum(counts[name] for name in ("carried", "cut", "lost")) == COUNT:
                return counts


async def test_links_do_as_they_are_told() -> None:
    if lacks := missing():
        pytest.skip(f"{NO_RIGHTS}{lacks}")
    async with open_wire(3, SEED) as wire:
        assert (await carried(wire, 1, 2))["carried"] == COUNT
        await wire.cut([1], [2, HOST])
        assert (await carried(wire, 1, 2))["cut"] == COUNT
        assert (await carried(wire, 2, 1))["cut"] == COUNT
        assert (await carried(wire, 1, HOST))["cut"] == COUNT
        assert (await carried(wire, 2, 3))["cut"] == 0
        await wire.heal()
        assert (await carried(wire, 1, 2))["cut"] == 0
        await wire.lose([1], [2], 0.2)
        lost = (await carried(wire, 1, 2))["lost"]
        assert 0.1 * COUNT < lost < 0.3 * COUNT, f"seed {SEED}"
        await wire.heal()
        await wire.delay([1], [3], (5, 10))
        assert (await carried(wire, 1, 3))["late"] == COUNT


async def test_a_door_leads_to_this_machine_and_can_move() -> None:
    if lacks := missing():
        pytest.skip(f"{NO_RIGHTS}{lacks}")
    ask = (
        "import socket, sys\n"
        "with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as stream:\n"
        "    print(stream.makefile().readline(), end='')"
    )

    async with open_wire(1, SEED) as wire, trio.open_nursery() as nursery:
        door = 0
        for said in ("first", "second"):

            async def greet(stream: trio.SocketStream, said: str = said) -> None:
                await stream.send_all(f"{said}\n".encode())
                await stream.aclose()

            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, greet, [listener])
            port: int = listener.socket.getsockname()[1]
            door = await wire.lead(port, door)
            command = [*wire.within(1), sys.executable, "-c", ask, wire.host, str(door)]
            answer = await trio.run_process(command, capture_stdout=True)
            assert answer.stdout.decode() == f"{said}\n"
        nursery.cancel_scope.cancel()
