"""Credentials that end: fetched once however many calls wait, renewed before their end.

A renewal that fails while the old ones still hold is passed over in silence: a metadata server that
hiccups must not stop a gateway that has minutes left. Who gives credentials is not asked by every
call that has none: after a fetch in vain, or one because of a refusal, there is a pause, in which
the calls hear what came of it.
"""

import math
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

AGAIN_S = 5.0
"""The pause: as long as a metadata server takes to come back, and short for a run that waits."""

KEPT_MAX = 1_000


class NoCredentials(Exception):
    """There are none to be had, for a reason that names no secret."""


def may_be_sent(credential: str) -> bool:
    """Whether a header may have it. Who writes it all the same has it quoted in an error.

    RFC 9110 §5.5: visible ASCII, as all clouds' credentials are. Secrets of files and of variables
    made of files like to have a line's end.
    """
    return bool(credential) and credential.isascii() and credential.isprintable()


@dataclass(frozen=True, slots=True)
class Fetched(Generic[T]):
    """Credentials. `ends_s`: as `time.time`; None: never.

    Raises: ValueError for an end that is no time.
    """

    value: T
    ends_s: float | None = None

    def __post_init__(self) -> None:
        if self.ends_s is not None and not math.isfinite(self.ends_s):
            raise ValueError("its end is no time")


class Keeper(Generic[T]):
    """One set of credentials. Safe to use from several tasks at once."""

    def __init__(self, fetch: Callable[[], Awaitable[Fetched[T]]]) -> None:
        self._fetch = fetch
        self._fetching = trio.Lock()
        self._kept: Fetched[T] | None = None
        self._renewed_s = 0.0
        self._again_s = -math.inf
        self._failure = ""

    async def get(self) -> T:
        """Raises: NoCredentials, or what the fetch raises; what was kept then has ended."""
        if (kept := self._fresh()) is not None:
            return kept.value
        if self._fetching.locked() and (kept := self._holding()) is not None:
            return kept.value  # somebody renews them
        async with self._fetching:
            if (kept := self._fresh()) is not None:
                return kept.value
            if self._is_pausing():
                if (kept := self._holding()) is not None:
                    return kept.value
                if self._failure:
                    raise NoCredentials(self._failure)
            try:
                return (await self._fetch_now()).value
            except Exception:
                if (kept := self._holding()) is not None:
                    return kept.value
                raise

    async def other_than(self, refused: T) -> T | None:
        """Others than these, which were refused; None: there are none.

        What was refused is given out further while it holds: who refused it may be one of many.

        Raises: NoCredentials, or what the fetch raises: nobody knows whether there are others.
        """
        async with self._fetching:
            if self._kept is None or self._kept.value == refused:
                if self._is_pausing():
                    if self._failure:
                        raise NoCredentials(self._failure)
                    return None
                await self._fetch_now()
                self._pause()
            assert self._kept is not None, "they were fetched"
            return None if self._kept.value == refused else self._kept.value

    async def _fetch_now(self) -> Fetched[T]:
        self._failure = ""
        try:
            with trio.fail_after(FETCH_S):
                found = await self._fetch()
        except trio.TooSlowError:
            self._failure = f"no credentials came within {FETCH_S:g} s"
            self._pause()
            raise NoCredentials(self._failure) from None
        except NoCredentials as error:
            self._failure = str(error)
            self._pause()
            raise
        self._kept = found
        if found.ends_s is not None:
            left_s = max(0.0, found.ends_s - time.time())
            self._renewed_s = found.ends_s - min(RENEWED_EARLY_S, left_s / 10)
        return found

    def _fresh(self) -> Fetched[T] | None:
        kept = self._kept
        if kept is None or kept.ends_s is None or time.time() < self._renewed_s:
            return kept
        return None

    def _holding(self) -> Fetched[T] | None:
        kept = self._kept
        if kept is None or kept.ends_s is None or time.time() < kept.ends_s:
            return kept
        return None

    def _pause(self) -> None:
        self._again_s = trio.current_time() + AGAIN_S

    def _is_pausing(self) -> bool:
        return trio.current_time() < self._again_s


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
