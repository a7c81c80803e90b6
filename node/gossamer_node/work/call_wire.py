"""Calls as bytes, for the way between the member that calls and the one that has the service.

As `wire`: msgpack of plain lists, read totally; what is beyond the known fields is ignored.
"""

from dataclasses import dataclass

import msgpack

from gossamer_mesh.leases.messages import NAME_LENGTH_MAX
from gossamer_node.jobs import Job, JobRef
from gossamer_node.registry.ranges import RANGE_CHARS_MAX
from gossamer_node.variables import Variables
from gossamer_node.work.wire import Uncarried, are_types, pack_plain

DEPTH_MAX = 8
"""Services that call each other in a row, the first of which works an engine's job: deep enough for
any division of work that a person follows, and the end of those that call each other for ever."""

CALL_BYTES_MAX = 2**20
"""Of a call's variables and what goes with them; of an outcome as much. A process that moves more
has it somewhere else."""

KEY_CHARS_MAX = 600
"""Of a chain's key: a tenant and a key of a job."""


@dataclass(frozen=True, slots=True)
class Link:
    """A service that waits for a call, in a chain of them.

    Attributes:
        key: whose turn it has, where the service has one (`wasm.keys`); None otherwise.
    """

    service: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class CallTerms:
    """What the holder of a call gets.

    Attributes:
        job: what the called service works; its topic is the service's name.
        version: a range.
        chain: who waits, the one that works an engine's job first.
    """

    job: Job
    version: str
    chain: tuple[Link, ...]


def pack_call(terms: CallTerms) -> bytes:
    """A call's bytes.

    Raises: Uncarried, when they are too many or hold what msgpack cannot.
    """
    job = terms.job
    if len(job.ref.key) > NAME_LENGTH_MAX:
        raise Uncarried(f"has a key of more than {NAME_LENGTH_MAX} characters")
    packed = pack_plain(
        [
            terms.version,
            [[one.service, one.key] for one in terms.chain],
            job.ref.engine,
            job.ref.key,
            dict(job.variables.values),
            dict(job.variables.types),
            job.process_id,
            job.process_instance_key,
            job.element_id,
            job.business_key,
            job.tenant,
        ]
    )
    if len(packed) > CALL_BYTES_MAX:
        raise Uncarried(f"has {len(packed):,} bytes; a call has at most {CALL_BYTES_MAX:,}")
    return packed


def unpack_call(service: str, data: bytes, remaining_ms: int) -> CallTerms | None:
    """The call that `pack_call` made; None for anything else."""
    try:
        plain = msgpack.unpackb(data)
    except (ValueError, msgpack.UnpackException):
        return None
    match plain:
        case [
            str(version),
            list(links),
            str(engine),
            str(key),
            dict() as values,
            dict() as types,
            str(process_id),
            str(instance),
            str(element),
            str() | None as business_key,
            str() | None as tenant,
            *_,
        ] if are_types(types) and len(version) <= RANGE_CHARS_MAX and 0 < len(links) < DEPTH_MAX:
            chain = [_link(one) for one in links]
            if None in chain:
                return None
            job = Job(
                JobRef(engine, key, service, "", types=types),
                Variables(values, types),
                lock_ms=remaining_ms,
                process_id=process_id,
                process_instance_key=instance,
                element_id=element,
                business_key=business_key,
                tenant=tenant,
            )
            return CallTerms(job, version, tuple(one for one in chain if one is not None))
    return None


def _link(value: object) -> Link | None:
    match value:
        case [str(service), str() | None as key, *_] if len(key or "") <= KEY_CHARS_MAX:
            return Link(service, key)
    return None
