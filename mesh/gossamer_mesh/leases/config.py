"""The bounds and intervals of leases. Every number has its unit, its reason and its neighbours.

They hang together: a holder speaks every `heartbeat_ms`; one that is silent for `silence_ms` is
treated as lost although membership still calls it alive, so `silence_ms` must cover a few lost
heartbeats and a reconnect. The engine's lock (30 s by default) is renewed at a third, so that two
renewals may fail before it ends.
"""


class LeaseConfig:
    """Settings of one node's claimers and holder; all nodes of a mesh should share them."""

    __slots__ = (
        "accept_ms",
        "heartbeat_ms",
        "outcome_bytes_max",
        "outcomes_kept_max",
        "regrants_max",
        "renew_fraction",
        "repeat_ms",
        "retry_max_ms",
        "settled_kept_max",
        "silence_ms",
        "waiting_ms",
    )

    def __init__(
        self,
        *,
        heartbeat_ms: int = 1_000,
        silence_ms: int = 10_000,
        accept_ms: int = 3_000,
        waiting_ms: int = 2_000,
        repeat_ms: int = 2_000,
        retry_max_ms: int = 5_000,
        renew_fraction: int = 3,
        regrants_max: int = 2,
        outcomes_kept_max: int = 4_096,
        settled_kept_max: int = 16_384,
        outcome_bytes_max: int = 2**21,
    ) -> None:
        self.heartbeat_ms = heartbeat_ms
        """How often a holder tells its claimers what it serves and holds. One second: a lease that
        a holder forgot (it restarted) is seen within it."""
        self.silence_ms = silence_ms
        """A living member that said nothing for this long has lost its leases: ten heartbeats, more
        than a reconnect with back-off takes, less than the shortest sensible engine lock."""
        self.accept_ms = accept_ms
        """A grant that is neither accepted nor refused by then goes elsewhere: its message was
        lost with a stream. Three heartbeats, since a heartbeat also accepts."""
        self.waiting_ms = waiting_ms
        """How long an activated job waits for a credit before the engine gets it back."""
        self.repeat_ms = repeat_ms
        """An outcome that nobody acknowledged is sent again after this."""
        self.retry_max_ms = retry_max_ms
        """Longest pause between two tries at an engine that does not answer."""
        self.renew_fraction = renew_fraction
        """Renew when this part of the lock has passed: 3 leaves room for two failures."""
        self.regrants_max = regrants_max
        """Re-grants of one activation after its holder was lost: a poison job must not walk
        through the mesh, killing one node after the other."""
        self.outcomes_kept_max = outcomes_kept_max
        """Outcomes that a holder keeps unacknowledged. Beyond, it offers no credit, so that an
        engine that is down stops the intake instead of filling the memory."""
        self.settled_kept_max = settled_kept_max
        """Settled leases that a claimer remembers, to answer a repeated outcome."""
        self.outcome_bytes_max = outcome_bytes_max
        """Largest outcome. A larger one is refused by the holder, before it is sent."""
