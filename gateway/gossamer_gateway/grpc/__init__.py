"""A gRPC server on trio and h2, for calls of one request and one or many messages.

`server` is what callers use; below it `wire` decides what goes over a connection. Formats and
status codes are those of the node's client. Why no library: grpcio is 19 MB of C++ with threads of
its own, purerpc holds h2 back, and Hypercorn 0.18, as a plain ASGI server with trailers, took 1.6
times the CPU for a call and stood still when grpcio's client had 64 calls open at once.
"""

from gossamer_gateway.grpc.server import Asked, GrpcServer, Handler

__all__ = ["Asked", "GrpcServer", "Handler"]
