"""All attacks at once, in both profiles, beside a service that means well: what is left of them.

    python -m tests.hostile.siege [--rounds 3] [--repeat 20]

Run in a process of its own, because memory, mappings, threads and descriptors belong to a process.
Prints a line of JSON: what the process had before the host (`bare`), with the host after a first
round (`warm`), after the further ones (`after`), and when the host had gone (`gone`).
"""

import argparse
import gc
import json
import os
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

import trio
import wasmtime
from tests.hostile.attacks import ATTACKS
from tests.hostile.services import DEADLINE_MS, DONE, GOOD, JOB, PROFILES, limits_of, service

from gossamer_node.jobs import Failed
from gossamer_node.service.spec import Grant, Limits
from gossamer_node.wasm import Detached, WasmHost, Worker

LEAVE_S = 30.0
"""For threads to leave. Those that trio keeps do so when they had nothing to do for 10 s."""


@dataclass(frozen=True, slots=True)
class Has:
    """What a process has."""

    resident_bytes: int
    mappings: int
    threads: int
    descriptors: int


def has() -> Has:
    """Of this process, now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Has(
        pages * os.sysconf("SC_PAGE_SIZE"),
        Path("/proc/self/maps").read_bytes().count(b"\n"),
        len(list(Path("/proc/self/task").iterdir())),
        len(list(Path("/proc/self/fd").iterdir())),
    )


class Siege:
    """One host under attack."""

    def __init__(self, host: WasmHost, repeat: int) -> None:
        self._host = host
        self._repeat = repeat
        self._attackers: list[tuple[str, Worker]] = []
        self._good: list[Worker] = []
        self.wrong: list[str] = []
        self.good_jobs = self.bad_jobs = 0

    async def load(self, folder: Path) -> None:
        for profile in PROFILES:
            path = folder / "good.wasm"
            path.write_bytes(GOOD.module())
            spec = service(path, profile, Limits(time_ms_max=DEADLINE_MS))
            self._good.append(await self._host.load(spec, Grant()))
            for number, (name, attack) in enumerate(ATTACKS.items()):
                path = folder / f"{number}.wasm"
                path.write_bytes(attack.module())
                spec = service(path, profile, limits_of(attack))
                self._attackers.append((name, await self._host.load(spec, Grant())))

    async def round(self) -> None:
        async with trio.open_nursery() as nursery:
            for name, worker in self._attackers:
                nursery.start_soon(self._attack, name, worker)
            for worker in self._good:
                nursery.start_soon(self._work, worker)

    async def _attack(self, name: str, worker: Worker) -> None:
        attack = ATTACKS[name]
        for _ in range(self._repeat if attack.ends else 1):
            outcome = await worker.run(JOB, deadline_ms=DEADLINE_MS, context=Detached())
            self.bad_jobs += 1
            said = outcome.message if isinstance(outcome, Failed) else None
            if said != attack.said:
                self.wrong.append(f"{name}: {outcome}")

    async def _work(self, worker: Worker) -> None:
        for _ in range(10 * self._repeat):
            outcome = await worker.run(JOB, deadline_ms=DEADLINE_MS, context=Detached())
            self.good_jobs += 1
            if outcome != DONE:
                self.wrong.append(f"bystander: {outcome}")


async def besieged(rounds: int, repeat: int) -> dict[str, object]:
    # Both start threads with their first use, which stay.
    await trio.to_thread.run_sync(threading.get_ident)
    wasmtime.Module(wasmtime.Engine(), GOOD.module())
    bare = has()
    told = await _besieged(rounds, repeat)
    gc.collect()
    # The kernel counts a thread until it has seen to its end, later than who waited for that.
    with trio.move_on_after(LEAVE_S):
        while has().threads > bare.threads:  # noqa: ASYNC110 - which nobody tells
            await trio.sleep(0.01)
    return told | {"bare": asdict(bare), "gone": asdict(has())}


async def _besieged(rounds: int, repeat: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        async with WasmHost(Path(folder) / "cache", threads=2) as host:
            siege = Siege(host, repeat)
            await siege.load(Path(folder))
            await siege.round()
            warm = has()
            for _ in range(rounds):
                await siege.round()
            after = has()
    return {
        "warm": asdict(warm),
        "after": asdict(after),
        "good_jobs": siege.good_jobs,
        "bad_jobs": siege.bad_jobs,
        "wrong": siege.wrong[:20],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=20)
    arguments = parser.parse_args()
    print(json.dumps(trio.run(besieged, arguments.rounds, arguments.repeat)))


if __name__ == "__main__":
    main()
