"""What observing costs: CPU time per request at the gateway's door, and per job in the mesh.

    python -m benchmarks.bench_tracing

A request goes through the door into an application that answers at once, without sockets; a job
takes the four steps that a node traces. Each is run without a collector, with one that keeps
nothing of what begins here, and with one that keeps everything. CPU time is the whole process's, so
encoding and sending by the SDK's thread count; the collector is a process of its own. The best of
`ROUNDS` rounds counts: others use the machine, too.
"""

import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from gossamer_gateway.door.asgi import Door
from gossamer_gateway.door.config import DoorConfig
from gossamer_gateway.door.gate import Gate
from gossamer_gateway.observing.observing import Observing
from gossamer_mesh.leases.messages import Grant, LeaseId
from gossamer_node.jobs import Job, JobRef
from gossamer_node.tracing.jobs import JobTraces, ended
from gossamer_node.tracing.opening import open_tracing
from gossamer_node.tracing.port import Tracing
from gossamer_node.tracing_config import TracingConfig
from gossamer_node.variables import Variables
from gossamer_node.work.wire import pack_receipt

COUNT = 2_000
"""Of one round: fewer spans than the queue holds, so that none is dropped."""
ROUNDS = 15

COLLECTOR = """
import http.server
class Taking(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taking)
print(server.server_port, flush=True)
server.serve_forever()
"""


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers at once."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def requests(tracing: Tracing) -> None:
    """Requests through the door."""
    gate = Gate(DoorConfig(), now_ms=lambda: 0)
    door = Door(application, gate, observing=Observing(tracing, "traceparent"))

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        del message

    for number in range(COUNT):
        await door(
            {
                "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http",
                "path": f"/engine-rest/process-instance/{number}", "query_string": b"",
                "headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 1),
            },
            receive,
            send,
        )  # fmt: skip


async def jobs(tracing: Tracing) -> None:
    """Jobs of which each is claimed, granted, run and settled, as far as traces are concerned."""
    traces = JobTraces(tracing, "traceparent", "node")
    for number in range(COUNT // 4):
        key = str(number)
        job = Job(JobRef("engine", key, "topic", "w"), Variables({"a": 1}), 1_000)
        job = traces.claimed(job)
        receipt = pack_receipt(job.ref)
        grant = Grant(
            LeaseId("engine/0", key, "claimer", 1, 1, number), "topic", 1_000, receipt, b""
        )
        traces.granted(grant, "holder")
        with traces.running(job.ref) as span:
            ended(span, "completed")
        with traces.settling(receipt) as span:
            ended(span, "applied")


async def round_us(
    work: Callable[[Tracing], Awaitable[None]], config: TracingConfig, count: int
) -> float:
    """CPU time for one, in microseconds, in one round."""
    began_s = time.process_time()
    async with open_tracing(config, "bench", "bench", "0") as tracing:
        await work(tracing)
    return (time.process_time() - began_s) / count * 1e6


async def run(url: str) -> None:
    """All, as a table. What is compared takes turns, after a round that nobody counts."""
    print("| | off | nothing kept | all kept |\n|---|---|---|---|")
    configs = (TracingConfig(), TracingConfig(url, 0), TracingConfig(url, 100))
    for name, work, count in (("request", requests, COUNT), ("job", jobs, COUNT // 4)):
        rounds = [[await round_us(work, one, count) for one in configs] for _ in range(ROUNDS + 1)]
        best = (min(column) for column in zip(*rounds[1:], strict=True))
        print(f"| CPU per {name} | " + " | ".join(f"{one:.1f} µs" for one in best) + " |")


def main() -> None:
    """Runs with a collector of its own."""
    command = [sys.executable, "-c", COLLECTOR]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as collector:
        assert collector.stdout is not None
        port = int(collector.stdout.readline())
        try:
            trio.run(run, f"http://127.0.0.1:{port}")
        finally:
            collector.terminate()


if __name__ == "__main__":
    main()
