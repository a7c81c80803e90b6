"""The worker that `tests/sdk` asks, the same in all languages: one action for each behaviour."""

import os
import sys
import threading
import time
from collections import Counter
from typing import Any

from gossamer_worker import Context, Worker, WorkerError


class CardDeclined(Exception):
    pass


class CardStolen(CardDeclined):
    pass


def main() -> None:
    prefix = sys.argv[1]
    grace_s = int(os.environ.get("CONFORMANCE_GRACE_MS", "30000")) / 1000
    worker = Worker(concurrency=4, grace_s=grace_s)
    runs: Counter[str] = Counter()
    lock = threading.Lock()
    at_work = 0

    def count(_payload: Any, context: Context) -> list[Any]:
        runs[context.key] += 1
        return [runs[context.key], context.attempt, context.worker == worker.name]

    def declined(payload: Any) -> None:
        raise CardDeclined(payload)

    def stolen(payload: Any) -> None:
        raise CardStolen(payload)

    def coded(payload: Any) -> None:
        raise WorkerError("out-of-stock", payload, retryable=False)

    def slow(payload: int) -> int:
        time.sleep(payload / 1000)
        return payload

    def together(payload: int) -> int:
        nonlocal at_work
        with lock:
            at_work += 1
            seen = at_work
        time.sleep(payload / 1000)
        with lock:
            at_work -= 1
        return seen

    def hang(_: Any) -> None:
        print("hangs", file=sys.stderr, flush=True)
        threading.Event().wait()

    def kept(payload: int, context: Context) -> int:
        context.extend(60_000)
        return payload

    worker.register(prefix + "echo", lambda payload: payload)
    worker.register(prefix + "key", lambda _, context: context.key)
    worker.register(prefix + "count", count)
    worker.register(prefix + "declined", declined)
    worker.register(prefix + "fatal", declined, not_retryable=[CardDeclined])
    worker.register(prefix + "derived", stolen, not_retryable=[CardDeclined])
    worker.register(prefix + "coded", coded)
    worker.register(prefix + "odd", sys.exit)  # no error at all, to Python
    worker.register(prefix + "large", lambda payload: "x" * payload)
    worker.register(prefix + "wrong", lambda _: object())
    worker.register(prefix + "slow", slow)
    worker.register(prefix + "together", together)
    worker.register(prefix + "hang", hang)
    worker.register(prefix + "kept", kept)
    worker.start()


if __name__ == "__main__":
    main()
