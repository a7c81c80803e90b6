"""Camunda 8's REST, whatever engine holds the process."""

from quart import Blueprint

from gossamer_gateway.desk import Desk


def create_blueprint(desk: Desk) -> Blueprint:
    """Everything under `/v2`."""
    return Blueprint("v2", __name__)
