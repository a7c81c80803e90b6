"""The worker that `tests/sdk` asks, the same in all languages: one action for each behaviour."""

import sys
import time
from collections import Counter
from typing import Any

from gossamer_worker import Context, Worker, WorkerError


class CardDeclined(Exception):
    pass


def main() -> None:
    prefix = sys.argv[1]
    worker = Worker(concurrency=4)
    runs: Counter[str] = Counter()

    def count(_payload: Any, context: Context) -> list[Any]:
        runs[context.key] += 1
        return [runs[context.key], context.attempt, context.worker == worker.name]

    def declined(payload: Any) -> None:
        raise CardDeclined(payload)

    def coded(payload: Any) -> None:
        raise WorkerError("out-of-stock", payload, retryable=False)

    def slow(payload: int) -> int:
        time.sleep(payload / 1000)
        return payload

    def kept(payload: int, context: Context) -> int:
        context.extend(60_000)
        return payload

    worker.register(prefix + "echo", lambda payload: payload)
    worker.register(prefix + "count", count)
    worker.register(prefix + "declined", declined)
    worker.register(prefix + "fatal", declined, not_retryable=[CardDeclined])
    worker.register(prefix + "coded", coded)
    worker.register(prefix + "large", lambda payload: "x" * payload)
    worker.register(prefix + "wrong", lambda _: object())
    worker.register(prefix + "slow", slow)
    worker.register(prefix + "kept", kept)
    worker.start()


if __name__ == "__main__":
    main()
