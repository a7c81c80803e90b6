"""A worker: handlers by action, and where their jobs come from."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Protocol, Union

from gossamer_worker.context import Context
from gossamer_worker.desk import Desk, Registered, registered
from gossamer_worker.line import Gateway

log = logging.getLogger("gossamer_worker")

Handler = Union[Callable[[Any], Any], Callable[[Any, Context], Any]]
"""Takes a job's payload, and its context if it has a second parameter; returns any JSON."""

CONCURRENCY = 8
GRACE_S = 30.0
SIGNALS_S = 0.5
"""A signal that the kernel gives to another thread wakes no main thread that waits; only when that
looks up by itself does Python call the handler."""

NAME_CHARACTERS_MAX = 200
"""Of a worker; the gateway takes no longer ones."""


class _Jobs(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...


class Worker:
    """Takes jobs of the actions it has handlers for, and answers them.

    Args:
        kafka: brokers, as `host:port,host:port`. Default: `GOSSAMER_KAFKA`, else
            `localhost:9092`.
        url: a gateway, as `http://localhost:8080`: jobs come over HTTP instead. Default:
            `GOSSAMER_URL`.
        token: over HTTP, an API key or a token of the gateway. Default: `GOSSAMER_TOKEN`.
        token_file: a file that has the token instead, read anew for each request. Default:
            `GOSSAMER_TOKEN_FILE`.
        ca_file: over HTTP, PEM of the authorities that are trusted instead of the machine's.
            Default: `GOSSAMER_CA_FILE`.
        name: what histories call this worker. Default: made of the machine's name.
        concurrency: handlers at work at a time, each in a thread.
        grace_s: how long `stop` waits for what is at work.
        kafka_options: more of librdkafka's configuration, such as `sasl.username`.

    Raises: ValueError: both Kafka and a gateway are named, or a value cannot be.
    """

    def __init__(
        self,
        *,
        kafka: str | None = None,
        url: str | None = None,
        token: str | None = None,
        token_file: str | None = None,
        ca_file: str | None = None,
        name: str | None = None,
        concurrency: int = CONCURRENCY,
        grace_s: float = GRACE_S,
        kafka_options: Mapping[str, Any] | None = None,
    ) -> None:
        if kafka is None and url is None:
            kafka, url = _environment("KAFKA"), _environment("URL")
        if kafka is not None and url is not None:
            raise ValueError("jobs come from Kafka or from a gateway's URL: name one of them")
        if concurrency < 1:
            raise ValueError("concurrency is 1 or more")
        if name is not None and not 0 < len(name) <= NAME_CHARACTERS_MAX:
            raise ValueError(f"a name is a text of 1 to {NAME_CHARACTERS_MAX} characters")
        self._kafka = kafka or "localhost:9092"
        if token is None and token_file is None:
            token, token_file = _environment("TOKEN"), _environment("TOKEN_FILE")
        self._gateway = (
            None
            if url is None
            else Gateway(url, token, token_file, ca_file or _environment("CA_FILE"))
        )
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self._concurrency = concurrency
        self._grace_s = grace_s
        self._kafka_options = dict(kafka_options or {})
        self._handlers: dict[str, Registered] = {}
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._has_started = False

    def register(
        self,
        action: str,
        handler: Handler,
        *,
        not_retryable: Sequence[type[BaseException]] = (),
    ) -> None:
        """Has a handler do the jobs of an action.

        Args:
            handler: gets the payload, and the job's `Context` if it takes two arguments. What it
                returns is the step's output; what it raises makes the attempt fail.
            not_retryable: exceptions after which another attempt is no use.

        Raises: ValueError: the action has a handler, or the worker was started. TypeError.
        """
        if self._has_started:
            raise ValueError("handlers are registered before the worker starts")
        if not action or not isinstance(action, str):
            raise ValueError("an action is a text that is not empty")
        if action in self._handlers:
            raise ValueError(f"there is a handler of {action} already")
        self._handlers[action] = registered(handler, tuple(not_retryable))

    def start(self) -> None:
        """Does jobs until `stop`, SIGTERM or SIGINT; then returns when what was begun is done.

        Where Kafka or the gateway is away it waits, says so once, and goes on when it is back.

        Raises: ValueError: there is no handler. Whatever broke the worker: that is a defect here.
        """
        if not self._handlers:
            raise ValueError("register a handler first: a worker of no action has nothing to do")
        if self._has_started:
            raise ValueError("a worker is started once")
        self._has_started = True
        _speak()
        desk = Desk(
            self._handlers,
            self.name,
            concurrency=self._concurrency,
            # Over Kafka some wait here already, so that no hand is idle between two polls.
            taken_max=self._concurrency * (1 if self._gateway else 4),
        )
        jobs = self._jobs(desk)
        before = self._catch_signals()
        try:
            jobs.start()
            while not self._stopping.wait(SIGNALS_S):
                pass
            jobs.stop()
            if not desk.drain(self._grace_s):
                log.warning("stopped with jobs at work; they will be given to others")
            jobs.close()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Has `start` return: from any thread, and from a handler."""
        self._stopping.set()

    def _jobs(self, desk: Desk) -> _Jobs:
        actions = sorted(self._handlers)
        if self._gateway is not None:
            from gossamer_worker.http import HttpJobs  # noqa: PLC0415

            return HttpJobs(self._gateway, actions, self.name, desk, self._broken)
        from gossamer_worker.kafka import KafkaJobs  # noqa: PLC0415

        return KafkaJobs(self._kafka, actions, self.name, desk, self._kafka_options, self._broken)

    def _broken(self, error: BaseException) -> None:
        self._error = error
        self._stopping.set()

    def _catch_signals(self) -> dict[int, Any]:
        if threading.current_thread() is not threading.main_thread():
            return {}  # only Python's main thread may

        def caught(number: int, _frame: object) -> None:
            # A second one is meant: it ends the process as ever.
            signal.signal(number, signal.SIG_DFL)
            self.stop()

        return {one: signal.signal(one, caught) for one in (signal.SIGTERM, signal.SIGINT)}


def _environment(name: str) -> str | None:
    return os.environ.get(f"GOSSAMER_{name}") or None


def _speak() -> None:
    if not log.hasHandlers():
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("gossamer-worker: %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
