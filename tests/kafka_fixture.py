"""A real Kafka for tests: one broker of the session's own, in a temporary folder.

The root conftest imports `kafka` and `kafka_of_session` from here. It may be killed and started
again: its address and what it had acknowledged stay. A test that fails in between leaves it dead;
the next one finds it alive all the same, so that one failure is told as one.
"""

import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeVar

import pytest
import trio
from tests.downloads import downloads_shown

from gossamer_gateway.runs.kafka.cluster import Cluster
from gossamer_gateway.runs.stack.broker import RunningKafka, start_kafka
from gossamer_node.errors import LocalEngineMissing
from gossamer_node.local_engines import Progress
from gossamer_node.local_engines.processes import free_ports

NOTHING: Mapping[str, str] = MappingProxyType({})

CONNECT_S = 30.0
"""To a broker that lives, however busy the machine is."""


class Kafka:
    """A broker that may go and come back.

    Attributes:
        address: `127.0.0.1:PORT`, what clients call `bootstrap.servers`; it stays.
        cluster: the same for the gateway's own clients.
    """

    def __init__(
        self, folder: Path, progress: Progress, port: int = 0, settings: Mapping[str, str] = NOTHING
    ) -> None:
        self._port = port or free_ports(1)[0]
        self.address = f"127.0.0.1:{self._port}"
        self.cluster = Cluster(self.address)
        self._folder = folder
        self._progress = progress
        self._settings = settings
        self._running: RunningKafka | None = None
        self._stop: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Starts it, and waits until it serves."""
        assert self._running is None, "it runs"
        running: Future[RunningKafka] = Future()
        token: Future[trio.lowlevel.TrioToken] = Future()
        scope = trio.CancelScope()

        async def run() -> None:
            token.set_result(trio.lowlevel.current_trio_token())
            try:
                with scope:
                    async with start_kafka(
                        progress=self._progress, port=self._port, folder=self._folder,
                        settings=self._settings,
                    ) as kafka:  # fmt: skip
                        running.set_result(kafka)
                        await trio.sleep_forever()
            except Exception as error:
                if running.done():
                    raise
                running.set_exception(error)

        thread = threading.Thread(target=trio.run, args=(run,))

        def stop() -> None:
            with suppress(trio.RunFinishedError):
                token.result().run_sync_soon(scope.cancel)
            thread.join()

        thread.start()
        try:
            self._running = running.result()
        except BaseException:
            stop()
            raise
        self._stop = stop

    def kill(self) -> None:
        """Ends it with kill -9: what its disk hasn't got is lost."""
        running, self._running = self._running, None
        assert running is not None, "it does not run"
        running.kill()
        self._stop()
        shutil.rmtree(running.process.log_path.parent, ignore_errors=True)

    def make_sure(self) -> None:
        """Starts it where a test left it dead.

        Raises: AssertionError where it ended by itself. The next one finds it started.
        """
        running = self._running
        if running is not None:
            try:
                socket.create_connection(("127.0.0.1", self._port), CONNECT_S).close()
                return
            except OSError as error:
                said = running.process.log_path.read_text(errors="replace")
                self.stop()
                raise AssertionError(f"nobody killed the broker ({error}): {said}") from None
        self.start()

    def stop(self) -> None:
        """Ends it in order."""
        if self._running is not None:
            self._stop()
            self._running = None


@pytest.fixture
def kafka(kafka_of_session: Kafka) -> Kafka:
    """A broker that the whole session shares; who kills it starts it again."""
    kafka_of_session.make_sure()
    return kafka_of_session


@pytest.fixture(scope="session")
def kafka_of_session(request: pytest.FixtureRequest) -> Iterator[Kafka]:
    """The broker, not asked whether it lives."""
    with broker_of(Kafka, request.config) as broker:
        yield broker


class _Broker(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...


Broker = TypeVar("Broker", bound=_Broker)


@contextmanager
def broker_of(make: Callable[[Path, Progress], Broker], config: pytest.Config) -> Iterator[Broker]:
    """A broker in a folder of its own, started and ended; its tests are NOT RUN without one."""
    folder = Path(tempfile.mkdtemp(prefix="gossamer-kafka-"))
    broker = make(folder, downloads_shown(config))
    try:
        try:
            broker.start()
        except LocalEngineMissing as error:
            pytest.skip(f"NOT RUN: {error}")
        yield broker
        broker.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
