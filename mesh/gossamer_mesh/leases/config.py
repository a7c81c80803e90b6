"""The bounds and intervals of leases. Every number has its unit, its reason and its neighbours.

They hang together: a holder speaks every `heartbeat_ms`; one that is silent for `silence_ms` is
treated as lost although membership still calls it alive, so `silence_ms` must cover a few lost
heartbeats and a reconnect. The engine's lock (30 s by default) is renewed at a third, so that two
renewals may fail before it ends.
"""

from gossamer_mesh.errors import MisuseError
from gossamer_mesh.leases.messages import HOLDINGS_MAX


class LeaseConfig:
    """Settings of one node's claimers and holder; all nodes of a mesh should share them.

    Raises: MisuseError for intervals that cannot work together, or more outcomes than a heartbeat
        may name.
    """

    __slots__ = (
        "accept_ms",
        "heartbeat_ms",
        "lock_ms_max",
        "lock_ms_min",
        "losses_kept_max",
        "losses_kept_ms",
        "mirror_ms",
        "outcome_bytes_max",
        "outcomes_kept_max",
        "poll_ms_max",
        "reclaim_ms",
        "regrants_max",
        "renew_fraction",
        "repeat_max_ms",
        "repeat_ms",
        "reroute_tries",
        "retry_max_ms",
        "settled_kept_max",
        "silence_ms",
        "under_way_bytes_max",
        "waiting_ms",
    )

    def __init__(
        self,
        *,
        heartbeat_ms: int = 1_000,
        silence_ms: int = 10_000,
        accept_ms: int = 3_000,
        waiting_ms: int = 2_000,
        mirror_ms: int = 25,
        poll_ms_max: int = 10_000,
        reclaim_ms: int = 500,
        repeat_ms: int = 2_000,
        repeat_max_ms: int = 30_000,
        reroute_tries: int = 3,
        retry_max_ms: int = 5_000,
        renew_fraction: int = 3,
        lock_ms_min: int = 1_000,
        lock_ms_max: int = 86_400_000,
        regrants_max: int = 2,
        losses_kept_max: int = 256,
        losses_kept_ms: int = 600_000,
        outcomes_kept_max: int = 4_096,
        settled_kept_max: int = 16_384,
        outcome_bytes_max: int = 2**21,
        under_way_bytes_max: int = 2**21,
    ) -> None:
        if not 0 < heartbeat_ms < accept_ms < silence_ms:
            raise MisuseError(
                f"heartbeat {heartbeat_ms} ms, accept {accept_ms} ms, silence {silence_ms} ms: "
                "each must be longer than the one before"
            )
        if outcomes_kept_max > HOLDINGS_MAX:
            raise MisuseError(
                f"{outcomes_kept_max} outcomes kept; a heartbeat names at most {HOLDINGS_MAX}"
            )
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
        self.mirror_ms = mirror_ms
        """Shortest pause between two messages to the standby, while there is something to tell:
        40 messages a second at most, however many leases move. What a claimer activated in its
        last 25 ms and no holder has yet, comes back only when the engine's lock ends."""
        self.poll_ms_max = poll_ms_max
        """Longest poll at an engine. It outlives a claimer that dies, and may be given jobs, for
        nobody: for so long its heir asks the engine what is locked for the dead."""
        self.reclaim_ms = reclaim_ms
        """Pause between two questions to the engine about what a dead claimer's polls have locked.
        A job is freed at the second, so within a second; and holders name what they run within
        it, as they speak at once when their claimer is gone. Some 20 questions a dead claimer."""
        self.repeat_ms = repeat_ms
        """An outcome that nobody acknowledged is sent again after this, then after twice as long,
        and so on: two seconds, since what is lost is lost with a stream, and that is rare."""
        self.repeat_max_ms = repeat_max_ms
        """Longest such pause: an engine that is down must not fill the mesh with repeats."""
        self.reroute_tries = reroute_tries
        """An outcome sent so often to the claimer that granted it goes to whoever claims now: its
        member may be alive and yet not claim for the group any more, or be out of our reach. After
        3 tries 14 s have passed, more than `silence_ms`, so it has taken our leases for lost."""
        self.retry_max_ms = retry_max_ms
        """Longest pause between two tries at an engine that does not answer."""
        self.renew_fraction = renew_fraction
        """Renew when this part of the lock has passed: 3 leaves room for two failures."""
        self.lock_ms_min = lock_ms_min
        """Shortest lock that is asked for: a shorter one would be renewed without pause."""
        self.lock_ms_max = lock_ms_max
        """Longest lock that is asked for, a day: if the mesh dies, so long the job stands still."""
        self.regrants_max = regrants_max
        """Re-grants of one job after its holder was lost, before the claimer gives up: a poison job
        must not walk through the mesh, killing one node after the other."""
        self.losses_kept_max = losses_kept_max
        """Jobs that went back to the engine after their holder was lost, and whose count goes on
        when they are activated again: what a few nodes ran that died at the same time. 256 of them
        are 12 kB in the mirror's first message."""
        self.losses_kept_ms = losses_kept_ms
        """How long that is remembered. What is released comes back at once, unless the engine has a
        backlog or the mesh no room: ten minutes, twenty of the usual locks."""
        self.outcomes_kept_max = outcomes_kept_max
        """Leases that a holder runs or keeps an outcome of. Beyond, it offers no credit, so that
        an engine that is down stops the intake instead of filling the memory."""
        self.settled_kept_max = settled_kept_max
        """Settled leases that a claimer remembers, to answer a repeated outcome; and as many that
        went to another claimer, to say where."""
        self.outcome_bytes_max = outcome_bytes_max
        """Largest outcome. A larger one is refused by the holder, before it is sent."""
        self.under_way_bytes_max = under_way_bytes_max
        """Payload bytes on their way to one holder; a larger payload goes alone. What is beyond
        waits at the claimer for the holder's next offer. Two MiB keep a stream busy, and arrive
        within `accept_ms` also where a node gets a tenth of a core: with all of a holder's credit
        sent at once, 12 MB were still on their way when their grants were taken for lost and sent
        again, and again."""
