"""Short links: one request each, and at most one answer; then the link is closed.

What must not wait behind lease payloads goes here, frames of the membership protocol and orders;
and what they must not wait behind: services that travel.
A request is 4 bytes of length, big-endian, and as many of content; so is its answer. Both ends
bound the number of links, the length and the time; what does not fit is counted and dropped.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from gossamer_mesh.drivers.config import Address
from gossamer_mesh.drivers.links import BROKEN, VERSION, Link, Links, Reader, reason, refuse_length
from gossamer_mesh.errors import PeerError

FRAMES_OUT_MAX = 32
"""Frames that are on their way out at one time; further ones are dropped, as datagrams are."""

FRAME_TIMEOUT_S = 5.0
"""For a frame, connection included: later its answer would be of no use."""

INCOMING_MAX = 256
"""Short links open to us at one time; further ones are closed at once."""

ANSWER_BYTES_MAX = 64 * 2**10

_LENGTH_BYTES = 4

Answer = Callable[[str, bytes], Awaitable[bytes | None]]


@dataclass(frozen=True, slots=True)
class Handler:
    """How one kind of request is taken.

    Attributes:
        answer: given the sender's proved id and the request; its answer, or None for none.
        bytes_max: of a request.
        timeout_s: for all of it.
        answer_bytes_max: of an answer.
    """

    answer: Answer
    bytes_max: int
    timeout_s: float
    answer_bytes_max: int = ANSWER_BYTES_MAX


class Calls:
    """The short links of one member.

    Args:
        links: how connections are made.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self._handlers: dict[int, Handler] = {}
        self._incoming = 0
        self._frames_out = 0

    def handle(self, kind: int, handler: Handler) -> None:
        """From now on, requests of this kind go there."""
        self._handlers[kind] = handler

    def is_kind(self, kind: int) -> bool:
        """Whether requests of this kind are taken."""
        return kind in self._handlers

    async def send(self, kind: int, address: Address, node_id: str, request: bytes) -> None:
        """Sends a request that has no answer; what cannot be sent in its time is dropped.

        Args:
            node_id: who must be there; "": anyone who is let in.
        """
        if self._frames_out >= FRAMES_OUT_MAX:
            self._links.counts["stream_frames_dropped_here"] += 1
            return
        self._frames_out += 1
        try:
            with trio.fail_after(FRAME_TIMEOUT_S):
                link = await self._open(kind, address, node_id, request)
                await link.close()
            self._links.counts["stream_frames_sent"] += 1
        except PeerError as error:
            self._links.counts["stream_frames_failed"] += 1
            self._links.log_once(f"{address[0]}:{address[1]}", "stream", str(error))
        except BROKEN:
            self._links.counts["stream_frames_failed"] += 1
        finally:
            self._frames_out -= 1

    async def ask(
        self,
        kind: int,
        address: Address,
        node_id: str,
        request: bytes,
        timeout_s: float,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
    ) -> bytes:
        """The answer of the member at an address, of so many bytes at most.

        Raises:
            PeerError: it cannot be reached, is somebody else, or did not answer in time. It may
                have acted on the request.
        """
        try:
            with trio.fail_after(timeout_s):
                link = await self._open(kind, address, node_id, request)
                try:
                    answer = await _read(Reader(link, timeout_s), answer_bytes_max)
                finally:
                    await link.close()
        except trio.TooSlowError as error:
            raise PeerError(f"did not answer within {timeout_s:.0f} s") from error
        except BROKEN as error:
            raise PeerError(f"cannot be reached: {reason(error)}") from error
        if answer is None:
            raise PeerError("closed the connection without an answer")
        return answer

    async def _open(self, kind: int, address: Address, node_id: str, request: bytes) -> Link:
        link = await self._links.open(address)
        try:
            if node_id not in ("", link.peer):
                raise PeerError(f"is not at {address[0]}:{address[1]}; {link.peer} is")
            if not self._links.admits(link.peer):
                raise PeerError(f"{link.peer} is there, which is not on the list of members")
            length = len(request).to_bytes(_LENGTH_BYTES, "big")
            await link.stream.send_all(bytes((VERSION, kind)) + length + request)
        except BaseException:
            await trio.aclose_forcefully(link.stream)
            raise
        return link

    async def serve(self, kind: int, link: Link, reader: Reader) -> None:
        """Takes what comes on a link of a kind that `is_kind`; the caller closes it."""
        if self._incoming >= INCOMING_MAX:
            self._links.counts["requests_refused"] += 1
            return
        handler = self._handlers[kind]
        self._incoming += 1
        try:
            with trio.move_on_after(handler.timeout_s) as scope:
                request = await _read(reader, handler.bytes_max)
                if request is None:
                    self._links.counts["requests_broken"] += 1
                    return
                answer = await handler.answer(link.peer, request)
                if answer is not None:
                    refuse_length(answer, handler.answer_bytes_max)
                    await link.stream.send_all(len(answer).to_bytes(_LENGTH_BYTES, "big") + answer)
            if scope.cancelled_caught:
                self._links.counts["requests_broken"] += 1
        finally:
            self._incoming -= 1


async def _read(reader: Reader, bytes_max: int) -> bytes | None:
    header = await reader.exactly(_LENGTH_BYTES)
    if header is None or int.from_bytes(header, "big") > bytes_max:
        return None
    return await reader.exactly(int.from_bytes(header, "big"))
