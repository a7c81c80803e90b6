"""The server that the workers of these tests reach: it counts what they did, and can keep them.

A job that waits for an answer is in a worker's hands for certain, for as long as a test likes.
Like a real service that is idempotent, it has an effect once for each key, however often it is
asked.
"""

from collections import Counter
from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import request
from quart_trio import QuartTrio
from tests.integration.nodes import PATIENCE_S
from tests.patience import patience


class Server:
    """What was asked of it.

    Attributes:
        origin: `http://127.0.0.1:PORT`.
        asked: how often each idempotency key came, answered or not.
        effects: keys that took effect: those that were answered.
    """

    def __init__(self) -> None:
        self.origin = ""
        self.asked: Counter[str] = Counter()
        self.effects: set[str] = set()
        self._answers = trio.Event()
        self._asked = trio.Event()

    async def asked_for(self, jobs: int) -> None:
        """Waits until it was asked so often, in all."""
        with patience(PATIENCE_S):
            while self.asked.total() < jobs:
                await self._asked.wait()

    def answer(self) -> None:
        """Answers all who wait, and from now on at once."""
        self._answers.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves on a free port until cancelled."""
        app = QuartTrio("server")

        @app.post("/<topic>")
        async def work(topic: str) -> str:
            key = request.headers["idempotency-key"]
            self.asked[key] += 1
            self._asked.set()
            self._asked = trio.Event()
            await self._answers.wait()
            self.effects.add(key)
            return topic

        config = Config()
        config.bind = ["127.0.0.1:0"]
        config.errorlog = None
        config.graceful_timeout = 0.1
        async with trio.open_nursery() as nursery:
            (self.origin,) = await nursery.start(partial(serve, app, config))
            task_status.started()
