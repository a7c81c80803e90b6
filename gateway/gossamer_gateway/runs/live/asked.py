"""What a page asks of the bridge: where to begin, and which events it wants. Pure.

`from` is `now`, `start` (all that is kept), `run:ID` (that run's history, then what happens) or a
cursor of an earlier frame. The other parameters are filters, each may be given several times, and
an event passes if it passes each kind of filter that is given:

- `run`: ids, as they are;
- `workflow` and `kind`: globs, in which `*` stands for any characters (`attempt.*`);
- `status`: the run's after the event. What happens within a run happens while it is Running; of an
  answer that came late it is the newest that is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.runs.model.run import Status

NOW = "now"
START = "start"
RUN = "run:"

FILTERS = ("run", "workflow", "kind", "status")
VALUES_MAX = 100
"""Of each filter."""

TEXT_CHARACTERS_MAX = 256
CURSOR_CHARACTERS_MAX = 8_192
"""A cursor over many partitions is long; a URL has to hold it."""

_STATUSES = tuple(one.value for one in Status)
_ENDS = {
    "run.triggered": Status.PENDING.value,
    "run.completed": Status.COMPLETED.value,
    "run.failed": Status.FAILED.value,
    "run.cancelled": Status.CANCELLED.value,
}
LATE = "attempt.late"
"""The one kind that changes no status and happens in any."""


def status_after(kind: str) -> str | None:
    """The status of a run after an event of this kind; None: as before."""
    return None if kind == LATE else _ENDS.get(kind, Status.RUNNING.value)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events pass. Empty: all. Equal filters share their frames."""

    runs: frozenset[str] = frozenset()
    workflows: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    statuses: frozenset[str] = frozenset()

    @property
    def is_open(self) -> bool:
        """Whether everything passes."""
        return not (self.runs or self.workflows or self.kinds or self.statuses)

    def passes(self, run: str, workflow: str, kind: str, status: str) -> bool:
        """Whether an event does. `workflow`: empty where nobody knows."""
        return (
            (not self.runs or run in self.runs)
            and (not self.workflows or any(fnmatchcase(workflow, one) for one in self.workflows))
            and (not self.kinds or any(fnmatchcase(kind, one) for one in self.kinds))
            and (not self.statuses or status in self.statuses)
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """A page's question. `begin` is what `from` was."""

    begin: str
    filter: Filter

    @property
    def run(self) -> str | None:
        """The run whose history comes first."""
        return self.begin.removeprefix(RUN) if self.begin.startswith(RUN) else None


def read(given: Sequence[tuple[str, str]], last: str | None = None) -> Wanted:
    """Reads parameters of a query.

    Args:
        last: the cursor that a client of server-sent events brings back by itself.

    Raises: BadRequest, with a sentence for whoever wrote the page.
    """
    begins = [value for name, value in given if name == "from"]
    if len(begins) > 1:
        raise BadRequest("from is given twice")
    values: dict[str, list[str]] = {name: [] for name in FILTERS}
    for name, value in given:
        if name == "from":
            continue
        if name not in values:
            raise BadRequest(
                f"there is no parameter {name[:50]!r} here; there are from, {', '.join(FILTERS)}"
            )
        if not 0 < len(value) <= TEXT_CHARACTERS_MAX:
            raise BadRequest(f"{name} must have 1 to {TEXT_CHARACTERS_MAX} characters")
        values[name].append(value)
    for name, found in values.items():
        if len(found) > VALUES_MAX:
            raise BadRequest(f"{name} is given more than {VALUES_MAX} times")
    for status in values["status"]:
        if status not in _STATUSES:
            raise BadRequest(f"status must be one of {', '.join(_STATUSES)}, not {status[:50]!r}")
    begin = last or (begins[0] if begins else NOW)
    if not 0 < len(begin) <= CURSOR_CHARACTERS_MAX:
        raise BadRequest(f"from must have 1 to {CURSOR_CHARACTERS_MAX} characters")
    if begin == RUN:
        raise BadRequest("from=run: needs a run's id, as from=run:ID")
    made = Filter(
        frozenset(values["run"]),
        tuple(sorted(set(values["workflow"]))),
        tuple(sorted(set(values["kind"]))),
        frozenset(values["status"]),
    )
    return Wanted(begin, made)
