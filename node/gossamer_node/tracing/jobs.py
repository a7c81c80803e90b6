"""The steps of a job in the mesh as spans: claimed, granted, run, settled.

The first is a step of the trace that the job's process variable names, where the configuration has
such a variable, and else begins a trace. Its `traceparent` then goes with the job's receipt, so the
holder, and any claimer that settles it later, hang theirs below it. Each step is a span of its own
that ends where it began: a span that lasted as long as the lease would be lost with its claimer.

The variable itself is the mesh's: it is asked for beside those that a worker names, and no worker
sees it.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from gossamer_mesh.leases.messages import Grant
from gossamer_node.jobs import Job, JobRef
from gossamer_node.tracing import traceparent
from gossamer_node.tracing.port import NO_TRACING, NOTHING, Kind, Span, Tracing
from gossamer_node.variables import Variables
from gossamer_node.work.wire import unpack_receipt


class JobTraces:
    """The spans of a node's jobs.

    Args:
        variable: the process variable that names a trace; None for none.
        node: this node's name.
    """

    def __init__(
        self, tracing: Tracing = NO_TRACING, variable: str | None = None, node: str = ""
    ) -> None:
        self._tracing = tracing
        self._variable = variable
        self._node = node
        self._traces = tracing is not NO_TRACING

    def wanted(self, variables: Sequence[str] | None) -> tuple[str, ...] | None:
        """The variables to ask an engine for, given those that a worker names; None for all."""
        if variables is None:
            return None
        if self._variable is None or self._variable in variables:
            return tuple(variables)
        return (*variables, self._variable)

    def claimed(self, job: Job) -> Job:
        """A job as the engine gave it, with its trace, and without the variable."""
        job, said = self._without_variable(job)
        if not self._traces:
            return job
        now_ns = time.time_ns()
        span = self._tracing.begin(f"claim {job.ref.topic}", "consumer", said, now_ns)
        if not span.records:
            return job
        self._about(span, job.ref)
        span.set("gossamer.process", job.process_id)
        span.set("gossamer.process_instance", job.process_instance_key)
        span.set("gossamer.element", job.element_id)
        span.end()
        return replace(job, ref=replace(job.ref, trace=span.traceparent))

    def _without_variable(self, job: Job) -> tuple[Job, traceparent.Traceparent | None]:
        name = self._variable
        if name is None or name not in job.variables.values:
            return job, None
        values = {key: one for key, one in job.variables.values.items() if key != name}
        types = {key: one for key, one in job.variables.types.items() if key != name}
        said = traceparent.read(job.variables.values[name])
        bare = replace(job, variables=Variables(values, types), ref=replace(job.ref, types=types))
        return bare, said

    def granted(self, grant: Grant, holder: str) -> None:
        """A node was given a job."""
        if not self._traces:
            return
        span = self._step("grant", "producer", unpack_receipt(grant.receipt))
        if span.records:
            span.set("gossamer.epoch", f"{grant.lease.term}.{grant.lease.counter}")
            span.set("gossamer.holder", holder)
        span.end()

    def running(self, ref: JobRef) -> Span:
        """A job runs at this node, from now until the span ends."""
        return self._step("run", "consumer", ref)

    def settling(self, receipt: bytes) -> Span:
        """An outcome is told to its engine, until the span ends."""
        return self._step("settle", "client", unpack_receipt(receipt)) if self._traces else NOTHING

    def _step(self, step: str, kind: Kind, ref: JobRef | None) -> Span:
        above = None if ref is None or ref.trace is None else traceparent.read(ref.trace)
        if ref is None or above is None:
            return NOTHING
        span = self._tracing.begin(f"{step} {ref.topic}", kind, above)
        if span.records:
            self._about(span, ref)
        return span

    def _about(self, span: Span, ref: JobRef) -> None:
        span.set("gossamer.node", self._node)
        span.set("gossamer.engine", ref.engine)
        span.set("gossamer.topic", ref.topic)
        span.set("gossamer.job", ref.key)


UNTRACED: Final = JobTraces()


def ended(span: Span, outcome: str) -> None:
    """Says how a step ended: in the worker's word, or in the engine's."""
    span.set("gossamer.outcome", outcome)
    if outcome in ("failed", "refused", "unavailable"):
        span.fail(outcome)
