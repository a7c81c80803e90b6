"""A worker in a process of its own: a loop around confluent-kafka, for the engine and by hand.

    python -m benchmarks.workflows.kafka_worker ADDRESS JOBS RESULTS

It answers each job on the first topic with its payload, on the second, until its standard input
ends. What came in one poll is answered together.
"""

import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from confluent_kafka import Consumer, Producer

BATCH_MAX = 500


@asynccontextmanager
async def started(address: str, jobs: str, results: str) -> AsyncIterator[int]:
    """Runs one until the block is left, and gives its process, once it has its partitions."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "benchmarks.workflows.kafka_worker", address, jobs, results],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin and process.stdout
    try:
        said = b""
        while not said.endswith(b"\n"):  # it may come in parts
            part = await process.stdout.receive_some()
            assert part, "the worker ended"
            said += part
        yield process.pid
    finally:
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            await process.wait()


def main() -> int:
    address, jobs, results = sys.argv[1:]
    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": f"bench.{jobs}", "auto.offset.reset": "earliest"}
    )
    producer = Producer({"bootstrap.servers": address, "linger.ms": 1, "enable.idempotence": True})
    stop = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait, daemon=True).start()
    consumer.subscribe([jobs], on_assign=lambda *_: print("ready", flush=True))
    while not stop.is_set():
        first = consumer.poll(0.1)
        if first is None:
            continue
        for one in (first, *consumer.consume(BATCH_MAX - 1, 0)):
            value = one.value()
            assert one.error() is None and value is not None, one.error()
            job = json.loads(value)
            said = {
                "form": 1, "run": job["run"], "step": job["step"], "attempt": job["attempt"],
                "status": "completed", "output": job["payload"], "worker": "bench",
            }  # fmt: skip
            producer.produce(results, json.dumps(said).encode(), one.key())
        producer.poll(0)
    producer.flush(5)
    consumer.close()  # its group goes on behind what is answered
    return 0


if __name__ == "__main__":
    sys.exit(main())
