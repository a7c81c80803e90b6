"""Calls of WASM services by the gateway itself, as another service of the mesh would make them."""

from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import trio

from gossamer_gateway.overrides.rules import Service
from gossamer_node.calls import Call, Unanswered
from gossamer_node.jobs import Job, JobRef, Outcome
from gossamer_node.service.spec import Dependency, ServiceSpec
from gossamer_node.variables import Variables
from gossamer_node.work.calling import Calling
from gossamer_node.work.context import LeaseContext, no_lock
from gossamer_node.work.depending import Depending

CALLER = ServiceSpec(Path(), "gateway", "0.0.0")
"""How those who are called see their caller."""


class Asking:
    """Safe to use from several tasks at once.

    Args:
        calling, depending: the node's.
    """

    def __init__(self, calling: Calling, depending: Depending) -> None:
        self._calling = calling
        self._depending = depending

    def look_for(self, services: Sequence[Service]) -> None:
        """Has the node find out who in the mesh offers these, and no longer others."""
        self._depending.look_for(Dependency(one.name, one.version) for one in services)

    async def __call__(self, call: Call) -> Outcome | Unanswered:
        """Makes a call and waits for its end. One that is given up stops what it called."""
        # Each request is work of its own: whoever is called may take the key for a new job's.
        job = Job(JobRef("gateway", str(uuid4()), "", ""), Variables({}), lock_ms=call.timeout_ms)
        token = trio.lowlevel.current_trio_token()
        ended = trio.Event()
        heard: list[Outcome | Unanswered] = []

        def end(outcome: Outcome | Unanswered) -> None:
            heard.append(outcome)
            ended.set()

        def told(outcome: Outcome | Unanswered) -> None:
            token.run_sync_soon(end, outcome)

        context = LeaseContext(no_lock, job, self._calling)
        give_up = context.call(CALLER, call, told)
        try:
            await ended.wait()
        except trio.Cancelled:
            give_up()
            raise
        return heard[0]
