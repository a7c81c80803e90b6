"""Ends guests whose time is up.

wasmtime asks at every loop and call of a guest whether the engine's epoch has passed the store's
deadline. Rather than ticking all the time, one thread sleeps until the earliest deadline of the
runs under way, marks those that are over and advances their engine's epoch once: every guest of
that engine then asks whether it is the one (`fastcall.interruption`). An idle node has no ticks,
and a loop ends within a fraction of a millisecond of its time. Short jobs seldom wake the thread:
a run does so only if it is due before the thread would wake by itself.
"""

import math
import threading
import time

from gossamer_node.wasm.run import Run, Stop

AGAIN_S = 0.01
"""Until the epoch is advanced once more for a guest that still runs: one that asked just before
it was marked goes on until the next."""


class Watchdog:
    """One thread for all engines of a host."""

    def __init__(self) -> None:
        self._runs: set[Run] = set()
        self._wakes_s = math.inf
        self._event = threading.Event()
        self._closed = False
        self._thread = threading.Thread(
            target=self._watch, name="gossamer-wasm-watchdog", daemon=True
        )
        self._thread.start()

    def add(self, run: Run) -> None:
        """Watch a run whose store has its epoch deadline set already."""
        self._runs.add(run)
        if self._closed:
            run.interrupt(Stop.CANCELLED)
        # `_wakes_s` is infinite while the thread looks at the runs, so this one is seen either way.
        if run.deadline_s < self._wakes_s:
            self._event.set()

    def discard(self, run: Run) -> None:
        self._runs.discard(run)

    def cancel(self, run: Run) -> None:
        """End a run now, whatever its deadline."""
        run.interrupt(Stop.CANCELLED)
        run.around.engine.engine.increment_epoch()

    def close(self) -> None:
        """End every run under way, and the thread."""
        self._closed = True
        self._event.set()
        self._thread.join()
        for run in list(self._runs):
            self.cancel(run)

    def _watch(self) -> None:
        while True:
            self._wakes_s = math.inf
            self._event.clear()
            # Asked after the event is cleared, which may have been `close` waking this thread.
            if self._closed:
                return
            now_s = time.monotonic()
            running = list(self._runs)
            over = {run for run in running if run.deadline_s <= now_s}
            for run in over:
                run.interrupt(Stop.TIME)
            for engine in {run.around.engine for run in over}:
                engine.engine.increment_epoch()
            wakes_s = min(
                (now_s + AGAIN_S if run in over else run.deadline_s for run in running),
                default=math.inf,
            )
            self._wakes_s = wakes_s
            if wakes_s is math.inf:
                self._event.wait()
            else:
                self._event.wait(max(0.0, wakes_s - now_s))
