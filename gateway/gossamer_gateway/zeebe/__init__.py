"""Camunda 8's gRPC, whatever engine holds the process.

`face` answers calls, `forms` is REST v2's JSON as the messages of `gateway.proto`, and the other
way round; what a request means is `camunda8`'s.
"""

from gossamer_gateway.zeebe.face import methods

__all__ = ["methods"]
