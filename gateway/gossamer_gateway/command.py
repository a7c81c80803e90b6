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
"""

import argparse
import json
import os

from gossamer_gateway.config import GATEWAY
from gossamer_gateway.server import Gateway, run_gateway
from gossamer_node import config, logs


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of every setting."""
    config.add_flags(parser, record=GATEWAY)


def run(arguments: argparse.Namespace) -> int:
    """Runs until it is stopped by SIGTERM or Ctrl-C."""
    settings = config.load_record(GATEWAY, arguments)
    logs.setup(settings.log.format, settings.log.level)
    run_gateway(settings, _announce)
    return 0


def _announce(gateway: Gateway) -> None:
    print(json.dumps({"http": gateway.url, "grpc": gateway.grpc, "pid": os.getpid()}), flush=True)
