"""`kv.get`, `kv.put`, `kv.delete`, `kv.list`: what a service keeps from job to job on this node.

Values are whatever a request can hold, but null, which means absent everywhere in the ABI. They
are kept as msgpack, so a number, too, comes back as what it was in either encoding.
"""

import threading
from collections.abc import Mapping
from typing import Any

import msgpack

from gossamer_node.service.spec import KvQuota
from gossamer_node.wasm.asking.kv import Kv, QuotaError
from gossamer_node.wasm.asking.operations.errors import Code, OperationError, count, text
from gossamer_node.wasm.run import Run
from gossamer_node.wasm.store import StoreError

KEY_BYTES_MAX = 512
VALUE_BYTES_MAX = 256 * 2**10

LIST_MAX = 1_000
LIST_DEFAULT = 100

_VERSION_MAX = 2**63 - 1


def kv_get(request: Mapping[str, Any], run: Run) -> Mapping[str, Any]:
    """`{"key"}` → `{"value", "version"}`."""
    kv, _ = _granted(run)
    key = _key(request)
    try:
        entry = kv.get(run.around.spec.name, key)
    except StoreError as error:
        raise _unavailable(error) from None
    if entry is None:
        return {"value": None, "version": 0}
    return {"value": msgpack.unpackb(entry.value), "version": entry.version}


def kv_put(request: Mapping[str, Any], run: Run) -> Mapping[str, Any]:
    """`{"key", "value", "if_version"}` → `{"stored", "version"}`."""
    kv, quota = _granted(run)
    key = _key(request)
    value = request.get("value")
    if value is None:
        raise OperationError(
            Code.BAD_REQUEST, "kv.put wants a value other than null; kv.delete removes a key."
        )
    data = msgpack.packb(value)
    if len(data) > VALUE_BYTES_MAX:
        raise OperationError(
            Code.TOO_LARGE, f"A value takes {len(data)} bytes; it may take {VALUE_BYTES_MAX}."
        )
    stored, version = _write(run, kv, quota, key, data, request)
    return {"stored": stored, "version": version}


def kv_delete(request: Mapping[str, Any], run: Run) -> Mapping[str, Any]:
    """`{"key", "if_version"}` → `{"deleted", "version"}`."""
    kv, quota = _granted(run)
    deleted, version = _write(run, kv, quota, _key(request), None, request)
    return {"deleted": deleted, "version": version}


def kv_list(request: Mapping[str, Any], run: Run) -> Mapping[str, Any]:
    """`{"prefix", "after", "limit"}` → `{"keys", "more"}`."""
    kv, _ = _granted(run)
    prefix, after = _bytes(request, "prefix"), _bytes(request, "after")
    limit = count(request, "limit", LIST_MAX) or LIST_DEFAULT
    try:
        keys = kv.keys(run.around.spec.name, prefix, after, limit + 1)
    except StoreError as error:
        raise _unavailable(error) from None
    return {"keys": [key.decode() for key in keys[:limit]], "more": len(keys) > limit}


def _granted(run: Run) -> tuple[Kv, KvQuota]:
    kv, quota = run.around.kv, run.around.grant.kv
    if kv is None or quota is None:
        raise OperationError(
            Code.DENIED,
            "kv is not granted; request it in the service's capabilities and grant it in the "
            "node's configuration.",
        )
    return kv, quota


def _write(
    run: Run,
    kv: Kv,
    quota: KvQuota,
    key: bytes,
    value: bytes | None,
    request: Mapping[str, Any],
) -> tuple[bool, int]:
    if_version = request.get("if_version")
    if if_version is not None and (
        type(if_version) is not int or not 0 <= if_version <= _VERSION_MAX
    ):
        raise OperationError(Code.BAD_REQUEST, "if_version is not an integer from 0.")

    def wait(done: threading.Event) -> None:
        if not run.wait(done, run.remaining_s()):
            raise OperationError(Code.DEADLINE, "The disk took longer than the job has time.")

    try:
        return kv.write(
            run.around.spec.name, key, value, if_version=if_version, quota=quota, wait=wait
        )
    except QuotaError as error:
        raise OperationError(Code.TOO_LARGE, str(error)) from None
    except StoreError as error:
        raise _unavailable(error) from None


def _key(request: Mapping[str, Any]) -> bytes:
    key = _bytes(request, "key")
    if not key:
        raise OperationError(Code.BAD_REQUEST, "key is missing or empty.")
    return key


def _bytes(request: Mapping[str, Any], name: str) -> bytes:
    data = (text(request, name) or "").encode()
    if len(data) > KEY_BYTES_MAX:
        raise OperationError(
            Code.BAD_REQUEST, f"{name} has {len(data)} bytes; a key has at most {KEY_BYTES_MAX}."
        )
    return data


def _unavailable(error: StoreError) -> OperationError:
    return OperationError(Code.UNAVAILABLE, f"What the service keeps {error}.")
