"""Takes what workers say on `workflow-results`: all gateways together, each result once in effect.

The gateways are one group, so each partition has one of them. A batch is read, and each result in
it takes effect through the same door as one over HTTP; when all of it is on disk the group goes on
behind it, so a crash in between only has some said twice, which changes nothing. What can't be
read, or is of no run here, goes to the dead letters with its reason, and its neighbours go on.
While the storage is away nothing is taken, and nothing is lost.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio
from confluent_kafka import Consumer

from gossamer_gateway.errors import RequestError
from gossamer_gateway.runs.kafka.bus import Received, Sender, open_receiver
from gossamer_gateway.runs.kafka.publisher import patiently
from gossamer_gateway.runs.kafka.topics import RESULTS, RESULTS_DEAD
from gossamer_gateway.runs.kafka.words import dead_letter
from gossamer_node import logs

log = logs.get("kafka")

GROUP = "workflow-gateways"
"""Of all gateways that share a storage. Each other storage wants topics of its own."""

SESSION_MS = 10_000
"""After it, the partitions of a gateway that was killed go to the others."""

COMMIT_MS = 500
"""How often the group notes how far it came: so much is said again after a crash."""

Take = Callable[[bytes], Awaitable[str]]
"""Has a result take effect, on disk when it returns; gives what became of it: `taken`, `repeated`,
`late` or `unknown`.

Raises: RequestError for what no result can be made of; another GatewayError where it may be given
again later.
"""


class Results:
    """The consumer of this gateway."""

    def __init__(self, address: str, take: Take, sender: Sender) -> None:
        self._address = address
        self._take = take
        self._sender = sender
        self.counts: Counter[str] = Counter()
        """Results by what became of them; `dead` are dead letters."""

    async def run(self) -> None:
        """Takes results until cancelled."""
        async with open_receiver(
            self._address, GROUP, _begin,
            **{
                "enable.auto.commit": True,
                "enable.auto.offset.store": False,  # only what took effect is noted: `done`
                "auto.commit.interval.ms": COMMIT_MS,
                "session.timeout.ms": SESSION_MS,
                "partition.assignment.strategy": "cooperative-sticky",
            },
        ) as receiver:  # fmt: skip
            while True:
                batch = await receiver.next_batch()
                await self._take_all(batch)
                receiver.done(batch)

    async def _take_all(self, batch: Sequence[Received]) -> None:
        dead: list[tuple[Received, str]] = []
        # Together, so that the storage commits them together.
        async with trio.open_nursery() as nursery:
            for one in batch:
                nursery.start_soon(self._take_one, one, dead)
        if dead:
            dead.sort(key=lambda each: (each[0].partition, each[0].offset))
            self.counts["dead"] += len(dead)
            letters = [dead_letter(RESULTS_DEAD, one, reason) for one, reason in dead]
            for (one, reason), refused in zip(dead, await self._sender.send(letters), strict=True):
                log.warning(
                    "a result is a dead letter" if refused is None else "a dead letter is lost",
                    partition=one.partition,
                    offset=one.offset,
                    reason=reason if refused is None else f"{reason}; {refused}",
                )

    async def _take_one(self, one: Received, dead: list[tuple[Received, str]]) -> None:
        if one.value is None:
            dead.append((one, "it is empty"))
            return
        try:
            verdict = await patiently(partial(self._attempt, one.value))
        except RequestError as error:
            dead.append((one, str(error)))
        except Exception as error:
            log.error("a result could not be taken", partition=one.partition, offset=one.offset,
                      reason=repr(error))  # fmt: skip
            dead.append((one, f"the gateway failed at it: {type(error).__name__}"))
        else:
            self.counts[verdict] += 1
            if verdict == "unknown":
                dead.append((one, "there is no such run, step or attempt here"))

    async def _attempt(self, value: bytes) -> str:
        return await self._take(value)


def _begin(consumer: Consumer) -> None:
    consumer.subscribe([RESULTS])
