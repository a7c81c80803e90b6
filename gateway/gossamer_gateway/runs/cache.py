"""States of open runs in a Redis that gateways share, so that one need not fold what another knows.

It is a cache and nothing more: the events are the truth, and each state that comes from here is
compared with the number in its run's row before it is used (`groups`). So Redis may be away, slow,
flushed, or full of junk or of others' keys: then runs are folded from their events, which is
slower, and nothing else. What was lost comes back with the next change of each run.

States are written behind: after their events are on disk, the newest of each run, many in one
pipeline. They are read before a group is decided, in one pipeline too, and nobody waits longer than
`WAIT_S` for that; while such an answer is still to come nobody waits at all. It is a failure only
when Redis says so, or nothing for `REPLY_S`: a busy machine is late now and then. After a failure
Redis is left alone for a pause that grows; that it is away is said once, and once that it is back.

redis-py (MIT, kept by Redis itself) in a thread for each way: a pipeline there costs a few
microseconds for each state, where coredis, native to trio, costs more than a hundred for each
command and brings 15 MB along.

A value is the digest of all that follows, the size of the run's events, and the state as JSON;
whatever does not have its digest is junk. The form of a state is in the digest as well: what
another version of Gossamer left there may lack a field, which would be read as empty. Two databases
of which one was loaded from the other's dump have runs of the same names: give each a prefix of its
own.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import trio

from gossamer_gateway.errors import InputError
from gossamer_gateway.runs.model.run import Run

if TYPE_CHECKING:
    from redis import Redis

WAIT_S = 0.05
"""For states, before runs are folded instead: a hundred events take a few percent of it."""

REPLY_S = 0.25
"""For one answer of Redis, and for a connection."""

PAUSE_S, PAUSE_S_MAX = 0.25, 10.0
"""After a failure, doubled up to the second."""

UNWRITTEN_MAX = 1_000
"""States that wait to be written; the oldest are dropped."""

PIPELINE_MAX = 100
"""States in one pipeline."""

STATE_BYTES_MAX = 1024 * 1024
"""Of a state; larger ones are not kept here."""

OPEN_S, ENDED_S = 3_600, 60
"""How long a state is kept after its last change: of an open run, and of one that has ended."""

_DIGEST = 16
_FORM = blake2b(msgspec.json.encode(msgspec.json.schema(Run)), digest_size=_DIGEST).digest()
_log = logging.getLogger(__name__)
_DECODER = msgspec.json.Decoder(Run)

Known = tuple[Run, int]
"""A state, and the bytes of its run's events."""


class Cache(Protocol):
    """The port. Nothing of it raises."""

    async def get(self, runs: Sequence[str]) -> Mapping[str, Known]:
        """States of these, as far as they are known; any may be old. Waits `WAIT_S` at most."""

    def put(self, states: Iterable[Known]) -> None:
        """Has states kept, some time."""

    async def run(self) -> None:
        """Writes behind, until cancelled."""


