"""Run a gateway: one API over Camunda 7, Camunda 8 and the embedded engine.

Clients of Camunda 7 find their REST under /engine-rest, clients of Camunda 8 theirs under /v2 and
their gRPC on a port of its own, whichever engine has the process. When it serves, it prints one
line of JSON with its addresses. SIGTERM and Ctrl-C stop it in order.

examples:
  gossamer gateway --config gateway.yaml
  gossamer gateway --engine kind=camunda7,url=http://localhost:8080/engine-rest \\
      --engine kind=camunda8,url=http://localhost:8088,grpc=localhost:26500
  gossamer gateway --config gateway.yaml --http 127.0.0.1:0 --grpc 127.0.0.1:0
                                              on free ports
  gossamer gateway key new hotel-worker --role work --config gateway.yaml
                                              an API key
"""

import argparse
import json
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import trio

from gossamer_gateway import tables
from gossamer_gateway.config import GATEWAY
from gossamer_gateway.door import key_command
from gossamer_gateway.door.key_desk import CONVERSATION, Order, carry_out
from gossamer_gateway.server import Gateway, run_gateway
from gossamer_gateway.storage import open_storage
from gossamer_node import config, control, logs
from gossamer_node.control import is_held
from gossamer_node.supervisor import make_folder


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of every setting."""
    config.add_flags(parser, record=GATEWAY)
    parsers = parser.add_subparsers(metavar="ACTION", dest="action")
    keys = parsers.add_parser("key", help="make, list, revoke and remove API keys")
    place = partial(config.add_flags, record=GATEWAY)
    key_command.configure(keys, lambda action: place(action, "name", "data_dir"))


def run(arguments: argparse.Namespace) -> int:
    """Runs until it is stopped by SIGTERM or Ctrl-C; or carries out an action."""
    if arguments.action == "key":
        return key_command.run(arguments, partial(_order, arguments))
    settings = config.load_record(GATEWAY, arguments)
    logs.setup(settings.log.format, settings.log.level)
    run_gateway(settings, _announce)
    return 0


def _order(arguments: argparse.Namespace, order: Order) -> Mapping[str, Any]:
    """Has an order about keys carried out by the gateway, or on its rows where none runs."""
    settings = config.load_record(GATEWAY, arguments)
    if settings.storage.postgres is None and is_held(settings.data_dir):
        return control.ask(settings.data_dir, f"{CONVERSATION} {json.dumps(order)}")

    async def carry() -> Mapping[str, Any]:
        make_folder(settings.data_dir)
        place = settings.storage.place(settings.data_dir)
        async with open_storage(place, tables.FORM) as storage:
            return await storage.submit(lambda rows, now_ms: carry_out(rows, now_ms, order))

    return trio.run(carry)


def _announce(gateway: Gateway) -> None:
    print(json.dumps({"http": gateway.url, "grpc": gateway.grpc, "pid": os.getpid()}), flush=True)
