"""What a claimer asks of its engine: renew a lock, report an outcome, give a job back.

Each is an event of `Claimer.events`; the driver makes the call, in its own time, and hands the same
object back with the answer. Nothing here knows an engine: the receipt is the driver's own.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.lease import Lease
    from gossamer_mesh.leases.messages import TopicTerms


class EngineWork:
    """A call to make at the engine. Its end comes back with the same object.

    Attributes:
        lease: under which id, as of now.
        activation: which activation of the job, as the id changes with every grant.
        topic, receipt: as activated.
    """

    __slots__ = ("activation", "lease", "receipt", "topic")

    def __init__(self, one: "Lease") -> None:
        self.lease = one.id
        self.activation = one.activation
        self.topic = one.topic
        self.receipt = one.receipt


class Extend(EngineWork):
    """Renew the engine's lock to `lock_ms` from now; answer by `handle_extended`."""

    __slots__ = ("lock_ms",)

    def __init__(self, one: "Lease") -> None:
        super().__init__(one)
        self.lock_ms = one.lock_ms


class Report(EngineWork):
    """Give the outcome to the engine; answer by `handle_settled`.

    Attributes:
        outcome: as the holder gave it. None: the claimer gave the job up for `reason`, and the
            engine is to be told of a failure that says so.
        terms: what the mesh's holders say of the topic, None when none serves it any more.
    """

    __slots__ = ("outcome", "reason", "terms")

    def __init__(self, one: "Lease", terms: "TopicTerms | None") -> None:
        super().__init__(one)
        self.outcome = one.outcome
        self.reason = one.reason
        self.terms = terms


class Release(EngineWork):
    """Give the job back to the engine, unworked; answer by `handle_settled`."""

    __slots__ = ("reason",)

    def __init__(self, one: "Lease") -> None:
        super().__init__(one)
        self.reason = one.reason


NO_ROOM = "no node had room for it"
NO_CLAIM = "this claimer claims no more"
"""Why a job that is not worked goes back to the engine, most of the time."""

RECLAIMED = "the engine gave it to a claimer that was lost"
"""Why one goes back that nobody knew of."""
