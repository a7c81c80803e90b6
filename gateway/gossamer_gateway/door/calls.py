"""The door in front of gRPC: the same people, roles and limits, said as gRPC says it.

    async with admit_call(gate, asked.metadata, asked.certificate, asked.path) as principal:

Limits by address do not hold here, as a handler does not know it; metadata brings credentials as
headers do (`authorization`, `x-api-key`).
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from gossamer_gateway.door.asking import admitted
from gossamer_gateway.door.forms import Denied
from gossamer_gateway.door.gate import Gate, check, owes_a_question
from gossamer_gateway.door.principals import Principal
from gossamer_gateway.door.rules import GRPC, UNKNOWN
from gossamer_node import logs
from gossamer_node.grpc.status import Code, RpcError

mistakes = logs.get("door")

CODES = {
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    429: Code.RESOURCE_EXHAUSTED,
}


@asynccontextmanager
async def admit_call(
    gate: Gate, metadata: Mapping[bytes, bytes], certificate: bytes | None, method: str
) -> AsyncIterator[Principal]:
    """Lets a call in for the length of a block: who it is, with what he may.

    Args:
        method: `/package.Service/Method`.

    Raises: RpcError; what the block raises.
    """
    need = GRPC.get(method, UNKNOWN)
    try:
        principal = await gate.whose(metadata.items(), certificate)
        if not need.waits:
            check(gate.take_by_principal("POST", method, principal))
        principal = gate.allow(principal, need, method)
        place = gate.place(principal, need)
        place.__enter__()
    except Denied as error:
        gate.refused[error.status] += 1
        raise RpcError(CODES[error.status], error.said) from None
    try:
        with admitted(principal, need):
            yield principal
        if owes_a_question(principal, need):
            mistakes.error("a handler did not ask about processes", path=method)
            raise RpcError(CODES[403], "This is not for who is limited to some processes")
    finally:
        place.__exit__(None, None, None)
