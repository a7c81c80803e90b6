"""Protocol buffers at run time: from .proto files to calls, without protoc.

`schema` reads a service's files (through `parser` and `names`) into descriptors, protobuf's own
runtime does the rest, and `messages` turns JSON into messages and back, within bounds. Why not
protoc: grpcio-tools is larger than the whole node. Why no other parser: the one on PyPI that is
kept up reports errors without raising them and recurses with its input.
"""

from gossamer_node.proto.schema import Method, Schema, load_schema
from gossamer_node.proto.tokens import ProtoError

__all__ = ["Method", "ProtoError", "Schema", "load_schema"]
