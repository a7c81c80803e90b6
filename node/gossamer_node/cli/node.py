"""Run a node: it joins the mesh, claims work from its engines and runs its services.

examples:
  gossamer node --config gossamer.yaml
  gossamer node --engine kind=camunda7,url=http://localhost:8080/engine-rest --service ./my-service
  gossamer node --key mesh.key --listen 10.0.0.2:7407 --join 10.0.0.1:7407 --service ./my-service
"""

import argparse

from gossamer_node import config, logs
from gossamer_node.supervisor import run_node


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of every setting."""
    config.add_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs until it is stopped by SIGTERM or Ctrl-C."""
    settings = config.load(arguments)
    logs.setup(settings.log.format, settings.log.level)
    run_node(settings)
    return 0
