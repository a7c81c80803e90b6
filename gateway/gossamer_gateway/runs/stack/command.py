"""Run all of workflows here: Kafka, PostgreSQL, Redis, a gateway and three example workers.

Kafka comes from Maven Central at the first start; PostgreSQL and Redis are Debian's, or those that
you name. Everything listens on 127.0.0.1 alone, and what it keeps is in one folder: the next start
goes on where the last one stopped. Ctrl-C or `gossamer stack down` ends it in good order.

examples:
  gossamer stack up                          until Ctrl-C
  gossamer stack up --http 8081 --kafka-port 9192
                                             where 8080 or 9092 are taken
  gossamer stack up --kafka localhost:9092 --postgres "host=localhost dbname=flows" \\
      --redis redis://localhost:6379/0       with what is there already
  gossamer stack up --offered 'mesh-*'       jobs of these actions stay off Kafka
  gossamer stack status                      what runs, and where
  gossamer stack down
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import trio

from gossamer_gateway.errors import GatewayError, InputError
from gossamer_gateway.runs.stack import settings as places
from gossamer_gateway.runs.stack.parts import StackError
from gossamer_gateway.runs.stack.settings import Settings
from gossamer_gateway.runs.stack.up import (
    ENDING,
    RUNNING,
    Stack,
    open_stack,
    read_state,
)
from gossamer_gateway.runs.stack.workers import EXAMPLES
from gossamer_gateway.settings.remote import URL_DEFAULT
from gossamer_node.cli.helping import add_subcommand, run_subcommand
from gossamer_node.control import is_held
from gossamer_node.errors import NodeError
from gossamer_node.local_engines import printed

DOWN_DEADLINE_S = 90.0
"""For all parts to end; a worker first finishes what it has begun."""

ACTION_CHARACTERS_MAX, OFFERED_MAX = 200, 100
"""As the gateway's configuration takes them."""

