"""Who holds which work: leases on the jobs that a claimer activated.

Two pure state machines face each other. A `Claimer` (one for each claim group, on the member that
asks the engine for work) grants each activated job to a holder that offered credit, keeps the
engine's lock while the holder lives, and alone reports outcomes. A `Holder` (one for each node)
offers its free slots, runs what it is granted, and keeps each outcome until it is acknowledged.

Rules of this package, as of `swim`: no clock, no socket, no `random`; `now_ms` comes in, messages
and events go out. A lost or repeated message costs time, never a job: every message is
idempotent, and what matters is sent again until it is answered. `mesh/LEASES.md` has the protocol.
"""
