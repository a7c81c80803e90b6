"""Jobs, outcomes and what is said of leases as bytes, for the way between claimer and holder.

msgpack of plain lists: the order is the dataclass's. A grant carries two parts: the *receipt*, with
which any claimer can settle the job, and the *payload*, which only the worker needs and which the
claimer forgets once an outcome has come. Types of variables stand in the receipt alone: an outcome
is settled by them. Reading is total: bytes of another form give None.
Writing refuses what the mesh cannot carry, with a clause for the person who reads the incident.
"""

from collections.abc import Mapping

import msgpack

from gossamer_mesh.leases import messages
from gossamer_mesh.leases.messages import NAME_LENGTH_MAX
from gossamer_node.jobs import BpmnError, Completed, Failed, Job, JobRef, Outcome
from gossamer_node.variables import Variables

JOB_BYTES_MAX = 4 * 2**20 - 2**16
"""A receipt and a payload together: a message between nodes has 4 MiB, lease and names included."""

RECEIPT_BYTES_MAX = 2**20
"""Of it, the receipt, since that travels again beside an outcome of up to 2 MiB."""


class Uncarried(Exception):
    """The mesh cannot carry this; the message says why: "has 5,000,000 bytes, at most …"."""


def pack_message(message: "messages.Message") -> bytes:
    """What a claimer, holder or standby says, whole."""
    data: bytes = msgpack.packb(message.to_plain())
    return data


def unpack_message(data: bytes) -> "messages.Message | None":
    """The message that `pack_message` made; None for anything else."""
    try:
        return messages.from_plain(msgpack.unpackb(data))
    except (ValueError, msgpack.UnpackException):
        return None


def pack_job(job: Job) -> tuple[bytes, bytes]:
    """A job's receipt and payload.

    Raises: Uncarried, when they are too large together or hold what msgpack cannot.
    """
    if max(len(job.ref.key), len(job.ref.topic)) > NAME_LENGTH_MAX:
        raise Uncarried(f"has a key or topic of more than {NAME_LENGTH_MAX} characters")
    receipt, payload = pack_receipt(job.ref), pack_payload(job)
    if len(receipt) > RECEIPT_BYTES_MAX:
        raise Uncarried(
            f"has {len(receipt):,} bytes of names and types of variables; a node takes at most "
            f"{RECEIPT_BYTES_MAX:,}: name those that the worker needs as `variables` of the topic "
            "in service.yaml"
        )
    size_bytes = len(receipt) + len(payload)
    if size_bytes > JOB_BYTES_MAX:
        raise Uncarried(
            f"has {size_bytes:,} bytes of variables; a node takes at most {JOB_BYTES_MAX:,}: name "
            "those that the worker needs as `variables` of the topic in service.yaml"
        )
    return receipt, payload


def pack_receipt(ref: JobRef) -> bytes:
    """A job's receipt."""
    named = [ref.engine, ref.key, ref.topic, ref.worker_id]
    return pack_plain([*named, ref.retries, dict(ref.types), ref.trace])


def unpack_receipt(data: bytes) -> JobRef | None:
    """The receipt that `pack_receipt` made; None for anything else."""
    match _unpack(data):
        case [
            str(engine),
            str(key),
            str(topic),
            str(worker_id),
            int() | None as retries,
            dict() as types,
            str() | None as trace,
            *_,
        ] if are_types(types):
            return JobRef(engine, key, topic, worker_id, retries, types, trace)
    return None


def pack_payload(job: Job) -> bytes:
    """What the worker needs of a job beyond its receipt, which has its variables' types."""
    return pack_plain(
        [
            dict(job.variables.values),
            job.process_id,
            job.process_instance_key,
            job.element_id,
            job.business_key,
            job.tenant,
            dict(job.headers),
            job.priority,
        ]
    )


def unpack_job(receipt: bytes, payload: bytes, lock_ms: int) -> Job | None:
    """The job of a grant; None when either part is of another form."""
    ref = unpack_receipt(receipt)
    match _unpack(payload):
        case [
            dict() as values,
            str(process_id),
            str(instance),
            str(element),
            str() | None as business_key,
            str() | None as tenant,
            dict() as headers,
            int(priority),
            *_,
        ] if ref is not None:
            return Job(
                ref=ref,
                variables=Variables(values, ref.types),
                lock_ms=lock_ms,
                process_id=process_id,
                process_instance_key=instance,
                element_id=element,
                business_key=business_key,
                tenant=tenant,
                headers=headers,
                priority=priority,
            )
    return None


def pack_outcome(outcome: Outcome) -> bytes:
    """An outcome, whichever of the three.

    Raises: Uncarried, when it holds what msgpack cannot.
    """
    match outcome:
        case Completed(variables):
            return pack_plain(["completed", *_variables(variables)])
        case BpmnError(code, message, variables):
            return pack_plain(["bpmn_error", *_variables(variables), code, message])
        case Failed(message, retries, backoff_ms, details):
            return pack_plain(["failed", message, retries, backoff_ms, details])


def pack_finished(outcome: Outcome, bytes_max: int) -> bytes:
    """An outcome; of one that the mesh cannot carry, a failure that says so."""
    try:
        packed = pack_outcome(outcome)
        if len(packed) > bytes_max:
            raise Uncarried(f"has {len(packed):,} bytes; the mesh carries at most {bytes_max:,}")
    except Uncarried as error:
        return pack_outcome(Failed(f"the outcome {error}"))
    return packed


def unpack_outcome(data: bytes) -> Outcome | None:
    """The outcome that `pack_outcome` made; None for anything else."""
    match _unpack(data):
        case ["completed", dict() as values, dict() as types, *_] if are_types(types):
            return Completed(Variables(values, types))
        case [
            "bpmn_error",
            dict() as values,
            dict() as types,
            str(code),
            str(message),
            *_,
        ] if are_types(types):
            return BpmnError(code, message, Variables(values, types))
        case [
            "failed",
            str(message),
            int() | None as retries,
            int() | None as backoff_ms,
            str(details),
            *_,
        ]:
            return Failed(message, retries, backoff_ms, details)
    return None


def are_types(types: Mapping[object, object]) -> bool:
    """Whether these may be `Variables.types`. What cannot be a value, engines' adapters refuse."""
    return all(
        isinstance(tag, str) or (isinstance(tag, dict) and isinstance(tag.get("type"), str))
        for tag in types.values()
    )


def _variables(variables: Variables) -> tuple[dict[str, object], dict[str, object]]:
    return dict(variables.values), dict(variables.types)


def pack_plain(value: list[object]) -> bytes:
    """The bytes of a list. Raises: Uncarried, when it holds what msgpack cannot."""
    try:
        packed: bytes = msgpack.packb(value, default=_plain)
    except (ValueError, TypeError, OverflowError) as error:
        # Integers past 64 bits, text that is no Unicode, nesting past 512 levels.
        raise Uncarried(f"holds a value that cannot be carried ({error})") from None
    return packed


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, int):
        raise TypeError("an integer past 64 bits")
    raise TypeError(f"a job cannot carry a {type(value).__name__}")


def _unpack(data: bytes) -> object:
    try:
        return msgpack.unpackb(data)
    except (ValueError, msgpack.UnpackException):
        return None