_LOOK_S = 0.1


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    up = add_subcommand(actions, "up", _up)
    status = add_subcommand(actions, "status", _status)
    down = add_subcommand(actions, "down", _down)
    for one in (up, status, down):
        one.add_argument(
            "--dir", type=_path, default=None, metavar="FOLDER",
            help=f"of all that it keeps (default: {places.default_folder()})",
        )  # fmt: skip
    for one in (up, status):
        one.add_argument("--json", action="store_true", help="print one line of JSON")
    up.add_argument(
        "--http", type=_ports, default=places.HTTP_PORTS, metavar="PORT[,PORT]",
        help=f"ports of the gateway (default: {','.join(map(str, places.HTTP_PORTS))})",
    )  # fmt: skip
    for name, what, port, example in (
        ("kafka", "Kafka", places.KAFKA_PORT, "HOST:PORT"),
        ("postgres", "PostgreSQL", places.POSTGRES_PORT, "DSN"),
        ("redis", "Redis", places.REDIS_PORT, "URL"),
    ):
        one_of = up.add_mutually_exclusive_group()
        one_of.add_argument(f"--{name}", metavar=example, help=f"a {what} that is there already")
        one_of.add_argument(
            f"--{name}-port", type=_port, default=port, metavar="PORT",
            help=f"for the {what} that is started (default: {port}; 0: any)",
        )  # fmt: skip
    names = [one.name for one in EXAMPLES]
    up.add_argument(
        "--workers", type=_workers, default=tuple(names), metavar="NAME[,NAME]",
        help=f"example workers to start, or none (default: {','.join(names)})",
    )  # fmt: skip
    up.add_argument(
        "--offered", type=_actions, default=(), metavar="ACTION[,ACTION]",
        help="actions, in which * stands for any characters, whose jobs are fetched over HTTP or "
        "by nodes of the mesh instead of going to Kafka (default: none)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Carries out the action.

    Raises:
        InputError: Something that a person must mend; nothing was started.
        StackError, LocalEngineError: A part did not start, or ended by itself.
    """
    return run_subcommand(arguments)


def _folder(arguments: argparse.Namespace) -> Path:
    folder: Path = (arguments.dir or places.default_folder()).absolute()
    return folder


def _up(arguments: argparse.Namespace) -> int:
    """Start all of it, until Ctrl-C.

    examples:
      gossamer stack up
      gossamer stack up --http 8081 --kafka-port 9192
      gossamer stack up --kafka localhost:9092 --workers none
    """
    settings = Settings(
        _folder(arguments), arguments.http, arguments.kafka, arguments.kafka_port,
        arguments.postgres, arguments.postgres_port, arguments.redis, arguments.redis_port,
        arguments.workers, arguments.offered,
    )  # fmt: skip
    failure = trio.run(_until_signal, settings, arguments.json)
    if failure is not None:
        raise failure
    return 0


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("it is empty; name a folder")
    return Path(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or int(text) >= 2**16:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; name one below {2**16}, 0 for any")
    return int(text)


def _ports(text: str) -> tuple[int, ...]:
    return tuple(_port(one) for one in text.split(","))


def _workers(text: str) -> tuple[str, ...]:
    names = () if text == "none" else tuple(text.split(","))
    known = [each.name for each in EXAMPLES]
    for one in names:
        if one not in known:
            raise argparse.ArgumentTypeError(
                f"there is no worker {one!r}; name some of {', '.join(known)}, or none"
            )
    return names


def _actions(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for one in names:
        if not 0 < len(one) <= ACTION_CHARACTERS_MAX:
            raise argparse.ArgumentTypeError(
                f"{one[:ACTION_CHARACTERS_MAX]!r} is no action; write 1 to {ACTION_CHARACTERS_MAX} "
                "characters, several actions with commas between"
            )
    if len(names) > OFFERED_MAX:
        raise argparse.ArgumentTypeError(
            f"{len(names)} actions are more than {OFFERED_MAX}; put a * for what they share"
        )
    return names


async def _until_signal(settings: Settings, as_json: bool) -> GatewayError | NodeError | None:
    failure: GatewayError | NodeError | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            running = trio.CancelScope()
            nursery.start_soon(_cancel_at, signals, running)
            with running:
                try:
                    await _run(settings, as_json)
                except* (GatewayError, NodeError) as group:  # the first of them is the reason
                    failure = _first(group)
            nursery.cancel_scope.cancel()
    return failure


def _first(group: BaseExceptionGroup) -> GatewayError | NodeError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, GatewayError | NodeError), "nothing else was caught"
    return error


async def _cancel_at(signals: AsyncIterator[int], running: trio.CancelScope) -> None:
    """Ends it in good order at the first signal; at a second Ctrl-C at once."""
    async for received in signals:
        if not running.cancel_called:
            by_hand = "; Ctrl-C again ends it at once" if received == signal.SIGINT else ""
            print(f"stopping{by_hand}", file=sys.stderr, flush=True)
            running.cancel()
        elif received == signal.SIGINT:  # as a kill would: the guards end what is left
            signal.signal(received, signal.SIG_DFL)
            signal.raise_signal(received)


async def _run(settings: Settings, as_json: bool) -> None:
    async with open_stack(settings, printed()) as (stack, ends):
        print(json.dumps(asdict(stack)) if as_json else for_people(stack), flush=True)
        raise StackError(await ends.wait())


def for_people(stack: Stack) -> str:
    """What runs, and what to try."""
    own = stack.http[0].replace("127.0.0.1", "localhost")
    lines = [
        f"gateway      {'  '.join(stack.http)}",
        f"Kafka        {stack.kafka}",
        f"PostgreSQL   {stack.postgres}",
        f"Redis        {stack.redis or 'none'}",
        f"workers      {', '.join(stack.workers) or 'none'}",
        f"logs         {stack.logs}",
        *(f"without {name}: {reason}" for name, reason in stack.without.items()),
        "",
        "Try it:",
        f"  curl {own}/workflow/ -d '" + json.dumps(
            {
                "id": "my-first-workflow",
                "steps": [{"action": "step1", "stepIndex": 0}, {"action": "step2", "stepIndex": 1}],
            }
        ) + "'",
        f"  curl {own}/workflow/my-first-workflow/trigger -d '"
        + json.dumps({"input": "Hello World"}) + "'",
        f"  curl {own}/workflow/run/RUN_ID        with the id that the trigger printed",
        f"  gossamer events follow --kafka {stack.kafka}",
        *(() if URL_DEFAULT in stack.http else (
            f"  export GOSSAMER_GATEWAY={stack.http[0]}",
        )),
        "  gossamer workflow runs",
        f"  {own}/live/        in a browser: runs as they go",
        "",
        "Ctrl-C, or `gossamer stack down`, stops all of it; the next `gossamer stack up` goes on.",
    ]  # fmt: skip
    return "\n".join(lines)


def _status(arguments: argparse.Namespace) -> int:
    """Tell what runs, and where; ends with status 1 where nothing does, or not yet.

    examples:
      gossamer stack status
      gossamer stack status --json
    """
    folder, as_json = _folder(arguments), arguments.json
    stack = read_state(folder) if _is_run(folder) else None
    is_up = stack is not None and stack.phase == RUNNING
    if as_json:
        print(json.dumps(None if stack is None else asdict(stack)))
    elif stack is None:
        print(f"no stack runs in {folder}")
    elif is_up:
        print(for_people(stack))
    else:
        print(f"the stack in {folder} is {stack.phase} (program {stack.pid}; logs: {stack.logs})")
    return 0 if is_up else 1


def _down(arguments: argparse.Namespace) -> int:
    """End it in good order.

    examples:
      gossamer stack down
      gossamer stack down --dir /tmp/mine
    """
    return trio.run(_end, _folder(arguments))


async def _end(folder: Path) -> int:
    if not _is_run(folder):
        print(f"no stack runs in {folder}")
        return 0
    stack = read_state(folder)
    if stack is None:
        raise InputError(
            f"the stack in {folder} has just begun, or just ended; try again in a moment."
        )
    if stack.phase != ENDING:
        try:
            os.kill(stack.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass  # it has just ended
        except PermissionError:
            raise InputError(
                f"the stack in {folder} is another user's (program {stack.pid}); end it as that "
                "user, or as root."
            ) from None
    with trio.move_on_after(DOWN_DEADLINE_S):
        while _is_run(folder):  # noqa: ASYNC110 - another process's end tells nobody
            await trio.sleep(_LOOK_S)
        print("stopped")
        return 0
    raise StackError(
        f"the stack's program {stack.pid} has not ended within {DOWN_DEADLINE_S:g} s; "
        f"its logs are in {stack.logs}."
    )


def _is_run(folder: Path) -> bool:
    """Whether a stack runs in a folder. Raises: InputError where that can't be told."""
    try:
        return is_held(folder)
    except OSError as error:
        raise InputError(
            f"{folder} can't be looked into ({error.strerror}); name the folder of a stack with "
            "--dir."
        ) from None
