"""g. How long from an activated job to its start on another node, and what a lease costs."""

import time
from collections.abc import Sequence
from pathlib import Path

import trio
from benchmarks.mesh.nodes import ENGINE, Nodes, Settings
from benchmarks.mesh.report import Part, Say, Table, percentile
from tests.node.source_engine import SourceEngine

from gossamer_node.engines.port import Effect, Settlement, TopicRequest
from gossamer_node.jobs import BpmnError, Completed, Failed, Job, JobRef
from gossamer_node.variables import Variables

NAME = "handoff"
TITLE = "Handing a lease over"
HOW = """
Two node processes on loopback with the real driver and leasing: one claims and does not work, the
other works and does not claim. The claimer's engine is a feeder in its own process, without HTTP,
so that what is measured is the mesh's: grant, TLS stream, accept, outcome, settled. Jobs carry 1
KiB of variables; the worker ends them at once. *Paced*: a job at a time, 50 a second; the latency
runs from the moment when the engine's answer is there to the first line of the worker on the
other node. *Flood*: as many as the credits allow (64 slots). CPU is each whole process's, over
the phase.
"""
TOPIC = "bench-handoff"
SLOTS = 64
SIZES = {"full": (20.0, 15.0), "quick": (5.0, 4.0), "tiny": (0.5, 0.5)}
"""Seconds of each phase."""

PACE_S = 0.02


class Feeder(SourceEngine):
    """Has jobs at a given pace instead, and takes every outcome; it remembers none of them."""

    def __init__(self, paced_s: float, flood_s: float) -> None:
        super().__init__(ENGINE)
        self._paced_s, self._flood_s = paced_s, flood_s
        self._made = 0
        self._began_s: float | None = None
        self._next_s = 0.0

    async def activate(
        self, topics: Sequence[TopicRequest], *, jobs_max: int, wait_ms: int, worker_id: str
    ) -> list[Job]:
        """Paced first, then as many as are asked for. A job's key says when it was activated."""
        now_s = trio.current_time()
        if self._began_s is None:
            self._began_s = self._next_s = now_s + 1.0
        paced_end_s = self._began_s + self._paced_s
        flood_s = paced_end_s + 1.0
        if now_s < paced_end_s:
            await trio.sleep_until(self._next_s)
            self._next_s += PACE_S
            count, phase = 1, "paced"
        elif now_s < flood_s + self._flood_s:
            await trio.sleep_until(max(flood_s, now_s))
            await trio.lowlevel.checkpoint()
            count, phase = jobs_max, "flood"
        else:
            await trio.sleep(wait_ms / 1_000)
            return []
        return [self._job(phase, topics[0].name, worker_id) for _ in range(count)]

    def _job(self, phase: str, topic: str, worker_id: str) -> Job:
        self._made += 1
        key = f"{phase}|{self._made}|{time.monotonic_ns()}"
        return Job(
            JobRef(ENGINE, key, topic, worker_id, retries=3),
            Variables({"text": "x" * 1_000}),
            lock_ms=30_000,
        )

    async def release(self, job: JobRef) -> Settlement:
        return Settlement(Effect.APPLIED)

    async def complete(self, job: JobRef, outcome: Completed) -> Settlement:
        await trio.lowlevel.checkpoint()
        return Settlement(Effect.APPLIED)

    async def fail(self, job: JobRef, outcome: Failed) -> Settlement:
        return Settlement(Effect.APPLIED)

    async def throw_error(self, job: JobRef, outcome: BpmnError) -> Settlement:
        return Settlement(Effect.APPLIED)


def run(scale: str, say: Say, folder: Path) -> Part:
    """Measures."""
    del folder
    paced_s, flood_s = SIZES[scale]
    say(f"paced for {paced_s:g} s, then a flood for {flood_s:g} s")
    with Nodes() as nodes:
        claimer = nodes.start(
            Settings(TOPIC, lambda: Feeder(paced_s, flood_s), serves=False, slots=1)
        )
        holder = nodes.start(
            Settings(TOPIC, lambda: Feeder(0, 0), claims=False, holds_jobs=False, slots=SLOTS)
        )
        nodes.agree()
        nodes.until(lambda: any(one.kind == "started" for one in nodes.said))
        cpu = [nodes.statuses()]
        for phase_s in (paced_s, flood_s):
            end_s = time.monotonic() + phase_s + 1.0
            while (left_s := end_s - time.monotonic()) > 0:
                nodes.listen(left_s)
            cpu.append(nodes.statuses())
    latency = Table(
        "From activated to started on the other node, ms",
        ["phase", "leases"] + ["p50", "p99", "slowest"],
    )
    cost = Table(
        "CPU of a lease, ms",
        ["phase", "leases/s", "claimer", "holder", "together"],
        note="Of whole processes, gossip and timers included, which weigh more when paced.",
    )
    for number, phase in enumerate(("paced", "flood")):
        times_ms = []
        for one in nodes.said:
            if one.kind == "started" and str(one.value).startswith(phase):
                times_ms.append(one.at_s * 1_000 - int(str(one.value).rsplit("|", 1)[1]) / 1e6)
        count = len(times_ms)
        latency.rows.append(
            [
                phase,
                count,
                percentile(times_ms, 0.5),
                percentile(times_ms, 0.99),
                max(times_ms, default=None),
            ]
        )
        used_ms = [
            (cpu[number + 1][id]["cpu_s"] - cpu[number][id]["cpu_s"]) * 1_000 / max(1, count)
            for id in (claimer.id, holder.id)
        ]
        cost.rows.append([phase, count / (paced_s, flood_s)[number], *used_ms, sum(used_ms)])
    return Part(NAME, TITLE, HOW, [], [latency, cost])
