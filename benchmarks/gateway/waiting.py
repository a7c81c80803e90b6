"""Thousands of long polls at one gateway: what they hold of its memory, and how soon they wake."""

import select
import time
from dataclasses import dataclass

import httpx
from benchmarks.gateway.load import Connection, cpu_s, request, rss_mib
from benchmarks.gateway.stage import Server

POLL_MS = 60_000


@dataclass(frozen=True, slots=True)
class Crowd:
    """What a crowd of waiting clients cost.

    Attributes:
        mib_before, mib_first, mib_last: the gateway's memory: without them, once all wait, at the
            end.
        cpu_share: of one core, while nothing happens.
        woken_ms: for each instance that was started, until a waiting client had its job.
    """

    clients: int
    workers: int
    mib_before: float
    mib_first: float
    mib_last: float
    cpu_share: float
    woken_ms: list[float]


def crowd(
    server: Server, engine: str, *, clients: int, workers: int, starts: int, seconds: float
) -> Crowd:
    """Lets clients wait for jobs of one topic, and starts instances one by one.

    Args:
        engine: REST of a Camunda 7 with a process `BenchWait` of one external task, topic
            `bench-wait`.
        workers: how many worker ids the clients have among them.
        seconds: how long they wait in peace at first.
    """
    before = rss_mib(server.pid)
    connections = [Connection(server.url) for _ in range(clients)]
    poller = select.poll()
    asked = [_fetch(f"worker-{number % workers}") for number in range(clients)]
    by_fd = {}
    for connection, one in zip(connections, asked, strict=True):
        connection.send(one)
        by_fd[connection.fileno()] = (connection, one)
        poller.register(connection.fileno(), select.POLLIN)
    first = 0.0
    begun_s = time.monotonic()
    spent_s = cpu_s([server.pid])
    while time.monotonic() - begun_s < seconds:
        for fd, _ in poller.poll(500):
            _again(*by_fd[fd])
        first = first or rss_mib(server.pid)
    share = (cpu_s([server.pid]) - spent_s) / seconds
    woken = []
    with httpx.Client(base_url=engine) as http:
        for _ in range(starts):
            http.post("/process-definition/key/BenchWait/start", json={}).raise_for_status()
            started_s = time.perf_counter()
            has_it = False
            while not has_it:
                ready = poller.poll(POLL_MS)
                took_ms = (time.perf_counter() - started_s) * 1_000
                for fd, _ in ready:
                    has_it = _again(*by_fd[fd]) or has_it
            woken.append(took_ms)
    last = rss_mib(server.pid)
    for connection in connections:
        connection.close()
    return Crowd(clients, workers, before, first, last, share, woken)


def _fetch(worker: str) -> bytes:
    body = (
        f'{{"workerId":"{worker}","maxTasks":1,"asyncResponseTimeout":{POLL_MS},'
        '"topics":[{"topicName":"bench-wait","lockDuration":600000}]}'
    )
    return request("POST", "/engine-rest/external-task/fetchAndLock", body.encode())


def _again(connection: Connection, asked: bytes) -> bool:
    """Takes an answer and asks anew; whether it brought a job."""
    status, body = connection.answer()
    assert status == 200, body[:300]
    connection.send(asked)
    return body.strip() != b"[]"
