"""What goes over Kafka, in bytes: events and jobs out, dead letters. Pure.

`docs/reference/workflow-topics.md` shows all of it. Readers pass over fields and headers that they
don't know; `form` changes when an old reader would be wrong.
"""

import msgspec

from gossamer_gateway.runs.kafka.bus import Headers, Message, Received
from gossamer_gateway.runs.kafka.topics import EVENTS, JOBS
from gossamer_gateway.runs.model import events as e
from gossamer_gateway.runs.model.events import Event
from gossamer_gateway.runs.store import Job

FORM = 1
"""Of jobs and results."""

REASON_CHARACTERS_MAX = 1_000

_ENCODER = msgspec.json.Encoder()


def event_message(event: Event, data: bytes | None = None) -> Message:
    """An event for `workflow-events`. `data`: its JSON, where that is known."""
    kind = str(event.__struct_config__.tag)
    headers = (("form", b"%d" % e.FORM), ("kind", kind.encode()), ("seq", b"%d" % event.seq))
    return Message(EVENTS, event.run.encode(), data or e.encode(event), headers, event.at_ms)


def job_message(job: Job) -> Message:
    """A job for `workflow-jobs`."""
    value = {
        "form": FORM,
        "run": job.run,
        "workflow": job.workflow,
        "step": job.step,
        "attempt": job.attempt,
        "action": job.queue,
        "payload": job.payload,
        "dueMs": job.due_ms,
        "key": job.key,
    }
    headers: Headers = (
        ("form", b"%d" % FORM),
        ("action", job.queue.encode()),
        ("run", job.run.encode()),
        ("step", job.step.encode()),
        ("attempt", b"%d" % job.attempt),
        ("idempotency-key", job.key.encode()),
    )
    return Message(JOBS, job.run.encode(), _ENCODER.encode(value), headers)


def dead_letter(topic: str, of: Received, reason: str) -> Message:
    """A message as it came, with why nothing could be made of it and where it was."""
    headers: Headers = (
        ("reason", reason[:REASON_CHARACTERS_MAX].encode(errors="replace")),
        ("topic", of.topic.encode()),
        ("partition", b"%d" % of.partition),
        ("offset", b"%d" % of.offset),
    )
    kept = tuple(one for one in of.headers if one[0] not in dict(headers))
    return Message(topic, of.key, of.value, headers + kept, max(of.at_ms, 0))
