"""Doors to workflows over HTTP: `/workflow/…`, and `/executions`, which is the same runs otherwise
seen.

Endpoints are rows (`rows`), as those of `/v1`, and stand in the same OpenAPI document. `shapes` is
what they answer, `views` makes it, `bodies` reads what they are sent.
"""

from gossamer_gateway.runs.api.blueprint import create_blueprints, operations

__all__ = ["create_blueprints", "operations"]
