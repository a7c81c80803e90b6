"""Gossamer's own API, `/v1/*`: the mesh, the engines, what runs on them, live.

Its endpoints are rows (`api.table`), out of which its routes and its OpenAPI document are made
(`operations`, `openapi`). Routes and overrides have blueprints of their own.
"""

from gossamer_gateway.v1.api import Sources, create_blueprint
from gossamer_gateway.v1.opening import begin

__all__ = ["Sources", "begin", "create_blueprint"]
