"""StreamActivatedJobs: jobs that reach a client the moment they are there, from every engine.

Rules:

1. A Camunda 8 with gRPC pushes into a stream of its own for each of ours. An engine goes on pushing
   to a stream whose client fell silent, so its streams have a deadline that it keeps, and the next
   one is open before the last is over. What was there before one was open is never pushed, so a
   poll that doesn't wait looks for it once.
2. Engines that don't push (Camunda 7's; a Camunda 8 over REST alone, or one that lets no stream in)
   are polled by the same long polls as clients that wait.
3. The client's reading is the bound: while it has no room, nothing more is taken from anywhere.
   What a Camunda 8 has pushed by then waits in the windows of its connection.
4. What didn't leave for the client whole goes back to its engine: a job that came while the client
   went, one in a buffer, and what an engine still pushed while its stream was ended. What had left
   and was never read stays locked until its time is up, as with Camunda 8's own streams: nothing
   tells the two apart.
5. An engine that fails ends no stream, and neither does the last one: its jobs come once it is
   back. A stop of the gateway ends streams well, so that clients open them elsewhere.
"""

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

import trio
from google.protobuf.message import DecodeError

from gossamer_gateway.bridge.jobs import DEFAULT_TENANT
from gossamer_gateway.camunda8.activation import Taken, Wanted, read_wanted_message, see
from gossamer_gateway.camunda8.refusals import INVALID_ARGUMENT, Refused
from gossamer_gateway.desk import Desk
from gossamer_gateway.errors import Overloaded
from gossamer_gateway.grpc import Asked
from gossamer_gateway.polls.driver import NoEngineAnswered
from gossamer_gateway.upstreams import rpc
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_gateway.zeebe import forms
from gossamer_node.engines.zeebe import gateway_pb2 as zeebe
from gossamer_node.errors import EngineError
from gossamer_node.grpc import RpcError, ServerStream
from gossamer_node.tracing.port import detach

log = logging.getLogger("gossamer.gateway")

PATH = "/gateway_protocol.Gateway/StreamActivatedJobs"

STREAM_S = 600.0
"""How long a stream at an engine is used. What an engine pushes in the moment in which a stream
ends can get lost within the engine (8.6: one job of some thousands in a test that ends a stream
every half second), and stays locked for its time; so streams end rarely."""

OVERLAP_S = 5.0
"""How long before its end the next one is opened."""

ENGINE_ENDS_MS = 630_000
"""When the engine ends a stream by itself: what it pushes to a gateway that is gone, until then,
stays locked for nobody. Without it an engine may not notice for a quarter of an hour."""

POLL_MS = 10_000
"""A long poll at engines that don't push, and how long it is until a stream is tried again."""

POLL_JOBS_MAX = 32
"""Of one such poll: as many as Camunda's own clients ask for."""

AGAIN_S = 1.0
"""A pause after nothing could be asked."""


def check(message: zeebe.StreamActivatedJobsRequest) -> None:
    """Raises: Refused, in 8.6's words."""
    if not message.type.strip():
        raise Refused(
            INVALID_ARGUMENT,
            "Expected to stream activated jobs with type to be present, but it was blank",
        )
    if message.timeout <= 0:
        raise Refused(
            INVALID_ARGUMENT,
            "Expected to stream activated jobs with timeout to be greater than zero, "
            f"but it was {message.timeout}",
        )


