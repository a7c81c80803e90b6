"""Jobs as a Zeebe hands them out, of all types that there are, to one who takes them.

A stream of each type brings jobs the moment they come, in half the time of a long poll, and can be
ended so that nothing is lost on the way, which a poll that waits cannot. What a stream is not told
of (jobs that were there before it, or that no stream had room for) is looked for now and then by
polls that do not wait. Types beyond `STREAMS_MAX` are polled alone, and so are those of which
somebody else has jobs, too: what an engine pushes here, no other's poll would ever get.

At most `AT_HAND_MAX` jobs are being taken at a time; beyond it streams are not read, and the engine
keeps the rest.
"""

import math
from collections.abc import Awaitable, Callable, Collection
from itertools import chain, repeat

import trio
from google.protobuf.message import DecodeError

from gossamer_gateway.runs.zeebe.client import Zeebe
from gossamer_node.engines.zeebe.gateway_pb2 import ActivatedJob
from gossamer_node.errors import EngineError
from gossamer_node.grpc import RpcError

LOOK_S = 5.0
"""How often jobs are looked for that no stream brought."""

LOOKS_S = (0.0, 0.1, 1.0)
"""When they are after a stream was opened, before that."""

STREAM_S = 600.0
"""How long a stream of jobs is used. What an engine pushes in the moment in which one ends can get
lost within the engine, and stays locked for its time; so streams end rarely."""

STREAM_AGAIN_S = 0.05

STREAMS_MAX = 48
"""Types of jobs that are streamed, of the 128 calls that may wait on a connection."""

POLL_S = 0.5
"""How often further types are polled."""

SHARED_S = 60.0
"""For how long a type is polled after somebody else's job of it was seen."""

JOBS_MAX = 64
"""Of one poll."""

JOBS_MAX_BEHIND = 1_024
"""Of one poll, where all that came before was somebody else's."""

AT_HAND_MAX = 512
"""Jobs that are being taken at a time."""

STOP_S = 3.0
"""How long the end of the streams may take."""


class Intake:
    """Takes jobs of some types.

    Args:
        take: is given each job, in a task of its own; raises nothing.
        is_ours: whether a job is of our making; others are given as well.
    """

    def __init__(
        self,
        zeebe: Zeebe,
        take: Callable[[ActivatedJob], Awaitable[None]],
        is_ours: Callable[[ActivatedJob], bool],
        *,
        lock_ms: int,
    ) -> None:
        self._zeebe = zeebe
        self._take = take
        self._is_ours = is_ours
        self._lock_ms = lock_ms
        self._open: dict[str, trio.CancelScope] = {}
        self._shared_until_s: dict[str, float] = {}
        self._streaming: dict[str, trio.CancelScope] = {}
        self._is_stopping = False
        self._idle = trio.Event()
        self._at_hand = trio.CapacityLimiter(AT_HAND_MAX)
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Takes jobs until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    def want(self, types: Collection[str]) -> None:
        """Takes jobs of these types, from now on, and no others."""
        if self._is_stopping or self._nursery is None:
            return
        for type in self._open.keys() - types:
            self._open[type].cancel()
        for type in types - self._open.keys():
            self._open[type] = trio.CancelScope()
            self._nursery.start_soon(self._serve, type, self._open[type])

    async def stop(self) -> None:
        """Takes no more jobs. What is on its way is taken still, within `STOP_S`."""
        self._is_stopping = True
        for scope in self._open.values():
            scope.cancel()
        if self._open:
            with trio.move_on_after(STOP_S):
                await self._idle.wait()

    def share(self, type: str) -> None:
        """Somebody else has jobs of a type as well: they are polled for a while."""
        if type in self._open:
            self._shared_until_s[type] = trio.current_time() + SHARED_S
            if type in self._streaming:
                self._streaming[type].cancel()

    async def _serve(self, type: str, open: trio.CancelScope) -> None:
        try:
            with open:
                while True:
                    await self._serve_once(type)
        finally:
            del self._open[type]
            self._shared_until_s.pop(type, None)
            if not self._open:
                self._idle.set()

    async def _serve_once(self, type: str) -> None:
        is_shared = self._shared_until_s.get(type, -math.inf) > trio.current_time()
        if is_shared or len(self._streaming) >= STREAMS_MAX:
            await self._poll(type)
            await trio.sleep(POLL_S)
            return
        asked_s = trio.current_time()
        try:
            with trio.CancelScope() as self._streaming[type]:
                await self._stream(type)
            await trio.sleep(STREAM_AGAIN_S)
        except (RpcError, EngineError, DecodeError) as error:
            await self._zeebe.failed(error, asked_s)
        finally:
            del self._streaming[type]

    async def _stream(self, type: str) -> None:
        async with self._zeebe.stream(type, lock_ms=self._lock_ms) as stream:
            failure: Exception | None = None
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._look_behind, type)
                    try:
                        with trio.move_on_after(STREAM_S):
                            while (job := await stream.receive()) is not None:
                                await self._come(job)
                    except (RpcError, DecodeError) as error:
                        failure = error
                    nursery.cancel_scope.cancel()
                if failure is not None:
                    raise failure
            finally:
                with trio.CancelScope(shield=True):
                    for job in await stream.cease():
                        await self._come(job)

    async def _look_behind(self, type: str) -> None:
        for pause_s in chain(LOOKS_S, repeat(LOOK_S)):
            await trio.sleep(pause_s)
            await self._poll(type)

    async def _poll(self, type: str) -> None:
        """Takes jobs that are free."""
        jobs_max = JOBS_MAX
        while True:
            with trio.CancelScope(shield=True):
                jobs = await self._zeebe.activate(type, jobs_max=jobs_max, lock_ms=self._lock_ms)
                for job in jobs:
                    await self._come(job)
            if len(jobs) < jobs_max:
                return
            # Behind jobs that are not ours there may be some that are.
            ours = any(map(self._is_ours, jobs))
            jobs_max = JOBS_MAX if ours else min(2 * jobs_max, JOBS_MAX_BEHIND)

    async def _come(self, job: ActivatedJob) -> None:
        assert self._nursery is not None, "it runs"
        borrower = object()
        await self._at_hand.acquire_on_behalf_of(borrower)
        self._nursery.start_soon(self._take_one, job, borrower)

    async def _take_one(self, job: ActivatedJob, borrower: object) -> None:
        try:
            await self._take(job)
        finally:
            self._at_hand.release_on_behalf_of(borrower)
