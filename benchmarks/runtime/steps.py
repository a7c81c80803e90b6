"""Where a job's variables are read and written between engine and guest, and what each costs.

Each process reads them once and writes them once: the claimer from the engine's JSON to the mesh's
msgpack, which is the cheapest for the one that may become the limit; the holder from there to what
the guest reads; and back. Types and integers past 2**53 go through untouched. CPU of one thread.
"""

import json
import time
from collections.abc import Callable

from gossamer_node.jobs import Job, JobRef
from gossamer_node.variables import Variables
from gossamer_node.wasm.envelope import Encoding, decode_outcome, encode_job, pack
from gossamer_node.work.wire import pack_job, pack_outcome, unpack_job, unpack_outcome

PAYLOADS: dict[str, dict[str, object]] = {
    "1 KiB": {"guest": "Ada", "nights": 3, "note": "x" * 700},
    "100 KiB, small": {
        "rows": [{"id": i, "name": "Ada", "price": 1.5, "paid": True} for i in range(2_000)]
    },
    "100 KiB, one text": {"note": "x" * 100_000},
}
REPEATS = 5


def cpu_us(one: Callable[[], object], seconds: float) -> float:
    """The least of some rounds: what else runs can only add."""
    one()
    began_s = time.thread_time()
    one()
    count = max(1, int(seconds / REPEATS / max(1e-6, time.thread_time() - began_s)))
    least_s = float("inf")
    for _ in range(REPEATS):
        began_s = time.thread_time()
        for _ in range(count):
            one()
        least_s = min(least_s, (time.thread_time() - began_s) / count)
    return least_s * 1e6


def steps(values: dict[str, object]) -> dict[str, Callable[[], object]]:
    """In the order of a job's way."""
    variables = Variables(values)  # type: ignore[arg-type]
    job = Job(JobRef("camunda8", "2251799813685262", "pay", "bench", 3), variables, lock_ms=30_000)
    told = json.dumps(values)
    receipt, payload = pack_job(job)

    def guest(encoding: Encoding) -> tuple[Callable[[], object], Callable[[], object]]:
        answer = pack({"completed": {"variables": values}}, encoding)
        return (
            lambda: encode_job(job, deadline_ms=10_000, encoding=encoding),
            lambda: decode_outcome(answer),
        )

    (json_in, json_out), (msgpack_in, msgpack_out) = guest("json"), guest("msgpack")
    outcome = decode_outcome(pack({"completed": {"variables": values}}, "json"))
    packed = pack_outcome(outcome)
    return {
        "claimer: from the engine's JSON": lambda: json.loads(told),
        "claimer: to the mesh": lambda: pack_job(job),
        "holder: from the mesh": lambda: unpack_job(receipt, payload, 30_000),
        "holder: to the guest, JSON": json_in,
        "holder: to the guest, msgpack": msgpack_in,
        "holder: from the guest, JSON": json_out,
        "holder: from the guest, msgpack": msgpack_out,
        "holder: to the mesh": lambda: pack_outcome(outcome),
        "claimer: from the mesh": lambda: unpack_outcome(packed),
        "claimer: to the engine's JSON": lambda: json.dumps(values),
    }


def measure(seconds: float) -> dict[str, dict[str, float]]:
    """CPU µs by step and payload; so many seconds for each payload."""
    costs: dict[str, dict[str, float]] = {}
    for name, values in PAYLOADS.items():
        found = steps(values)
        for step, one in found.items():
            costs.setdefault(step, {})[name] = cpu_us(one, seconds / len(found))
    return costs
