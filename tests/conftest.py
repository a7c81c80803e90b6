"""What every test may ask for: the real engines, each started once per session on first use.

An engine runs in a thread with a trio loop of its own, because it outlives the loops of the
tests. Where an engine can't be had on this machine, its tests are reported as NOT RUN, loudly; in
CI that fails the session. An engine that can be had and doesn't start is an error. Tests
without engines or processes run first.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, suppress
from typing import Generic, TypeVar

import pytest
import trio
from hypothesis import HealthCheck, settings
from tests.downloads import downloads_shown
from tests.embedded_fixture import embedded_engine, embedded_url
from tests.kafka_fixture import kafka, kafka_of_session
from tests.postgres_fixture import postgres
from tests.redis_fixture import redis
from tests.zeebe88.engine import RunningZeebe88, start_zeebe88

from gossamer_node.errors import LocalEngineMissing
from gossamer_node.local_engines import (
    Progress,
    RunningCamunda7,
    RunningZeebe,
    start_camunda7,
    start_zeebe,
)

__all__ = ["embedded_engine", "embedded_url", "kafka", "kafka_of_session", "postgres", "redis"]

# Hypothesis without its stopwatch: a busy host is no defect.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

NOT_RUN = "NOT RUN: "
"""How the reason begins with which a test is skipped because this machine lacks something that it
could have. In CI that is a failure."""

NO_RIGHTS = "NOT RUN for want of rights: "
"""So it begins where no installation helps: the tests may not do as root does, or have no network
namespaces. That is no failure anywhere, but said as loudly."""

ENGINES = ("camunda7", "zeebe", "zeebe88", "kafka")
"""Fixtures, and marks of tests that start an engine of their own."""


Running = TypeVar("Running")


class EngineThread(Generic[Running]):
    """An engine in a thread with a trio loop of its own, from `start` to `stop`."""

    def __init__(self, context: AbstractAsyncContextManager[Running]) -> None:
        self._context = context
        self._running: Future[Running] = Future()
        self._token: Future[trio.lowlevel.TrioToken] = Future()
        self._scope = trio.CancelScope()
        self._thread = threading.Thread(target=trio.run, args=(self._run,))

    def start(self) -> Running:
        """Returns the running engine, or raises what kept it from running."""
        self._thread.start()
        return self._running.result()

    def stop(self) -> None:
        with suppress(trio.RunFinishedError):
            self._token.result().run_sync_soon(self._scope.cancel)
        self._thread.join()

    async def _run(self) -> None:
        self._token.set_result(trio.lowlevel.current_trio_token())
        try:
            with self._scope:
                async with self._context as running:
                    self._running.set_result(running)
                    await trio.sleep_forever()
        except Exception as error:
            if self._running.done():
                raise
            self._running.set_exception(error)


def engine_for_session(
    request: pytest.FixtureRequest,
    start: Callable[[Progress], AbstractAsyncContextManager[Running]],
) -> Iterator[Running]:
    engine = EngineThread(start(downloads_shown(request.config)))
    try:
        try:
            running = engine.start()
        except LocalEngineMissing as error:
            pytest.skip(f"{NOT_RUN}{error}")
        yield running
    finally:
        engine.stop()


@pytest.fixture(scope="session")
def camunda7(request: pytest.FixtureRequest) -> Iterator[RunningCamunda7]:
    """A real Camunda 7 that the whole session shares."""
    yield from engine_for_session(request, lambda progress: start_camunda7(progress=progress))


@pytest.fixture(scope="session")
def camunda7_url(camunda7: RunningCamunda7) -> str:
    """Its REST API: `http://127.0.0.1:PORT/engine-rest`."""
    return camunda7.url


@pytest.fixture(scope="session")
def zeebe(request: pytest.FixtureRequest) -> Iterator[RunningZeebe]:
    """A real Zeebe that the whole session shares."""
    yield from engine_for_session(request, lambda progress: start_zeebe(progress=progress))


@pytest.fixture(scope="session")
def zeebe_url(zeebe: RunningZeebe) -> str:
    """Its REST API, without `/v2`: `http://127.0.0.1:PORT`."""
    return zeebe.url


@pytest.fixture(scope="session")
def zeebe_grpc_address(zeebe: RunningZeebe) -> str:
    """Its gRPC gateway: `127.0.0.1:PORT`."""
    return zeebe.grpc_address


@pytest.fixture(scope="session")
def zeebe88(request: pytest.FixtureRequest) -> Iterator[RunningZeebe88]:
    """The workflow engine of 8.8, gRPC alone, that the whole session shares."""
    yield from engine_for_session(request, lambda progress: start_zeebe88(progress=progress))


@pytest.fixture(scope="session")
def zeebe88_url(zeebe88: RunningZeebe88) -> str:
    """Where its REST API isn't."""
    return zeebe88.url


@pytest.fixture(scope="session")
def zeebe88_grpc_address(zeebe88: RunningZeebe88) -> str:
    """Its gateway: `127.0.0.1:PORT`."""
    return zeebe88.grpc_address


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_slowness)  # stable: otherwise the order of the files


def _slowness(item: pytest.Item) -> int:
    fixtures = getattr(item, "fixturenames", ())
    if any(name in fixtures or item.get_closest_marker(name) for name in ENGINES):
        return 2
    return 1 if item.get_closest_marker("processes") else 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tells of a test what it did itself, not what became of that in the nurseries around it."""
    told = None if call.excinfo is None else call.excinfo.value
    # Where an async test skips itself, pytest-trio skips it anew and forgets why.
    if isinstance(told, pytest.skip.Exception) and not told.msg:
        caught = _innermost(told.__context__)
        if isinstance(caught, pytest.skip.Exception):
            told.msg = caught.msg
    if isinstance(told, BaseExceptionGroup) and (one := _innermost(told)) is not None:
        call.excinfo = pytest.ExceptionInfo.from_exception(one)
    report = yield
    # Half a surrogate that a test had logged could not go from one process to another.
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


def _innermost(error: BaseException | None) -> BaseException | None:
    """What is within groups of one; None where a group has several."""
    while isinstance(error, BaseExceptionGroup):
        if len(error.exceptions) > 1:
            return None
        error = error.exceptions[0]
    return error


def _not_run_reason(report: pytest.TestReport, *marks: str) -> str | None:
    if report.skipped and isinstance(report.longrepr, tuple):
        for mark in marks:
            _, found, reason = report.longrepr[2].partition(mark)
            if found:
                return str(reason)
    return None


def pytest_report_teststatus(
    report: pytest.TestReport,
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    if isinstance(report, pytest.TestReport) and _not_run_reason(report, NOT_RUN, NO_RIGHTS):
        return "NOT RUN", "N", ("NOT RUN", {"red": True})
    return None


_not_run: list[str] = []
"""The reason of each test that was not run."""

_lacking: list[str] = []
"""Those of them that the machine could have run."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if reason := _not_run_reason(report, NOT_RUN, NO_RIGHTS):
        _not_run.append(reason)
    if reason := _not_run_reason(report, NOT_RUN):
        _lacking.append(reason)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _lacking and os.environ.get("CI") == "true" and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _not_run:
        return
    terminalreporter.section("NOT RUN", red=True, bold=True)
    for reason, count in Counter(_not_run).items():
        tests = "test" if count == 1 else "tests"
        terminalreporter.line(f"{count} {tests} NOT RUN: {reason}", red=True)
    if _lacking and os.environ.get("CI") == "true":
        terminalreporter.line("With CI=true that is a failure.", red=True)
