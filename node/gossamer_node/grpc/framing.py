"""Messages on a stream of bytes: gRPC's five-byte prefix, and its deadline header.

A message is a flag (compressed or not), its length in four bytes, and itself. DATA frames cut this
anywhere. As a client we ask for no compression, so a set flag is the server's mistake; a server may
have a way to inflate what its clients say they compress. Length is judged before a byte of the
message is kept: a peer that announces too much costs nothing.
"""

from collections.abc import Callable
from struct import Struct

from gossamer_node.grpc.status import Code, RpcError

MESSAGE_BYTES_MAX = 64 * 2**20
"""Largest message, both ways, and of a call that is answered at once the sum of them. Zeebe's own
bound is 4 MB unless its operator raised it."""

PREFIX = Struct(">BI")


def frame(message: bytes) -> bytes:
    """A message as it goes into DATA frames. Raises RpcError for one that is too long."""
    if len(message) > MESSAGE_BYTES_MAX:
        raise RpcError(
            Code.INVALID_ARGUMENT,
            f"a request of {len(message):,} bytes; at most {MESSAGE_BYTES_MAX:,} can be sent",
            untouched=True,
        )
    return PREFIX.pack(0, len(message)) + message


class Deframer:
    """Cuts the bytes of one stream into messages."""

    def __init__(
        self,
        bytes_max: int = MESSAGE_BYTES_MAX,
        inflate: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """
        Args:
            bytes_max: of one message, as it comes.
            inflate: undoes the compression of one; raises RpcError. None takes none.
        """
        self._buffer = bytearray()
        self._bytes_max = bytes_max
        self._inflate = inflate

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes.

        Raises:
            RpcError: a message is compressed or too long; the stream can't be read on.
        """
        self._buffer += data
        messages: list[bytes] = []
        at = 0
        while len(self._buffer) - at >= PREFIX.size:
            compressed, length = PREFIX.unpack_from(self._buffer, at)
            if compressed and self._inflate is None:
                raise RpcError(Code.INTERNAL, "a message is compressed that should not be")
            if length > self._bytes_max:
                raise RpcError(
                    Code.RESOURCE_EXHAUSTED,
                    f"a message of {length:,} bytes; at most {self._bytes_max:,} are taken",
                )
            end = at + PREFIX.size + length
            if len(self._buffer) < end:
                break
            message = bytes(self._buffer[at + PREFIX.size : end])
            messages.append(self._inflate(message) if compressed and self._inflate else message)
            at = end
        del self._buffer[:at]
        return messages

    def is_whole(self) -> bool:
        """Whether no message is cut off in the middle."""
        return not self._buffer


def timeout_header(timeout_ms: int) -> bytes:
    """The value of `grpc-timeout`: at most eight digits and a unit."""
    if timeout_ms < 10**8:
        return b"%dm" % max(1, timeout_ms)
    return b"%dS" % min(timeout_ms // 1_000, 10**8 - 1)