class RedisCache:
    """The cache in a Redis.

    Args:
        url: as `redis://user:password@host:6379/0`, `rediss://…`, or `unix:///path`.
        prefix: of its keys.

    Attributes:
        hits, misses: states that were found, or not, since the start.

    Raises: InputError for an url that is none, or a missing library.
    """

    def __init__(self, url: str, prefix: str = "gossamer") -> None:
        self.hits = 0
        self.misses = 0
        self._client = _client(url)
        self._prefix = prefix
        self._unwritten: OrderedDict[str, Known] = OrderedDict()
        self._news = trio.Event()
        self._reading = trio.CapacityLimiter(1)
        self._writing = trio.CapacityLimiter(1)
        self._until_s = -float("inf")
        self._pause_s = 0.0
        self._trouble = ""

    @property
    def is_away(self) -> bool:
        """Whether it is left alone for now."""
        return trio.current_time() < self._until_s

    async def get(self, runs: Sequence[str]) -> Mapping[str, Known]:
        self._hear()
        if not runs or self.is_away or self._reading.borrowed_tokens:
            return {}
        keys = [self._key(id) for id in runs]
        values: Any = None
        with trio.move_on_after(WAIT_S):
            values = await self._exchange(lambda client: client.mget(keys), self._reading)
        found = {}
        for id, value in zip(runs, values or [], strict=False):
            known = _read(id, value)
            if known is not None:
                found[id] = known
        self.hits += len(found)
        self.misses += len(runs) - len(found)
        return found

    def put(self, states: Iterable[Known]) -> None:
        if self.is_away:
            return
        for run, size in states:
            if size <= STATE_BYTES_MAX:
                self._unwritten[run.id] = run, size
                self._unwritten.move_to_end(run.id)
        while len(self._unwritten) > UNWRITTEN_MAX:
            self._unwritten.popitem(last=False)
        self._news.set()

    async def run(self) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            while self._unwritten and not self.is_away:
                count = min(PIPELINE_MAX, len(self._unwritten))
                states = [self._unwritten.popitem(last=False)[1] for _ in range(count)]
                await self._exchange(partial(self._write, states), self._writing)

    def _write(self, states: Sequence[Known], client: "Redis") -> None:
        # In the thread: encoding is a good part of the work.
        pipeline = client.pipeline(transaction=False)
        for run, size in states:
            value = _value(run, size)
            if len(value) <= STATE_BYTES_MAX:
                seconds = ENDED_S if run.status.has_ended else OPEN_S
                pipeline.set(self._key(run.id), value, ex=seconds)
        pipeline.execute(raise_on_error=False)  # one that is refused, as for want of memory

    async def _exchange(self, act: Callable[["Redis"], Any], thread: trio.CapacityLimiter) -> Any:
        """What Redis says to something; None when it says nothing of use."""
        found = await trio.to_thread.run_sync(
            self._act, act, limiter=thread, abandon_on_cancel=True
        )
        if not self._hear() and self._pause_s:
            _log.info("Redis is back")
            self._pause_s = 0.0
        return found

    def _act(self, act: Callable[["Redis"], Any]) -> Any:
        """In a thread, for which nobody may be waiting any more."""
        try:
            return act(self._client)
        except Exception as error:  # whatever redis-py makes of whatever it hears
            self._trouble = str(error) or repr(error)
            return None

    def _hear(self) -> bool:
        """Whether a thread has failed since the last time."""
        trouble, self._trouble = self._trouble, ""
        if trouble:
            self._failed(trouble)
        return bool(trouble)

    def _failed(self, reason: str) -> None:
        self._unwritten.clear()
        if not self._pause_s:
            _log.warning("Redis is away, so runs are folded from their events: %s", reason)
        self._pause_s = min(2 * self._pause_s or PAUSE_S, PAUSE_S_MAX)
        self._until_s = trio.current_time() + self._pause_s

    def _key(self, id: str) -> str:
        return f"{self._prefix}:run:{id}"


def _client(url: str) -> "Redis":
    try:
        from redis import Redis  # noqa: PLC0415 - an extra
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415
    except ImportError as error:
        raise InputError(
            f"Redis needs a library that is not here ({error}); install it with: "
            "pip install 'gossamer[redis]'."
        ) from None
    try:
        return Redis.from_url(
            url,
            socket_timeout=REPLY_S,
            socket_connect_timeout=REPLY_S,
            retry=Retry(NoBackoff(), 0),
            max_connections=4,
        )
    except ValueError as error:
        raise InputError(f"{url.partition('://')[0]}://… is no url of a Redis: {error}") from None


def _value(run: Run, size: int) -> bytes:
    told = size.to_bytes(8, "big") + msgspec.json.encode(run)
    return _digest(run.id, told) + told


def _read(id: str, value: Any) -> Known | None:
    if not isinstance(value, bytes) or not _DIGEST + 8 < len(value) <= STATE_BYTES_MAX:
        return None
    told = value[_DIGEST:]
    if value[:_DIGEST] != _digest(id, told):
        return None
    try:
        run = _DECODER.decode(told[8:])
    except (msgspec.DecodeError, ValueError):
        return None
    return (run, int.from_bytes(told[:8], "big")) if run.id == id else None


def _digest(id: str, told: bytes) -> bytes:
    return blake2b(id.encode() + b"\0" + told, digest_size=_DIGEST, key=_FORM).digest()
