"""The node's counts for Prometheus: as text, and over HTTP.

`text` makes the exposition format (Prometheus documentation, "Text-based format", version 0.0.4)
of the node's status. The server takes `GET /metrics` and nothing else, over h11, which comes with
the HTTP client; a request and its answer are bounded in bytes, time and number, and a connection
has one of them. Nothing that a peer sends raises out of it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import h11
import trio

from gossamer_node.address import Address
from gossamer_node.errors import InputError

REQUEST_BYTES_MAX = 8_192
"""Prometheus sends a few hundred bytes."""

ANSWER_MS_MAX = 5_000
"""Who asks more slowly, or reads more slowly, is cut off."""

CONNECTIONS_MAX = 16
"""At once; more wait in the system's queue."""

PREFIX = "gossamer_"

Sample = tuple[Mapping[str, str], float]


def text(status: Mapping[str, Any]) -> str:
    """The metrics of a status, as `Node.status` gives it."""
    lines: list[str] = []
    for name, kind, meaning, samples in _families(status):
        lines += [f"# HELP {PREFIX}{name} {meaning}", f"# TYPE {PREFIX}{name} {kind}"]
        lines += [f"{PREFIX}{name}{_labels(labels)} {value:g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _families(status: Mapping[str, Any]) -> Iterator[tuple[str, str, str, list[Sample]]]:
    node, holding = status["node"], status["holding"]
    yield (
        "info",
        "gauge",
        "Always 1; says which node this is.",
        [({"name": node["name"], "mesh": node["mesh"], "version": node["version"]}, 1)],
    )
    yield "up_seconds", "gauge", "Since the node started.", [({}, node["up_seconds"])]
    states = [one["state"] for one in status["members"]]
    yield (
        "members",
        "gauge",
        "Members of the mesh, as this node sees them.",
        [({"state": state}, states.count(state)) for state in ("alive", "suspect")],
    )
    yield "slots", "gauge", "Jobs that may run here at once.", [({}, holding["slots"])]
    yield "slots_busy", "gauge", "Jobs that run here.", [({}, holding["running"])]
    yield (
        "outcomes_kept",
        "gauge",
        "Outcomes that no claimer has acknowledged.",
        [({}, holding["unacknowledged"])],
    )
    yield (
        "jobs_total",
        "counter",
        "Jobs worked here, by how they ended.",
        [({"outcome": kind}, count) for kind, count in sorted(status["outcomes"].items())],
    )
    yield (
        "service_instances",
        "gauge",
        "Jobs of a service that this node runs at once, at most.",
        [({"service": one["name"]}, one["instances"]) for one in status["services"]],
    )
    yield (
        "services",
        "gauge",
        "Services that this node knows; loaded; parked until their next job; waiting; ending.",
        [({"state": state}, count) for state, count in sorted(status["registry"].items())],
    )
    instances = status["instances"]
    yield (
        "dense_instances",
        "gauge",
        "Live instances of dense services, and keys with a state whose instance is parked.",
        [({"state": state}, instances[state]) for state in ("live", "parked")],
    )
    yield (
        "key_forks_total",
        "counter",
        "Keys that two sides of a parted mesh had both worked, as their home found.",
        [({}, status["keyed"]["forks"])],
    )
    yield (
        "worker_lines_dropped_total",
        "counter",
        "Lines that workers logged beyond their bounds.",
        [({}, status["worker_lines_dropped"])],
    )
    demand = status["demand"]
    for name, meaning in (
        ("demand", "Jobs that run or wait on an engine, mesh-wide, as its claimers tell."),
        ("capacity", "Slots that serve an engine, mesh-wide."),
        ("desired", "Slots that would serve it well: a quarter more than the demand."),
        ("parts", "Claimers that share an engine's jobs."),
    ):
        yield (
            f"engine_{name}",
            "gauge",
            meaning,
            [({"engine": one["engine"]}, one[name]) for one in demand],
        )
    engines = status["engines"]
    yield (
        "engine_reachable",
        "gauge",
        "Whether an engine of this node answers.",
        [({"engine": one["name"]}, int(one["reachable"])) for one in engines],
    )
    for key, meaning in (
        ("polls", "Polls by this node."),
        ("polls_failed", "Polls that the engine did not answer."),
        ("jobs_activated", "Jobs that this node took from an engine."),
        ("jobs_pushed", "Jobs among them that the engine pushed."),
    ):
        yield (
            f"engine_{key}_total",
            "counter",
            meaning,
            [({"engine": one["name"]}, one[key]) for one in engines],
        )
    claimed = sorted(status["claimed"].items())
    for key in ("granted", "regranted", "released", "settled", "stale"):
        yield (
            f"leases_{key}_total",
            "counter",
            f"Leases that this node's claimers have {key}.",
            [({"group": group}, one[key]) for group, one in claimed],
        )
    yield (
        "leases_open",
        "gauge",
        "Leases that this node's claimers have open.",
        [({"group": group}, one["open"]) for group, one in claimed],
    )
    yield (
        "claimer_load",
        "gauge",
        "How near a claimer is to its limit, 1 at it.",
        [({"group": group}, one["load_thousandths"] / 1_000) for group, one in claimed],
    )


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


async def serve_metrics(
    address: Address,
    status: Callable[[], Mapping[str, Any]],
    *,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answers until it is cancelled. Says where it listens when it does.

    Raises: InputError when it cannot listen there.
    """
    try:
        listeners = await trio.open_tcp_listeners(address.port, host=address.host)
    except OSError as error:
        raise InputError(
            f"cannot listen on {address} for metrics ({error.strerror or error}); choose another "
            "metrics.listen."
        ) from None
    limit = trio.CapacityLimiter(CONNECTIONS_MAX)
    host, port, *_ = listeners[0].socket.getsockname()
    async with trio.open_nursery() as nursery:
        task_status.started((host, port))
        await trio.serve_listeners(
            partial(_answer, status, limit), listeners, handler_nursery=nursery
        )


async def _answer(
    status: Callable[[], Mapping[str, Any]], limit: trio.CapacityLimiter, stream: trio.SocketStream
) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=REQUEST_BYTES_MAX)
    with trio.move_on_after(ANSWER_MS_MAX / 1_000):
        async with stream, limit:
            try:
                code, body = await _read(connection, stream, status)
                await stream.send_all(_said(connection, code, body))
            except (trio.BrokenResourceError, h11.ProtocolError):
                pass  # who asked went away, or there is nothing that could be said to it


async def _read(
    connection: h11.Connection, stream: trio.SocketStream, status: Callable[[], Mapping[str, Any]]
) -> tuple[int, str]:
    received = 0
    try:
        while (event := connection.next_event()) is h11.NEED_DATA:
            data = await stream.receive_some(REQUEST_BYTES_MAX)
            received += len(data)
            if received > REQUEST_BYTES_MAX:
                return 431, "too long\n"
            connection.receive_data(data)
    except h11.RemoteProtocolError as error:
        return error.error_status_hint, "no request\n"
    if not isinstance(event, h11.Request):
        raise h11.LocalProtocolError("nothing was asked")
    if event.method != b"GET":
        return 405, ""
    if event.target.split(b"?")[0] != b"/metrics":
        return 404, "see /metrics\n"
    return 200, text(status())


def _said(connection: h11.Connection, code: int, body: str) -> bytes:
    data = body.encode()
    headers: Iterable[tuple[str, str]] = (
        ("content-type", "text/plain; version=0.0.4; charset=utf-8"),
        ("content-length", str(len(data))),
        ("connection", "close"),
    )
    if connection.our_state is h11.ERROR:
        raise h11.LocalProtocolError("no answer fits")
    parts = (
        connection.send(h11.Response(status_code=code, headers=list(headers))),
        connection.send(h11.Data(data)) if data else b"",
        connection.send(h11.EndOfMessage()),
    )
    return b"".join(part or b"" for part in parts)
