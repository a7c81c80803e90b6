"""Read the topic of workflow events: rebuild the states of runs from it, or follow it.

examples:
  gossamer events replay --kafka localhost:9092
                                        every run's state, from the topic alone
  gossamer events replay --kafka localhost:9092 --run RUN_ID --json
                                        one run's, as JSON
  gossamer events follow --kafka localhost:9092
                                        each event as it happens, until Ctrl-C
  gossamer events follow --kafka localhost:9092 --from start --run RUN_ID --json
  gossamer events follow --config gateway.yaml
                                        of the Kafka that a gateway has, signed in as it does
"""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
import trio

from gossamer_gateway.config import GATEWAY
from gossamer_gateway.errors import GatewayError
from gossamer_gateway.runs.kafka.cluster import Cluster, cluster_of
from gossamer_gateway.runs.kafka.log import open_kafka_log
from gossamer_gateway.runs.kafka.replay import Replay
from gossamer_gateway.runs.kafka.topics import EVENTS, brokers, is_missing
from gossamer_gateway.runs.log import Entry
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.run import Run
from gossamer_node.cli.helping import add_subcommand, run_subcommand
from gossamer_node.config import load_record

BATCH = 1_000
WAIT_S = 10.0


class NoEvents(GatewayError):
    """There is no Kafka, no topic, or nothing of that run in it."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    replay = add_subcommand(actions, "replay", _replay)
    follow = add_subcommand(actions, "follow", _follow)
    for one in (replay, follow):
        where = one.add_mutually_exclusive_group()
        where.add_argument(
            "--kafka", default="localhost:9092", metavar="HOST:PORT",
            help="some of its brokers, with commas between (default: %(default)s)",
        )  # fmt: skip
        where.add_argument(
            "--config", type=Path, metavar="FILE",
            help="a gateway's configuration: its `workflows.kafka`, with TLS and SASL",
        )  # fmt: skip
        one.add_argument("--topic", default=EVENTS, help="default: %(default)s")
        one.add_argument("--run", metavar="RUN_ID", help="of this run alone")
        one.add_argument("--json", action="store_true", help="one line of JSON for each")
    follow.add_argument(
        "--from", dest="begin", choices=("now", "start"), default="now",
        help="where to begin (default: %(default)s)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Carries out the action. `replay` is done (0), or names gaps (1).

    Raises: NoEvents.
    """
    return run_subcommand(arguments)


def _replay(arguments: argparse.Namespace) -> int:
    """Rebuild the states of runs from the topic alone; ends with status 1 where some are missing.

    examples:
      gossamer events replay --kafka localhost:9092
      gossamer events replay --kafka localhost:9092 --run RUN_ID --json
    """
    replay = Replay(arguments.run)
    trio.run(
        partial(_read, arguments, lambda entry: replay.take(entry.data), from_start=True, on=False)
    )
    runs = replay.runs()
    if arguments.run is not None and not runs:
        raise NoEvents(f"{arguments.topic} has no beginning of a run {arguments.run}.")
    for one in runs:
        print(msgspec.json.encode(one).decode() if arguments.json else line_of_run(one))
    gaps = list(replay.gaps())
    for gap in gaps:
        print(gap, file=sys.stderr)
    if not arguments.json:
        print(
            f"{len(runs)} runs of {replay.events} events; {replay.duplicates} came twice, "
            f"{replay.unread} could not be read, {len(gaps)} gaps",
            file=sys.stderr,
        )
    return 1 if gaps else 0


def _follow(arguments: argparse.Namespace) -> int:
    """Print events as they happen, until Ctrl-C.

    examples:
      gossamer events follow --kafka localhost:9092
      gossamer events follow --kafka localhost:9092 --from start --run RUN_ID
    """

    def show(entry: Entry) -> None:
        if arguments.run in (None, entry.run):
            print(entry.data.decode() if arguments.json else line_of_event(entry), flush=True)

    trio.run(partial(_read, arguments, show, from_start=arguments.begin == "start", on=True))
    return 0


async def _read(
    arguments: argparse.Namespace, take: Callable[[Entry], object], *, from_start: bool, on: bool
) -> None:
    """Gives what is in the topic, and `on`: what comes."""
    cluster = _cluster(arguments)
    address = cluster.address
    if not await brokers(cluster):
        raise NoEvents(f"no Kafka answers at {address}; name another with --kafka.")
    if await is_missing(cluster, arguments.topic):
        raise NoEvents(
            f"there is no topic {arguments.topic} at {address}; a gateway that has this "
            "Kafka in its configuration makes it, and --topic names another."
        )
    failure: GatewayError | None = None
    async with open_kafka_log(cluster, arguments.topic) as log:
        try:
            end = await log.end()
            cursor = await log.start() if from_start else end
            while on or not log.reached(cursor, end):
                entries, cursor = await log.read(cursor, BATCH, WAIT_S)
                for one in entries:
                    take(one)
        except GatewayError as error:  # kept out of the log's nursery, which would wrap it
            failure = error
    if failure is not None:
        raise NoEvents(f"{arguments.topic} at {address} can't be read: {failure}")


def _cluster(arguments: argparse.Namespace) -> Cluster:
    """Raises: NoEvents, where the configuration has none; InputError, where it is wrong."""
    if arguments.config is None:
        return Cluster(arguments.kafka)
    kafka = load_record(GATEWAY, argparse.Namespace(config=arguments.config)).workflows.kafka
    if kafka is None:
        raise NoEvents(f"{arguments.config} has no workflows.kafka; name brokers with --kafka.")
    cluster = cluster_of(kafka)
    cluster.check()
    return cluster


def line_of_run(run: Run) -> str:
    """A run for people."""
    steps = ", ".join(f"{id} {state.status.value}" for id, state in run.steps.items())
    said = f": {run.failure.message}" if run.failure is not None else ""
    return f"{run.id}  {run.workflow}  {run.status.value}{said}  ({steps or 'no steps yet'})"


def line_of_event(entry: Entry) -> str:
    """An event for people."""
    try:
        event = entry.event
    except msgspec.DecodeError:
        return f"{entry.run}  {entry.seq}  (of a kind that this version does not know)"
    at = datetime.fromtimestamp(event.at_ms / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
    kind = str(event.__struct_config__.tag)
    more = " ".join(
        str(getattr(event, name)) for name in ("step", "attempt") if hasattr(event, name)
    )
    failure: e.Failure | None = getattr(event, "failure", None)
    said = f"  {failure.code}: {failure.message}" if failure is not None else ""
    return f"{at}  {entry.run}  {entry.seq:>3}  {kind:<17} {more}{said}".rstrip()
