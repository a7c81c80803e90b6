"""Which engines this member reaches: calls raise a doubt, and a probe of its own answers it.

A call without an answer may mean an engine that is down, a link that is cut, or a transaction that
waits for a database. Only who asks again, something that costs an engine nothing, can tell. Rules:

1. There is doubt at the start, when this member begins to claim, when another means something else
   by the engine's name, when a call ended without an answer; and when one has had none for
   `DOUBT_MS`, a long poll for so long past its own end. A link that swallows everything ends no
   call before its deadline (30 s, of a poll 20 s); until then nobody else would claim. And there
   is doubt when this member claims from the engine, or has leases of it, and has not heard of it
   for `QUIET_MS`: while all slots are taken by long jobs it makes no call that could fail, under
   a lock of an hour for 20 minutes, and would notice nothing until an outcome waits.
2. Doubt is a question, not a verdict: the engine is probed, at most every `PROBE_MS_MIN`.
3. A probe that is refused, or answered with nonsense, says that the engine is out of reach. One
   that takes longer than `PROBE_ANSWER_MS` says so at the second time in a row, and only if nothing
   else was answered since the first of the two was asked: who answers late is within reach.
4. Who is out of reach is probed until it answers, with more and more time to do so.

So a claimer whose link swallows everything knows it 6.5 to 7 s after its next call instead of 20 s
or more: 2.0 to 2.5 s of doubt, two probes of 2 s, and 0.5 s between them. An engine that stands
still for a garbage collection of 5 s answers the second probe with 1.5 s to spare, and the claim
stays where it is. (If a probe happens to be the first thing that it leaves waiting, 4.5 s are all
that it has.) One that stands still for longer loses its claimer to another member, which finds it
as silent; the leases stay with the old one meanwhile, as who claims in doubt takes none over
(`is_sure`). An engine under such load that probes take more than 2 s still answers calls now and
then, so rule 3 keeps it.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import trio

from gossamer_node import logs
from gossamer_node.engines.port import WAIT_MS_MAX, Engine, EngineInfo
from gossamer_node.engines.rest import ANSWER_MS_MAX
from gossamer_node.errors import EngineError

log = logs.get("probing")

PROBE_MS_MIN, PROBE_MS_MAX = 250, 5_000
"""Pauses between questions to an engine that does not answer; they double."""

DOUBT_MS = 2_000
"""A call that has had no answer for so long raises a doubt: a hundred times what a call takes on a
quiet engine, and a probe is cheap. What is busy for longer costs one probe a call."""

QUIET_MS = WAIT_MS_MAX + DOUBT_MS
"""A claimer that has heard nothing for so long asks. Just when a poll that had been open all the
while would raise a doubt: who polls has heard something by then, and asks nothing more for this
rule. Where all slots are taken, it costs an engine one quick question in 12 s."""

LOOK_MS = 500
"""Between two looks for such calls. One look for all costs less than a timer for each."""

PROBE_ANSWER_MS = 2_000
"""Deadline of a probe. Of an engine that is out of reach it doubles with each, up to that of other
calls, so that one which is always slow is found in the end."""


class _Reach:
    """What is known of one engine."""

    def __init__(self) -> None:
        self.info: EngineInfo | None = None
        self.is_down = False
        self.in_doubt = True
        self.doubted = trio.Event()
        self.heard_s = -math.inf
        self.due_s: dict[object, float] = {}  # of calls under way, when they raise a doubt


class Probing:
    """The ways of this member to its engines.

    Args:
        engines: by name.
        review: is called when an engine has come into reach or gone out of it, and whenever one
            has answered a probe.
        depends_on: whether it matters now that an engine is in reach, although nothing is asked.
    """

    def __init__(
        self,
        engines: Mapping[str, Engine],
        review: Callable[[], None],
        depends_on: Callable[[str], bool],
    ) -> None:
        self._engines = engines
        self._review = review
        self._depends_on = depends_on
        self._reach = {name: _Reach() for name in engines}

    async def run(self) -> None:
        """Probes until it is cancelled, at first each engine."""
        async with trio.open_nursery() as nursery:
            for name in self._engines:
                self.doubt(name)
                nursery.start_soon(self._run_probe, name)
            while True:
                await trio.sleep(LOOK_MS / 1_000)
                self._look()

    # --- what is known

    def info(self, name: str) -> EngineInfo | None:
        """What the engine said of itself last; None when it never answered."""
        return self._reach[name].info

    def answers(self, name: str) -> bool:
        """Whether the engine is within reach, as far as this member knows."""
        reach = self._reach[name]
        return reach.info is not None and not reach.is_down

    def is_sure(self, name: str) -> bool:
        """Whether it is, and there is no doubt about it now."""
        return self.answers(name) and not self._reach[name].in_doubt

    # --- what raises a doubt

    def doubt(self, name: str) -> None:
        """Whether the engine answers, and as what, is to be found out."""
        self._reach[name].in_doubt = True
        self._reach[name].doubted.set()

    def set_reachable(self, name: str, reachable: bool) -> None:
        """A poll was answered, or too many in a row were not."""
        reach = self._reach[name]
        if reachable:
            self.heard(name)
        if reachable == (not reach.is_down):
            return
        reach.is_down = not reachable
        if not reachable:
            self.doubt(name)
        self._review()

    def heard(self, name: str) -> None:
        """The engine has answered something."""
        self._reach[name].heard_s = trio.current_time()

    @contextmanager
    def watch(self, name: str, wait_ms: int = 0) -> Iterator[None]:
        """Around a call to an engine: it raises a doubt when it takes too long.

        Args:
            wait_ms: how long the engine may take on purpose.
        """
        reach, call = self._reach[name], object()
        reach.due_s[call] = trio.current_time() + (wait_ms + DOUBT_MS) / 1_000
        try:
            yield
        finally:
            reach.due_s.pop(call, None)

    def _look(self) -> None:
        now_s = trio.current_time()
        for name, reach in self._reach.items():
            late = [call for call, due_s in reach.due_s.items() if due_s <= now_s]
            for call in late:
                del reach.due_s[call]  # once a call
            is_quiet = reach.heard_s + QUIET_MS / 1_000 <= now_s
            if late or (is_quiet and self._depends_on(name)):
                self.doubt(name)

    # --- probes

    async def _run_probe(self, name: str) -> None:
        reach = self._reach[name]
        said = ""
        pause_ms = PROBE_MS_MIN
        late, late_asked_s = 0, math.inf
        answer_ms = PROBE_ANSWER_MS
        while True:
            await reach.doubted.wait()
            reach.doubted = trio.Event()
            asked_s = trio.current_time()
            answer = await self._probe(name, answer_ms)
            if isinstance(answer, EngineInfo):
                said, late, pause_ms, answer_ms = "", 0, PROBE_MS_MIN, PROBE_ANSWER_MS
                self._take_info(name, answer)
            else:
                is_down = True
                if answer is None:
                    late += 1
                    is_down = late > 1 and reach.heard_s < late_asked_s
                    late_asked_s = asked_s
                why = answer or f"Engine {name!r} neither answers nor refuses: is its way blocked?"
                if is_down and why != said:
                    said = why
                    log.warning(why, engine=name)
                pause_ms = min(PROBE_MS_MAX, 2 * pause_ms)
                self.doubt(name)
                if is_down:
                    self.set_reachable(name, False)
                if answer is None and not self.answers(name):
                    answer_ms = min(ANSWER_MS_MAX, 2 * answer_ms)
            await trio.sleep(pause_ms / 1_000)

    async def _probe(self, name: str, answer_ms: int) -> EngineInfo | str | None:
        """What the engine says of itself; why it does not; or None, it takes too long."""
        with trio.move_on_after(answer_ms / 1_000):
            try:
                return await self._engines[name].probe()
            except EngineError as error:
                return str(error)
        return None

    def _take_info(self, name: str, info: EngineInfo) -> None:
        reach = self._reach[name]
        if reach.info != info:
            log.info("engine answers", engine=name, product=info.product, version=info.version)
        reach.info = info
        reach.is_down = False
        reach.in_doubt = reach.doubted.is_set()
        self.heard(name)
        self._review()
