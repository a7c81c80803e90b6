"""What a page is sent: frames of JSON, put together of events as they are stored. Pure.

A batch is written once for all pages of the same filter, and its events are not read and written
again on the way: their bytes go from the log into the frame. An event above `EVENT_BYTES_MAX` goes
without its values, whose names are then in its field `cut`: a page shows values, it does not work
with them, and what it wants to see whole it asks for over HTTP.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gossamer_gateway.runs.live.asked import Filter

EVENT_BYTES_MAX = 16 * 1024
"""Of an event in a frame. With `bridge.BATCH` entries a frame has at most some 3 MB."""

_VALUES = ("input", "output", "value")


class _Brief(msgspec.Struct):
    """What filters look at."""

    kind: str = ""
    workflow: str = ""


_BRIEF = msgspec.json.Decoder(_Brief)


@dataclass(frozen=True, slots=True)
class Seen:
    """An event of a batch, with what filters look at."""

    run: str
    seq: int
    kind: str
    workflow: str
    status: str
    data: bytes


def brief(data: bytes) -> tuple[str, str] | None:
    """Kind and workflow of a stored event; the workflow is empty but for the first of a run.

    None: it is none. Anybody may write to a topic, and what is no JSON on one line would spoil the
    frame that it is put in.
    """
    try:
        data.decode()
        found = _BRIEF.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return None if b"\n" in data else (found.kind, found.workflow)


def trimmed(data: bytes) -> bytes:
    """An event, without its values if it is large with them."""
    if len(data) <= EVENT_BYTES_MAX:
        return data
    event: dict[str, Any] = msgspec.json.decode(data)
    cut = [name for name in _VALUES if name in event]
    rest = {name: value for name, value in event.items() if name not in cut}
    return msgspec.json.encode(rest | {"cut": cut})


@dataclass(slots=True)
class Batch:
    """Entries that were read together.

    Attributes:
        cursor: behind them.
        is_end: whether nothing more seemed to be there.
    """

    events: Sequence[Seen]
    cursor: str
    is_end: bool = False
    _frames: dict[Filter, str | None] = field(default_factory=dict)
    _passing: dict[Filter, Sequence[Seen]] = field(default_factory=dict)

    def frame(self, wanted: Filter) -> str | None:
        """The frame for this filter; None: nothing passes. Written at the first question."""
        if wanted not in self._frames:
            self._frames[wanted] = events_frame(self.passing(wanted), self.cursor)
        return self._frames[wanted]

    def passing(self, wanted: Filter) -> Sequence[Seen]:
        """The events that pass."""
        if wanted.is_open:
            return self.events
        if wanted not in self._passing:
            self._passing[wanted] = [
                one
                for one in self.events
                if wanted.passes(one.run, one.workflow, one.kind, one.status)
            ]
        return self._passing[wanted]


def events_frame(events: Sequence[Seen], cursor: str | None) -> str | None:
    """A frame of events; None for none.

    Args:
        cursor: behind them; None: a page that came from here would miss something.
    """
    if not events:
        return None
    workflows = _text({one.run: one.workflow for one in events if one.workflow})
    listed = ",".join([trimmed(one.data).decode() for one in events])
    return (
        f'{{"kind":"events","cursor":{_text(cursor)},"workflows":{workflows},"events":[{listed}]}}'
    )


def live(cursor: str) -> str:
    """All that was is told; from here on it is as it happens."""
    return _text({"kind": "live", "cursor": cursor})


def quiet(cursor: str | None) -> str:
    """Nothing that passes has happened, and the log may have gone on without."""
    return _text({"kind": "quiet", "cursor": cursor})


def behind(cursor: str | None) -> str:
    """The page read too slowly: what waited for it is dropped, and it comes again from there."""
    said = "this page read too slowly; connect again from the cursor"
    return _text({"kind": "behind", "cursor": cursor, "detail": said})


def refused(status: int, detail: str) -> str:
    """The question cannot be answered; `status` as in HTTP."""
    return _text({"kind": "refused", "status": status, "detail": detail})


def _text(value: Mapping[str, Any] | str | None) -> str:
    return msgspec.json.encode(value).decode()
