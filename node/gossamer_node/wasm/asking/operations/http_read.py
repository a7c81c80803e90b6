"""`http.read` and `http.close`: the body of an answer in parts, where `http.fetch` was told to.

A stream belongs to the run that opened it and ends with it. It lives in the host's I/O loop, and is
opened, read and closed there alone, so an end of the run that overtakes an opening finds it
nevertheless. What cuts a read off, its time or the job's, cuts the connection as well.
"""

import base64
from collections.abc import Mapping
from typing import Any

import httpx

from gossamer_node.wasm.asking.io_loop import Busy
from gossamer_node.wasm.asking.operations.errors import Code, OperationError, count, why
from gossamer_node.wasm.run import Run

STREAMS_MAX = 4
"""Of one run, open at the same time."""

READ_BYTES_MAX = 2**20
READ_BYTES_DEFAULT = 64 * 2**10
TIMEOUT_MS_MAX = 3_600_000

_UTF8_PART_BYTES_MAX = 3
"""Of a character of which something lacks."""


class _Stream:
    def __init__(self, response: httpx.Response, where: str) -> None:
        self.where = where
        self._response = response
        self._parts = response.aiter_raw()
        self._left = b""
        self._tail = b""
        self._is_over = False

    async def read(self, bytes_max: int) -> tuple[bytes, bool]:
        """What has come, and whether that was the end; waits for something.

        Args:
            bytes_max: at most so much, or one character. Text is cut between characters.
        """
        while True:
            while not self._left and not self._is_over:
                try:
                    self._left = await anext(self._parts)
                except StopAsyncIteration:
                    self._is_over = True
            room = max(1, bytes_max - len(self._tail))
            data = self._tail + self._left[:room]
            self._left = self._left[room:]
            if self._is_over and not self._left:
                return data, True
            cut = _whole(data)
            self._tail = data[cut:]
            if cut:
                return data[:cut], False

    async def aclose(self) -> None:
        """End it, wherever it is."""
        await self._response.aclose()
        # On into the error that this makes: it ends the generators that httpx has nested, which
        # would be left to the garbage collector.
        try:
            while True:
                await anext(self._parts)
        except (StopAsyncIteration, Exception):
            return


class Streams:
    """The streams of one run. To be used in the I/O loop only, but for being made."""

    def __init__(self) -> None:
        self._open: dict[int, _Stream] = {}
        self._number = 0
        self._has_ended = False

    @property
    def are_full(self) -> bool:
        return len(self._open) >= STREAMS_MAX

    async def add(self, response: httpx.Response, where: str) -> int:
        """Take an answer whose body has not been read."""
        stream = _Stream(response, where)
        if self._has_ended:
            # Nobody will hear the number.
            await stream.aclose()
            return 0
        self._number += 1
        self._open[self._number] = stream
        return self._number

    def forget(self, number: int) -> None:
        """One that has ended by itself."""
        self._open.pop(number, None)

    def get(self, number: int) -> _Stream:
        """Raises: OperationError, when there is none or it has ended."""
        stream = self._open.get(number)
        if stream is None:
            raise OperationError(Code.BAD_REQUEST, f"There is no open stream {number}.")
        return stream

    async def close(self, number: int) -> None:
        """Close one; one that is not there is closed."""
        stream = self._open.pop(number, None)
        if stream is not None:
            await stream.aclose()

    async def end(self) -> None:
        """Close all of them, and what may still come."""
        self._has_ended = True
        for number in list(self._open):
            await self.close(number)


def streams_of(run: Run) -> Streams:
    """The run's streams, which end with it."""
    found = run.held.get("http")
    if isinstance(found, Streams):
        return found
    made = Streams()
    run.held["http"] = made
    io = run.around.io
    run.at_end.append(lambda: io.post(made.end))
    return made


def http_read(request: Mapping[str, Any], run: Run) -> Mapping[str, Any]:
    """`{"stream", "bytes_max", "timeout_ms"}` → `{"body" | "body_base64", "end"}`."""
    number, streams = _asked(request, run)
    bytes_max = count(request, "bytes_max", READ_BYTES_MAX) or READ_BYTES_DEFAULT
    timeout_ms = count(request, "timeout_ms", TIMEOUT_MS_MAX)
    timeout_s = run.remaining_s()
    if timeout_ms is not None:
        timeout_s = min(timeout_s, timeout_ms / 1000)

    async def read() -> Mapping[str, Any]:
        stream = streams.get(number)
        is_whole = False
        try:
            data, is_end = await stream.read(bytes_max)
            is_whole = True
        except Exception as error:
            raise OperationError(
                Code.UNAVAILABLE, f"{stream.where} broke off its answer: {why(error)}."
            ) from None
        finally:
            # A read that was cut off, by an error or its time, has ended the connection.
            if not is_whole:
                streams.forget(number)
        if is_end:
            await streams.close(number)
        return {**_told(data), "end": is_end}

    try:
        return run.around.io.call(read, run, timeout_s)
    except TimeoutError:
        raise OperationError(
            Code.DEADLINE, f"Nothing more came within {timeout_s * 1000:.0f} ms."
        ) from None
    except Busy:
        raise OperationError(
            Code.UNAVAILABLE, "Too many operations are under way on this node."
        ) from None


def http_close(request: Mapping[str, Any], run: Run) -> Mapping[str, Any]:
    """`{"stream"}` → `{}`."""
    number, streams = _asked(request, run)

    async def close() -> None:
        await streams.close(number)

    run.around.io.post(close)
    return {}


def _asked(request: Mapping[str, Any], run: Run) -> tuple[int, Streams]:
    if not run.around.grant.http_origins:
        raise OperationError(
            Code.DENIED,
            "No origin is granted; request one in the service's capabilities and grant it in the "
            "node's configuration.",
        )
    number = count(request, "stream", 2**31)
    if number is None:
        raise OperationError(Code.BAD_REQUEST, "stream is missing.")
    return number, streams_of(run)


def _told(data: bytes) -> Mapping[str, str]:
    try:
        return {"body": data.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(data).decode()}


def _whole(data: bytes) -> int:
    """How much of it is whole characters; all of what is no text."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        left = len(data) - error.start
        if (
            error.end == len(data)
            and left <= _UTF8_PART_BYTES_MAX
            and "unexpected end" in str(error)
        ):
            return error.start
    return len(data)
