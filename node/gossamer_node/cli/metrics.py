"""Show what a running node on this machine counts, as Prometheus reads it.

examples:
  gossamer metrics
  gossamer metrics --data-dir /var/lib/gossamer
  gossamer metrics | grep engine_desired
"""

import argparse
from pathlib import Path

from gossamer_node import config
from gossamer_node.control import ask
from gossamer_node.metrics import text


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds which node to ask."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="the node's configuration file")
    parser.add_argument("--name", help="the node's name, if it has another than this machine")
    parser.add_argument("--data-dir", metavar="DIR", help="the node's data folder")


def run(arguments: argparse.Namespace) -> int:
    """Asks the node and prints its metrics."""
    print(text(ask(config.load(arguments).data_dir, "status")), end="")
    return 0
