"""Takes what workers say on `workflow-results`: all gateways together, each result once in effect.

The gateways are one group, so each partition has one of them. A batch is read, and each result in
it takes effect through the same door as one over HTTP; when all of it is on disk the group goes on
behind it, so a crash in between only has some said twice, which changes nothing. What can't be
read, or is of no run here, goes to the dead letters with its reason, and its neighbours go on.
While the storage is away nothing is taken, and nothing is lost.
"""

from collections import Counter
from collections.abc import Sequence

from confluent_kafka import Consumer

from gossamer_gateway.errors import BadRequest, RequestError
from gossamer_gateway.runs import strict
from gossamer_gateway.runs.engine import Engine, Verdict
from gossamer_gateway.runs.kafka.bus import Received, Sender, open_receiver
from gossamer_gateway.runs.kafka.cluster import Cluster
from gossamer_gateway.runs.kafka.publisher import patiently
from gossamer_gateway.runs.kafka.topics import RESULTS, RESULTS_DEAD
from gossamer_gateway.runs.kafka.words import dead_letter
from gossamer_gateway.runs.results import Result, read_result
from gossamer_node import logs

log = logs.get("kafka")

GROUP = "workflow-gateways"
"""Of all gateways that share a storage. Each other storage wants topics of its own."""

SESSION_MS = 10_000
"""After it, the partitions of a gateway that was killed go to the others."""

COMMIT_MS = 500
"""How often the group notes how far it came: so much is said again after a crash."""


class Results:
    """The consumer of this gateway."""

    def __init__(self, engine: Engine, cluster: Cluster, sender: Sender) -> None:
        self._engine = engine
        self._cluster = cluster
        self._sender = sender
        self.counts: Counter[str] = Counter()
        """Results by what became of them; `dead` are dead letters."""

    async def run(self) -> None:
        """Takes results until cancelled."""
        async with open_receiver(
            self._cluster, GROUP, _begin,
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
        read: list[tuple[Received, Result]] = []
        for one in batch:
            try:
                read.append((one, read_result(strict.read(one.value or b""))))
            except BadRequest as error:
                dead.append((one, str(error)))
        for (one, result), verdict in zip(read, await self._answer(read), strict=True):
            if verdict is Verdict.UNKNOWN:
                there = f"run {result.run} with step {result.answer.step}"
                dead.append((one, f"there is no {there} and attempt {result.answer.attempt}"))
            elif isinstance(verdict, Verdict):
                self.counts[verdict.value] += 1
            else:
                dead.append((one, verdict))
        await self._bury(sorted(dead, key=lambda each: (each[0].partition, each[0].offset)))

    async def _answer(self, read: Sequence[tuple[Received, Result]]) -> list[Verdict | str]:
        """What became of each, or why nothing could."""
        said = [(result.run, result.answer) for _, result in read]
        try:
            return list(await patiently(lambda: self._engine.answer_all(said)))
        except Exception:  # one of them is poison: the others have their answers, and are repeated
            return [await self._answer_one(one, result) for one, result in read]

    async def _answer_one(self, one: Received, result: Result) -> Verdict | str:
        try:
            return await patiently(lambda: self._engine.answer(result.run, result.answer))
        except RequestError as error:
            return str(error)
        except Exception as error:  # whatever it is, it must not stop those behind it
            log.error("a result can't be taken", partition=one.partition, offset=one.offset,
                      run=result.run, reason=repr(error))  # fmt: skip
            return f"the gateway failed at it: {type(error).__name__}"

    async def _bury(self, dead: Sequence[tuple[Received, str]]) -> None:
        if not dead:
            return
        self.counts["dead"] += len(dead)
        letters = [dead_letter(RESULTS_DEAD, one, reason) for one, reason in dead]
        for (one, reason), refused in zip(dead, await self._sender.send(letters), strict=True):
            log.warning(
                "a result is a dead letter" if refused is None else "a dead letter is lost",
                partition=one.partition,
                offset=one.offset,
                reason=reason if refused is None else f"{reason}; {refused}",
            )


def _begin(consumer: Consumer) -> None:
    consumer.subscribe([RESULTS])
