"""The watchdog's thread: what wakes it is never lost."""

import threading

from tests.patience import PATIENCE_S

from gossamer_node.wasm.watchdog import Watchdog


def test_a_close_is_heard_while_the_thread_looks_around() -> None:
    watchdog = Watchdog()

    class ClosedJustBefore(threading.Event):
        def clear(self) -> None:
            watchdog._closed = True
            self.set()
            super().clear()

    sleeps, watchdog._event = watchdog._event, ClosedJustBefore()
    sleeps.set()
    watchdog._thread.join(PATIENCE_S)
    assert not watchdog._thread.is_alive()
