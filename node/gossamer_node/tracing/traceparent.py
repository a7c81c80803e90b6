"""The W3C's `traceparent` (Trace Context, Recommendation of 2021, §3.2): a span's parent, as text.

    00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01

Version, trace, span, flags, in small hexadecimal digits. Reading is total: what is not of this form
is no parent, for it comes from anybody. A version that nobody knows yet is read as far as this one
goes (§3.2.2.1), and written as ours.
"""

import re
from dataclasses import dataclass

CHARS_MAX = 512
"""Of a later version, which may be longer; what is longer still is not looked at."""

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)

_SAMPLED = 1


@dataclass(frozen=True, slots=True)
class Traceparent:
    """A span of another process.

    Attributes:
        trace_id: 128 bits, not 0.
        span_id: 64 bits, not 0.
        sampled: whether who began the trace records it.
    """

    trace_id: int
    span_id: int
    sampled: bool

    def __str__(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"


def read(text: object) -> Traceparent | None:
    """What a header or a variable says; None for anything of another form."""
    if not isinstance(text, str) or len(text) > CHARS_MAX:
        return None
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    # ff is forbidden, and version 00 ends with its flags.
    if version == "ff" or (version == "00" and more is not None):
        return None
    one = Traceparent(int(trace, 16), int(span, 16), bool(int(flags, 16) & _SAMPLED))
    return one if one.trace_id and one.span_id else None
