"""Takes GOAWAY out of what a server sends, before h2 sees it.

GOAWAY announces an end: streams up to the one it names go on, later ones were never looked at
(RFC 9113 §6.8). h2 takes it for the end itself and refuses every byte after it, which would cut
off each call that a server in an orderly stop still answers. So the frames are told apart here,
and h2 gets all but these.

A frame that is longer than it may be is refused at its header. h2 would wait for the rest of it, up
to 16 MB: what another protocol's greeting looks like to HTTP/2.
"""

from dataclasses import dataclass

from h2.exceptions import FrameTooLargeError

_HEADER_BYTES = 9
_GOAWAY = 7
_PAYLOAD_BYTES_MAX = 16_384
"""What HTTP/2 allows a frame when nothing else was agreed."""


@dataclass(frozen=True, slots=True)
class GoAway:
    """A server's announcement: streams past `last_stream_id` were not and won't be looked at."""

    last_stream_id: int
    error_code: int
    said: bytes


class GoAwayFilter:
    """The frames of one connection, in order."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._left_bytes = 0
        self._payload: bytearray | None = None

    def feed(self, data: bytes) -> tuple[bytes, list[GoAway]]:
        """Splits `data`. Returns what is for h2, and the announcements in it.

        Bytes of a frame's header that came only in part wait for the rest.

        Raises: h2's FrameTooLargeError.
        """
        passed = bytearray()
        found: list[GoAway] = []
        view = memoryview(data)
        at = 0
        while at < len(view):
            if self._left_bytes:
                chunk = view[at : at + self._left_bytes]
                at += len(chunk)
                self._left_bytes -= len(chunk)
                if self._payload is None:
                    passed += chunk
                    continue
                self._payload += chunk
                if not self._left_bytes:
                    found.append(_read(bytes(self._payload)))
                    self._payload = None
                continue
            missing = _HEADER_BYTES - len(self._header)
            self._header += view[at : at + missing]
            at += missing
            if len(self._header) < _HEADER_BYTES:
                break
            length = int.from_bytes(self._header[:3], "big")
            if length > _PAYLOAD_BYTES_MAX:
                raise FrameTooLargeError(f"a frame of {length:,} bytes; does it speak HTTP/2?")
            self._left_bytes = length
            # One of the wrong shape is left to h2, which says what is wrong with it.
            if self._header[3] == _GOAWAY and length >= 8:
                self._payload = bytearray()
            else:
                passed += self._header
            self._header.clear()
        return bytes(passed), found


def _read(payload: bytes) -> GoAway:
    return GoAway(
        int.from_bytes(payload[:4], "big") & 0x7FFF_FFFF,
        int.from_bytes(payload[4:8], "big"),
        payload[8:],
    )
