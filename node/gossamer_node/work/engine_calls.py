"""The calls at engines that the lease machines ask for: so many at once, and what each tells.

An answer of whatever kind shows that the engine is there; none gives a reason to look after it.
"""

from collections.abc import Callable, Mapping

import trio

from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.work import EngineWork, Extend, Release, Report
from gossamer_node.engines.port import Engine
from gossamer_node.tracing.jobs import JobTraces
from gossamer_node.work import electing, settling
from gossamer_node.work.claiming import now_ms
from gossamer_node.work.probing import Probing


class EngineCalls:
    """Those of one member.

    Args:
        engines: by name.
        probing: hears which of them answered.
        traces: of the jobs that are reported.
        pump: called when a machine was told something.
    """

    def __init__(
        self,
        engines: Mapping[str, Engine],
        probing: Probing,
        traces: JobTraces,
        pump: Callable[[], None],
    ) -> None:
        self._engines = engines
        self._probing = probing
        self._traces = traces
        self._pump = pump
        self._calls = {name: trio.CapacityLimiter(settling.CALLS_MAX) for name in engines}
        self._renewals = {name: trio.CapacityLimiter(settling.RENEWALS_MAX) for name in engines}

    async def make(self, claimer: Claimer, work: EngineWork) -> None:
        """Makes a call when there is room for it, and tells the claimer how it ended."""
        name = electing.engine_of(claimer.group)
        engine = self._engines[name]
        limit = self._renewals[name] if isinstance(work, Extend) else self._calls[name]
        async with limit:
            if not claimer.is_current(work):
                if isinstance(work, Extend):
                    claimer.handle_extended(work, None, now_ms())
                    self._pump()
                return
            with self._probing.watch(name):
                is_answer = await self._call(engine, claimer, work)
        if is_answer:
            self._probing.heard(name)
        else:
            # Who polls no more, or has no slot free to poll for, notices by nothing else.
            self._probing.doubt(name)
        self._pump()

    async def _call(self, engine: Engine, claimer: Claimer, work: EngineWork) -> bool:
        """Returns whether the engine answered."""
        if isinstance(work, Extend):
            ours = await settling.extend(engine, work)
            claimer.handle_extended(work, ours, now_ms())
            return ours is not None
        if isinstance(work, Report):
            answer = await settling.report(engine, work, self._traces)
        else:
            assert isinstance(work, Release), "there are three calls"
            answer = await settling.release(engine, work)
        claimer.handle_settled(work, answer.word, now_ms(), answer.retry_after_ms)
        return answer.word is not None
