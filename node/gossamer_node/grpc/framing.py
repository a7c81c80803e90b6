"""Messages on a stream of bytes: gRPC's five-byte prefix, and its deadline header.

A message is a flag (compressed or not), its length in four bytes, and itself. DATA frames cut this
anywhere. Length is judged before a byte of the message is kept: a peer that announces too much
costs nothing, and a message that was compressed is inflated up to the same length, no further.
As a client we ask for no compression, so there a set flag is the server's mistake.
"""

import zlib
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

    def __init__(self, bytes_max: int = MESSAGE_BYTES_MAX, *, gzip: bool = False) -> None:
        """
        Args:
            bytes_max: of one message, inflated.
            gzip: the peer said that messages with the flag set are compressed so.
        """
        self._buffer = bytearray()
        self._bytes_max = bytes_max
        self._gzip = gzip

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes.

        Raises:
            RpcError: a message is too long, or can't be inflated; the stream can't be read on.
        """
        self._buffer += data
        messages: list[bytes] = []
        at = 0
        while len(self._buffer) - at >= PREFIX.size:
            compressed, length = PREFIX.unpack_from(self._buffer, at)
            if compressed and not self._gzip:
                raise RpcError(Code.INTERNAL, "a message is compressed, and nobody said how")
            if length > self._bytes_max:
                raise RpcError(
                    Code.RESOURCE_EXHAUSTED,
                    f"a message of {length:,} bytes; at most {self._bytes_max:,} are taken",
                )
            end = at + PREFIX.size + length
            if len(self._buffer) < end:
                break
            message = bytes(self._buffer[at + PREFIX.size : end])
            messages.append(self._inflated(message) if compressed else message)
            at = end
        del self._buffer[:at]
        return messages

    def _inflated(self, message: bytes) -> bytes:
        inflating = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            inflated = inflating.decompress(message, self._bytes_max)
        except zlib.error:
            raise RpcError(Code.INTERNAL, "a message that says it is gzip is none") from None
        if inflating.unconsumed_tail:
            raise RpcError(
                Code.RESOURCE_EXHAUSTED,
                f"a message inflates to more than the {self._bytes_max:,} bytes that are taken",
            )
        if not inflating.eof:
            raise RpcError(Code.INTERNAL, "a compressed message was cut off")
        return inflated

    def is_whole(self) -> bool:
        """Whether no message is cut off in the middle."""
        return not self._buffer


def timeout_header(timeout_ms: int) -> bytes:
    """The value of `grpc-timeout`: at most eight digits and a unit."""
    if timeout_ms < 10**8:
        return b"%dm" % max(1, timeout_ms)
    return b"%dS" % min(timeout_ms // 1_000, 10**8 - 1)
