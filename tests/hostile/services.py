"""What the tests of attacks share: jobs, limits, and a service that means well."""

from pathlib import Path

from tests.hostile.attacks import Attack

from gossamer_node.jobs import Completed, Job, JobRef, Outcome
from gossamer_node.service.spec import Dense, Limits, Profile, ServiceSpec
from gossamer_node.variables import Variables
from gossamer_node.wasm import Detached, Worker

PROFILES: tuple[Profile, ...] = ("fast", "dense")

DEADLINE_MS = 60_000

GOOD = Attack(None)
"""Completes with nothing."""

DONE = Completed(Variables())

JOB = Job(JobRef("camunda7", "job-1", "block-room", "worker", retries=3), Variables(), 30_000)


def service(module: Path, profile: Profile, limits: Limits) -> ServiceSpec:
    return ServiceSpec(
        module.with_suffix(".yaml"),
        "rooms",
        "1.2.0",
        module=module,
        profile=profile,
        limits=limits,
        # As much as they may grow to: what is under attack here is the job, not the keeping.
        dense=Dense(memory_bytes=limits.memory_bytes_max) if profile == "dense" else None,
    )


def limits_of(attack: Attack) -> Limits:
    return Limits(time_ms_max=attack.time_ms, memory_bytes_max=attack.memory_bytes)


def run(worker: Worker, job: Job = JOB) -> Outcome:
    return worker.run_blocking(job, deadline_ms=DEADLINE_MS, context=Detached())
