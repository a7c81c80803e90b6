"""A gRPC server on trio and h2, for calls of one request and one or many messages.

`server` is what callers use; below it `wire` decides what goes over a connection. Formats and
status codes are those of the node's client. Why no library: grpcio is 19 MB of C++ with threads of
its own, purerpc holds h2 back, and Hypercorn keeps something of every call that ended by trailers
until its connection ends.
"""

from gossamer_gateway.grpc.server import Asked, GrpcServer, Handler

__all__ = ["Asked", "GrpcServer", "Handler"]
