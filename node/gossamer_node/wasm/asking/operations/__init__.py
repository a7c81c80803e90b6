"""Host operations: what a worker may ask for by name, through `job1.call` (ABI.md §4).

Each is a function in a module of its own; `perform` finds it, gives it the parsed request and
writes its reply in the request's encoding. An operation refuses by raising `OperationError`: a
code for the program and a sentence for a person. It checks the grant, never what service.yaml
requested.
"""

import logging
from collections.abc import Mapping

from gossamer_node.wasm.asking.operations.config_get import config_get
from gossamer_node.wasm.asking.operations.errors import Code, OperationError
from gossamer_node.wasm.asking.operations.extend_lock import extend_lock
from gossamer_node.wasm.asking.operations.grpc_call import grpc_call
from gossamer_node.wasm.asking.operations.http_fetch import http_fetch
from gossamer_node.wasm.asking.operations.http_read import http_close, http_read
from gossamer_node.wasm.asking.operations.job_progress import job_progress
from gossamer_node.wasm.asking.operations.kv import kv_delete, kv_get, kv_list, kv_put
from gossamer_node.wasm.asking.operations.secrets_get import secrets_get
from gossamer_node.wasm.asking.operations.service_call import service_call
from gossamer_node.wasm.envelope import EnvelopeError, check_value, pack, unpack
from gossamer_node.wasm.run import Interrupted, Operation, Run

__all__ = ["OPERATIONS", "Code", "OperationError", "perform"]

OPERATIONS: Mapping[str, Operation] = {
    "config.get": config_get,
    "grpc.call": grpc_call,
    "http.close": http_close,
    "http.fetch": http_fetch,
    "http.read": http_read,
    "job.extend_lock": extend_lock,
    "job.progress": job_progress,
    "kv.delete": kv_delete,
    "kv.get": kv_get,
    "kv.list": kv_list,
    "kv.put": kv_put,
    "secrets.get": secrets_get,
    "service.call": service_call,
}

_log = logging.getLogger("gossamer.wasm")


def perform(name: str, request: bytes, run: Run) -> bytes:
    """Run an operation for a guest.

    Returns: its reply. Raises: OperationError, and Interrupted when the run is to end.
    """
    operation = run.around.operations.get(name)
    if operation is None:
        raise OperationError(Code.UNKNOWN, f"There is no operation {name}.")
    try:
        asked, encoding = unpack(request)
        check_value(asked, "it", 1)
    except EnvelopeError as error:
        raise OperationError(Code.BAD_REQUEST, f"The request of {name}: {error}.") from None
    try:
        return pack(operation(asked, run), encoding)
    except (OperationError, Interrupted):
        raise
    except Exception:
        _log.exception("operation %s failed on the host's side", name)
        raise OperationError(Code.HOST, f"The host failed in {name}; its log says why.") from None
