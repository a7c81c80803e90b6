"""Camunda 8's REST, whatever engine holds the process.

`face` answers HTTP; what a request means is `camunda8`'s. What has no handler here goes to the
Camunda 8 as it came.
"""

from gossamer_gateway.v2.face import Face, create_blueprint

__all__ = ["Face", "create_blueprint"]
