"""Camunda 8's gRPC, whatever engine holds the process."""

from collections.abc import Mapping

from gossamer_gateway.desk import Desk
from gossamer_gateway.grpc.server import Handler


def methods(desk: Desk) -> Mapping[str, Handler]:
    """The gateway service's methods, by their paths."""
    return {}
