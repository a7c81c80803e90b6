"""gRPC on trio and h2: a client for calls of one request and one or many messages.

`channel` is what callers use; below it `connection` does the I/O, `wire` decides, `framing`,
`goaway` and `status` know the formats. Why not grpcio: it is 19 MB of C++ with threads of its own,
and this client takes less CPU for a message that a server pushes. It serves as the peer in tests.
"""

from gossamer_node.grpc.channel import Channel, ServerStream
from gossamer_node.grpc.status import Code, RpcError

__all__ = ["Channel", "Code", "RpcError", "ServerStream"]
