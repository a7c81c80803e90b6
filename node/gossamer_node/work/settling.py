"""What the claimer asks of the engine for its leases: renew, settle, give back.

Each call ends in a word that the lease machine understands (`gossamer_mesh.leases.claimer`):
an answer, or None where nobody knows, which is tried again. This is where an outcome gets the
numbers that it left open, and where an engine's refusal of an outcome becomes a failure of the job,
so that a person sees it as an incident and the job doesn't run again for nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from gossamer_mesh.leases.claimer import Claimer
from gossamer_mesh.leases.messages import TopicTerms
from gossamer_mesh.leases.reclaiming import Look
from gossamer_mesh.leases.work import Extend, Release, Report
from gossamer_node import logs
from gossamer_node.engines.port import Effect, Engine, Settlement
from gossamer_node.errors import EngineError, EngineUnavailable
from gossamer_node.jobs import BpmnError, Completed, Failed, JobRef, Outcome
from gossamer_node.tracing.jobs import UNTRACED, JobTraces, ended
from gossamer_node.work.claiming import now_ms
from gossamer_node.work.wire import pack_receipt, unpack_outcome, unpack_receipt

log = logs.get("settling")

CALLS_MAX = 8
"""Calls at one engine at once, beside the polls. More gained nothing on either Camunda, and each
connection costs the HTTP pool a look for every request (at 32 that was a third of a claimer)."""

RENEWALS_MAX = 2
"""Renewals at one engine at once, beside those: they must not wait behind a thousand reports, as
a first lock leaves them 6 s. Two make 50 renewals a second at 40 ms each, enough for 500 jobs that
take long under locks of 30 s."""

RETRIES_DEFAULT = 3
"""For a job whose engine gave no count and whose service nobody in the mesh knows any more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of a call.

    Attributes:
        word: how it ended, as the holder and the logs get it; None: nobody knows, try again.
        retry_after_ms: the engine's wish, 0 for none.
    """

    word: str | None
    retry_after_ms: int = 0


async def extend(engine: Engine, work: Extend) -> bool | None:
    """Renews a lock. True: ours; False: not ours any more; None: no answer."""
    ref = unpack_receipt(work.receipt)
    if ref is None:
        return False
    try:
        settlement = await engine.extend(ref, work.lock_ms)
    except EngineError as error:
        log.warning(str(error), job=ref.key, topic=ref.topic, engine=ref.engine)
        return None
    return settlement.effect is Effect.APPLIED


async def release(engine: Engine, work: Release) -> Answer:
    """Gives a job back. Without an answer it is tried again while its lock lasts."""
    ref = unpack_receipt(work.receipt)
    if ref is None:
        return Answer("unreadable receipt")
    try:
        settlement = await engine.release(ref)
    except EngineUnavailable as error:
        log.warning(str(error), job=ref.key, topic=ref.topic, engine=ref.engine)
        return Answer(None, error.retry_after_ms or 0)
    except EngineError as error:
        return Answer(f"not released: {error}")
    log.info("released", job=ref.key, topic=ref.topic, engine=ref.engine, reason=work.reason)
    return Answer(settlement.effect.name.lower())


async def look(
    engine: Engine, claimer: Claimer, question: Look, worker_id: str, then: Callable[[], None]
) -> None:
    """Tells an heir what the engine has locked for a claimer that is gone."""
    try:
        locked = await engine.locked_by(worker_id)
    except EngineUnavailable as error:
        log.warning(str(error), engine=engine.name)
        claimer.handle_locked(question, None, now_ms())
    except EngineError as error:
        log.warning(f"{error} Its jobs come back when their locks end.", engine=engine.name)
        claimer.handle_cannot_tell(question)
    else:
        if locked is None:
            claimer.handle_cannot_tell(question)
        else:
            rows = [(one.key, one.topic, pack_receipt(one)) for one in locked]
            claimer.handle_locked(question, rows, now_ms())
    then()


async def refuse(engine: Engine, ref: JobRef, why: str) -> None:
    """Fails a job for good that no node can be given; without an answer it comes back, and here."""
    failed = Failed(f"The job {why}.", retries=0)
    log.error(failed.message, job=ref.key, topic=ref.topic, engine=ref.engine)
    try:
        await engine.fail(ref, failed)
    except EngineError as error:
        log.warning(str(error), job=ref.key, topic=ref.topic, engine=ref.engine)


async def report(engine: Engine, work: Report, traces: JobTraces = UNTRACED) -> Answer:
    """Gives an outcome to the engine."""
    with traces.settling(work.receipt) as span:
        answer = await _report(engine, work)
        ended(span, answer.word or "unavailable")
    return answer


async def _report(engine: Engine, work: Report) -> Answer:
    ref = unpack_receipt(work.receipt)
    if ref is None:
        return Answer("unreadable receipt")
    ref = counted(ref, work.terms)
    outcome = unpack_outcome(work.outcome) if work.outcome is not None else Failed(work.reason)
    if outcome is None:
        outcome = Failed("the node that ran this job answered with something unreadable")
    try:
        settlement = await _settle(engine, ref, outcome, work.terms)
    except EngineUnavailable as error:
        log.warning(str(error), job=ref.key, topic=ref.topic, engine=ref.engine)
        return Answer(None, error.retry_after_ms or 0)
    except EngineError as error:
        return await _refused(engine, ref, work.terms, error)
    _log(ref, outcome, settlement, work)
    return Answer(settlement.effect.name.lower())


async def _settle(
    engine: Engine, ref: JobRef, outcome: Outcome, terms: TopicTerms | None
) -> Settlement:
    match outcome:
        case Completed():
            return await engine.complete(ref, outcome)
        case BpmnError():
            return await engine.throw_error(ref, outcome)
        case Failed():
            return await engine.fail(ref, with_numbers(outcome, ref, terms))


async def _refused(
    engine: Engine, ref: JobRef, terms: TopicTerms | None, error: EngineError
) -> Answer:
    """The engine will never take this outcome (a value that it cannot store, say)."""
    failed = with_numbers(Failed(f"the engine refused the outcome: {error}"), ref, terms)
    log.error(failed.message, job=ref.key, topic=ref.topic, engine=ref.engine)
    try:
        await engine.fail(ref, failed)
    except EngineUnavailable as unavailable:
        return Answer(None, unavailable.retry_after_ms or 0)
    except EngineError as again:
        return Answer(f"refused: {again}")
    return Answer("refused")


def counted(ref: JobRef, terms: TopicTerms | None) -> JobRef:
    """The receipt with a count of tries: the engine's, or for a job that never failed before, where
    Camunda 7 has none, the service's."""
    if ref.retries is not None:
        return ref
    return replace(ref, retries=terms.retries if terms else RETRIES_DEFAULT)


def with_numbers(outcome: Failed, ref: JobRef, terms: TopicTerms | None) -> Failed:
    """A failure with its retries and back-off filled in: the worker's word, else one try less than
    `counted` said, and the service's pause."""
    retries = outcome.retries
    if retries is None:
        retries = max(0, (ref.retries or 0) - 1)
    backoff_ms = outcome.backoff_ms
    if backoff_ms is None:
        backoff_ms = terms.backoff_ms if terms and retries else 0
    return replace(outcome, retries=retries, backoff_ms=backoff_ms)


def _log(ref: JobRef, outcome: Outcome, settlement: Settlement, work: Report) -> None:
    said = {
        "job": ref.key,
        "topic": ref.topic,
        "engine": ref.engine,
        "epoch": f"{work.lease.term}.{work.lease.counter}",
        "effect": settlement.effect.name.lower(),
    }
    if settlement.message:
        said["answer"] = settlement.message
    if isinstance(outcome, Failed):
        log.warning("failed", message=outcome.message, **said)
    elif settlement.effect is Effect.APPLIED:
        log.info("settled", **said)
    else:
        log.warning("settled otherwise", **said)
