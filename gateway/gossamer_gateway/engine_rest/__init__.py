"""Camunda 7's REST, whatever engine holds the process."""

from quart import Blueprint

from gossamer_gateway.desk import Desk


def create_blueprint(desk: Desk) -> Blueprint:
    """Everything under `/engine-rest`."""
    return Blueprint("engine_rest", __name__)
