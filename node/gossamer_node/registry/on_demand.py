"""Services that are loaded when a job comes, and parked when they are not used.

A service that is at work on a node costs its topics in a heartbeat; its compiled code is in memory
only while it is *live*. The first job loads it from the compiled cache, in milliseconds. One that
was idle for `IDLE_S` is parked; so are the longest unused while more than `LIVE_MAX` are live. One
with a job is never parked, so with more slots than that more may be live, one for each job.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from hashlib import file_digest, sha256

import trio

from gossamer_node import logs
from gossamer_node.errors import NodeError, ServiceError
from gossamer_node.jobs import Failed, Job, Outcome
from gossamer_node.service.spec import Grant, ServiceSpec
from gossamer_node.wasm import JobContext, WasmHost, Worker

log = logs.get("services")

LIVE_MAX = 256
"""A compiled module of a small guest takes some 100 KiB, of a large one some MiB."""

IDLE_S = 600.0
"""As live instances of a dense service by default."""

AGAIN_MS = 5_000
"""Until a job whose service could not be loaded is tried again; it costs no try."""


class BrokenContent(ServiceError):
    """A file of the registry is not what its name says, or not there."""


class OnDemand:
    """A worker that loads itself. Made by `Loader.of`."""

    def __init__(
        self, loader: "Loader", spec: ServiceSpec, grant: Grant, module: str, files: str
    ) -> None:
        self.spec = spec
        self.grant = grant
        self.module = module
        self.files = files
        self.busy = 0
        self.used_s = trio.current_time()
        self.worker: Worker | None = None
        self.turn = trio.Lock()
        self._loader = loader

    async def run(self, job: Job, *, deadline_ms: int, context: JobContext) -> Outcome:
        """Runs a job, loading the service before where it is parked."""
        self.busy += 1
        try:
            worker = await self._loader.live(self)
            return await worker.run(job, deadline_ms=deadline_ms, context=context)
        except NodeError as error:
            if isinstance(error, BrokenContent):
                self._loader.broken(self, str(error))
            return Failed(str(error), retries=job.ref.retries, backoff_ms=AGAIN_MS)
        finally:
            self.busy -= 1
            self.used_s = trio.current_time()


class Loader:
    """The live ones among a node's services.

    Args:
        host: loads modules.
        live_max: more are parked, where they have no job.

    Attributes:
        broken: called with a service whose files are not on the disk as they were, and a sentence.
    """

    def __init__(self, host: WasmHost, live_max: int = LIVE_MAX) -> None:
        self._host = host
        self._live_max = live_max
        self._live: OrderedDict[OnDemand, None] = OrderedDict()
        self.broken: Callable[[OnDemand, str], None] = lambda one, why: None

    def of(self, spec: ServiceSpec, grant: Grant, module: str, files: str = "") -> OnDemand:
        """A worker for a service whose module and packed files have these SHA-256; parked."""
        return OnDemand(self, spec, grant, module, files)

    def count(self) -> int:
        """How many are live."""
        return len(self._live)

    def is_live(self, one: OnDemand) -> bool:
        return one in self._live

    async def live(self, one: OnDemand) -> Worker:
        """The loaded worker. Raises: ServiceError when its module cannot be used."""
        if one.worker is None:
            async with one.turn:
                if one.worker is None:
                    check = partial(check_contents, one.spec, one.module, one.files)
                    await trio.to_thread.run_sync(check)
                    one.worker = await self._host.load(one.spec, one.grant)
                    self._live[one] = None
        worker = one.worker
        if one in self._live:
            self._live.move_to_end(one)
        await self._make_room()
        return worker

    async def try_out(self, spec: ServiceSpec, grant: Grant) -> None:
        """Compiles a module and starts it once. Raises: ServiceError."""
        await self._host.unload(await self._host.load(spec, grant))

    async def park(self, one: OnDemand) -> None:
        """Lets a service's code and live instances go; its next job loads it again."""
        self._live.pop(one, None)
        worker, one.worker = one.worker, None
        if worker is not None:
            await self._host.unload(worker)

    async def park_idle(self) -> None:
        """Parks what was not used for `IDLE_S`."""
        before_s = trio.current_time() - IDLE_S
        for one in [each for each in self._live if not each.busy and each.used_s < before_s]:
            log.info("parked", service=one.spec.name, version=one.spec.version)
            await self.park(one)

    async def _make_room(self) -> None:
        excess = len(self._live) - self._live_max
        idle = (each for each in list(self._live) if not each.busy)
        while excess > 0 and (one := next(idle, None)) is not None:
            await self.park(one)
            excess -= 1


def check_contents(spec: ServiceSpec, module: str, files: str) -> None:
    """Whether a service's files still are what their names say. Raises: BrokenContent."""
    for path, wanted in ((spec.module, module), (spec.files, files)):
        if path is None:
            continue
        try:
            with path.open("rb") as file:
                found = file_digest(file, sha256).hexdigest()
        except OSError as error:
            raise BrokenContent(
                f"{path} of {spec.name}@{spec.version} cannot be read ({error.strerror}); add the "
                "service again, or let the node fetch it where an operator signed it."
            ) from error
        if found != wanted:
            raise BrokenContent(
                f"{path} of {spec.name}@{spec.version} is not the one that was added; add the "
                "service again, or let the node fetch it where an operator signed it."
            )
