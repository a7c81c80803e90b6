"""Credentials that end: fetched once however many calls wait, renewed before their end.

A renewal that fails while the old ones still hold is passed over in silence and tried again with
the next call: a metadata server that hiccups must not stop a gateway that has minutes left.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

T = TypeVar("T")

RENEWED_EARLY_S = 300.0
"""Renewed this long before their end, or in the last tenth of a short life: AWS has new ones at
its metadata server five minutes before the old ones end."""

FETCH_S = 10.0
"""For one fetch, whatever the call that waits for it still has."""

KEPT_MAX = 1_000


class NoCredentials(Exception):
    """There are none to be had, for a reason that names no secret."""


@dataclass(frozen=True, slots=True)
class Fetched(Generic[T]):
    """Credentials. `ends_s`: as `time.time`; None: never."""

    value: T
    ends_s: float | None = None


class Keeper(Generic[T]):
    """One set of credentials. Safe to use from several tasks at once."""

    def __init__(self, fetch: Callable[[], Awaitable[Fetched[T]]]) -> None:
        self._fetch = fetch
        self._fetching = trio.Lock()
        self._kept: Fetched[T] | None = None
        self._renewed_s = 0.0

    async def get(self) -> T:
        """Raises: NoCredentials, or what the fetch raises; what was kept then has ended."""
        if (kept := self._fresh()) is not None:
            return kept.value
        async with self._fetching:
            if (kept := self._fresh()) is not None:
                return kept.value
            try:
                with trio.fail_after(FETCH_S):
                    found = await self._fetch()
            except Exception as error:
                if self._kept is not None and time.time() < (self._kept.ends_s or 0):
                    return self._kept.value
                if isinstance(error, trio.TooSlowError):
                    said = f"no credentials came within {FETCH_S:g} s"
                    raise NoCredentials(said) from error
                raise
            self._kept = found
            if found.ends_s is not None:
                left_s = max(0.0, found.ends_s - time.time())
                self._renewed_s = found.ends_s - min(RENEWED_EARLY_S, left_s / 10)
            return found.value

    def give_up(self, value: T) -> bool:
        """They were refused. Returns whether the next ones may be others."""
        if self._kept is not None and self._kept.value == value:
            self._kept = None
        return True

    def _fresh(self) -> Fetched[T] | None:
        kept = self._kept
        if kept is None or kept.ends_s is None or time.time() < self._renewed_s:
            return kept
        return None


class Keepers(Generic[T]):
    """A keeper by name, such as a token's audience."""

    def __init__(self, fetch: Callable[[str], Awaitable[Fetched[T]]]) -> None:
        self._fetch = fetch
        self._all: OrderedDict[str, Keeper[T]] = OrderedDict()

    def __getitem__(self, name: str) -> Keeper[T]:
        if name not in self._all:
            self._all[name] = Keeper(lambda: self._fetch(name))
            if len(self._all) > KEPT_MAX:
                self._all.popitem(last=False)
        self._all.move_to_end(name)
        return self._all[name]