class JobStream:
    """One client's stream."""

    def __init__(self, desk: Desk, asked: Asked, message: zeebe.StreamActivatedJobsRequest) -> None:
        self._desk = desk
        self._asked = asked
        self._message = message
        self._wanted = replace(read_wanted_message(desk, message), stream="polled")
        self._order = trio.Lock()
        self._sent: deque[tuple[Upstream, Taken]] = deque()
        """Those behind `_first` that may not have left yet."""
        self._first = 0

    async def run(self) -> None:
        """Feeds the client until it goes or the gateway stops."""
        detach()  # a stream lasts for hours, and is no step of each of its polls
        engines = self._desk.engines.all
        pushing = [one for one in engines if one.kind == "camunda8" and one.channel is not None]
        polled = [one for one in engines if one not in pushing]
        try:
            async with trio.open_nursery() as nursery:
                for engine in pushing:
                    nursery.start_soon(self._keep_pushed, engine)
                if polled:
                    nursery.start_soon(self._keep_polled, polled)
                await self._desk.polling.stopping.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._take_stock()
            self._give_back(self._sent)

    # --- engines that are polled

    async def _keep_polled(self, engines: Sequence[Upstream]) -> None:
        while True:
            await self._poll(self._wanted, engines, POLL_MS)

    async def _poll(self, wanted: Wanted, engines: Sequence[Upstream], wait_ms: int) -> None:
        try:
            jobs = await self._desk.polling.fetch(
                wanted, engines, wanted=POLL_JOBS_MAX, wait_ms=wait_ms
            )
        except (NoEngineAnswered, Overloaded) as error:
            log.debug("a stream of %s finds no engine: %s", wanted.type, error)
            await trio.sleep(AGAIN_S)
            return
        await self._send(jobs)
        await trio.lowlevel.checkpoint()

    # --- engines that push

    async def _keep_pushed(self, engine: Upstream) -> None:
        """Streams, one after another."""
        alone = replace(self._wanted, stream=f"at {engine.name}")
        async with trio.open_nursery() as nursery:
            while True:
                over = trio.Event()
                try:
                    await nursery.start(partial(self._push, engine, over))
                except (RpcError, EngineError) as error:
                    log.debug("%s lets no stream in: %s", engine.peer, error)
                    await self._poll(alone, [engine], POLL_MS)
                    continue
                nursery.start_soon(self._poll, alone, [engine], 0)
                with trio.move_on_after(STREAM_S - OVERLAP_S):
                    await over.wait()

    async def _push(
        self, engine: Upstream, over: trio.Event, *, task_status: trio.TaskStatus[None]
    ) -> None:
        request = zeebe.StreamActivatedJobsRequest()
        request.CopyFrom(self._message)  # fields that nobody here knows among them
        if not request.tenantIds:
            # The 8.8 of the tests pushes nothing to a stream that names none.
            request.tenantIds.append(engine.tenant or DEFAULT_TENANT)
        opened = False
        try:
            async with rpc.stream(
                engine, PATH, request.SerializeToString(), server_ends_ms=ENGINE_ENDS_MS
            ) as pushed:
                try:
                    with trio.move_on_after(STREAM_S):
                        opened = True
                        task_status.started()
                        await self._pass_on(engine, pushed)
                        return
                    late = self._read(engine, await pushed.cease())
                    with trio.move_on_after(OVERLAP_S):
                        await self._send(late)
                finally:
                    self._give_back(self._read(engine, await pushed.cease()))
        except RpcError as error:
            if not opened:
                raise
            log.debug("%s ended a stream: %s", engine.peer, error)
        finally:
            over.set()

    async def _pass_on(self, engine: Upstream, pushed: ServerStream) -> None:
        while (message := await pushed.receive()) is not None:
            await self._send(self._read(engine, [message]))

    def _read(self, engine: Upstream, messages: Sequence[bytes]) -> list[tuple[Upstream, Taken]]:
        jobs = []
        for one in messages:
            try:
                job = zeebe.ActivatedJob.FromString(one)
            except DecodeError:
                log.warning("%s pushed what is no job", engine.peer)
                continue
            jobs.append((engine, Taken(job, str(job.key))))
        see(self._desk, engine, (one for _, one in jobs))
        return jobs

    # --- the client

    async def _send(self, jobs: Sequence[tuple[Upstream, Taken]]) -> None:
        """Sends them one by one; those that it did not come to go back."""
        waiting = deque(jobs)
        try:
            async with self._order:
                while waiting:
                    self._take_stock()
                    engine, job = waiting[0]
                    self._desk.hand_outs.job(engine.name, job.told)
                    await self._asked.send(forms.message_of(job.told).SerializeToString())
                    self._sent.append(waiting.popleft())
        finally:
            self._give_back(waiting)

    def _take_stock(self) -> None:
        """Forgets what has left."""
        while self._sent and self._first < self._asked.left:
            self._sent.popleft()
            self._first += 1

    def _give_back(self, jobs: Iterable[tuple[Upstream, Taken]]) -> None:
        if left := list(jobs):
            self._desk.polling.hand_back(self._wanted, left)
