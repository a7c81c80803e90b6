"""What happens to runs, one immutable event at a time: the wire form and the stored form.

Events of one run are numbered from 1 without a gap by `seq`; (`run`, `seq`) names an event for
ever. A run's state is what `run.evolve` makes of them, so whoever has all of them has the run.
Their JSON is this module's types, written in camel case with `kind` first: a reader ignores fields
and kinds that it does not know, a writer never changes the meaning of one.
"""

from typing import Any

import msgspec
from msgspec import Struct

FORM = 1
"""Of the events' JSON; it changes when an old reader would be wrong."""


EVENTS_MAX = 20_000
"""Of one run; one that comes to it fails."""


class Failure(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Why an attempt, a step or a run failed.

    Attributes:
        code: for programs, as `Timeout`, `TypeError`, `Throttled`.
        message: for people.
        blame: `worker` or `function` (its own error), `provider` (the cloud, or the way to it),
            `time` (nobody answered), `definition` (a mapping or a choice that cannot be), `engine`
            (another executor of the run, or who has a hand in it). The last three are decided here
            and never taken from an answer.
        retryable: False: another attempt is no use, whatever the policy says.
        details: a worker's, such as a stack trace; bounded.
        retry_after_ms: how long it asks to be left alone, at most a day; None: it said nothing.
    """

    code: str
    message: str = ""
    blame: str = "worker"
    retryable: bool = True
    details: str = ""
    retry_after_ms: int | None = None


CODE_CHARACTERS_MAX = 200
MESSAGE_CHARACTERS_MAX = 2_000
DETAILS_CHARACTERS_MAX = 20_000
RETRY_AFTER_MS_MAX = 24 * 3_600_000


class Event(Struct, frozen=True, rename="camel", tag_field="kind", omit_defaults=True):
    """What all have: whose it is, its number in the run, and when (ms since 1970)."""

    run: str
    seq: int
    at_ms: int


class RunTriggered(Event, tag="run.triggered", frozen=True):
    """There is a run: pending. `key`: what a caller named, so that a repetition is no new run.

    `executor`: `own` or `zeebe`.
    """

    workflow: str
    version: int
    input: Any = None
    key: str | None = None
    executor: str = "own"


class RunStarted(Event, tag="run.started", frozen=True):
    """It runs. `place`: of another executor, what that calls it.

    Comes again where that executor was to blame for a failure, and a retry began there anew.
    """

    place: str | None = None


class StepStarted(Event, tag="step.started", frozen=True):
    """A task began.

    Attributes:
        input: its payload.
        job: what another executor calls its job.
    """

    step: str
    input: Any = None
    job: str | None = None


class AttemptStarted(Event, tag="attempt.started", frozen=True):
    """A job for workers, or a call of a function.

    Attributes:
        attempt: counted from 1 within the step, through all providers.
        due_ms: when it counts as failed, in ms since 1970.
        action: None for a function.
    """

    step: str
    attempt: int
    due_ms: int
    action: str | None = None
    provider: str | None = None
    function_id: str | None = None
    region: str | None = None


class AttemptFailed(Event, tag="attempt.failed", frozen=True):
    """What was answered, or that nobody did."""

    step: str
    attempt: int
    failure: Failure


class AttemptLate(Event, tag="attempt.late", frozen=True):
    """An answer to an attempt that had been given up: kept for people, without effect.

    `status`: `completed` or `failed`.
    """

    step: str
    attempt: int
    status: str


class RetryScheduled(Event, tag="retry.scheduled", frozen=True):
    """The next attempt is due then. `attempt`: its number."""

    step: str
    attempt: int
    due_ms: int
    delay_ms: int


class FailedOver(Event, tag="step.failover", frozen=True):
    """The next attempt is at another provider. `place` counts from 0 in the step's places."""

    step: str
    place: int
    left: str
    taken: str


class StepCompleted(Event, tag="step.completed", frozen=True):
    """A task is done, by this attempt."""

    step: str
    attempt: int
    output: Any = None


class StepFailed(Event, tag="step.failed", frozen=True):
    """A step cannot be done. `value`: what came along, of one that could not even begin."""

    step: str
    failure: Failure
    value: Any = None


class ChoiceTaken(Event, tag="choice.taken", frozen=True):
    """A choice went on there. `value` came along."""

    step: str
    next: str
    value: Any = None


class ParallelStarted(Event, tag="parallel.started", frozen=True):
    """All branches begin, with what came along."""

    step: str
    branches: tuple[str, ...]
    value: Any = None


class BranchJoined(Event, tag="branch.joined", frozen=True):
    """A branch, named by its first step, came to its join with this."""

    step: str
    branch: str
    value: Any = None


class JoinCompleted(Event, tag="join.completed", frozen=True):
    """All have come. `output` has their values by branch."""

    step: str
    output: Any = None


class RunCompleted(Event, tag="run.completed", frozen=True):
    """It came to its end. `output`: of the last step."""

    output: Any = None


class RunFailed(Event, tag="run.failed", frozen=True):
    """A step failed, and with it the run. It may be retried."""

    failure: Failure
    step: str | None = None


class RunCancelled(Event, tag="run.cancelled", frozen=True):
    """Somebody ended it. What is at work is not waited for."""

    reason: str = ""
    who: str = ""


class RunRetried(Event, tag="run.retried", frozen=True):
    """Somebody had a failed run go on: its failed steps begin anew."""

    steps: tuple[str, ...]
    who: str = ""


AnyEvent = (
    RunTriggered
    | RunStarted
    | StepStarted
    | AttemptStarted
    | AttemptFailed
    | AttemptLate
    | RetryScheduled
    | FailedOver
    | StepCompleted
    | StepFailed
    | ChoiceTaken
    | ParallelStarted
    | BranchJoined
    | JoinCompleted
    | RunCompleted
    | RunFailed
    | RunCancelled
    | RunRetried
)

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode(event: Event) -> bytes:
    """An event as JSON, on one line."""
    return _ENCODER.encode(event)


def decode(data: bytes) -> AnyEvent:
    """Raises: msgspec.DecodeError for what is no event."""
    return _DECODER.decode(data)
