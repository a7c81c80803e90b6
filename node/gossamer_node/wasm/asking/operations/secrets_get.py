"""`secrets.get`: a password or token that the node's configuration grants to this service."""

import logging
from collections.abc import Mapping
from typing import Any

from gossamer_node.service.secrets import SecretError
from gossamer_node.wasm.asking.operations.errors import Code, OperationError, text
from gossamer_node.wasm.run import Run

_log = logging.getLogger("gossamer.wasm")


def secrets_get(request: Mapping[str, Any], run: Run) -> Mapping[str, Any]:
    """`{"name"}` → `{"value"}`."""
    name = text(request, "name")
    if name is None:
        raise OperationError(Code.BAD_REQUEST, "secrets.get wants a name.")
    around = run.around
    source = around.grant.secrets.get(name)
    if source is None:
        raise OperationError(
            Code.DENIED,
            f"The secret {name} is not granted; name it in the service's capabilities and in the "
            "node's grant.",
        )
    try:
        value = source.read()
    except SecretError as error:
        # Where it is, is for the node's log; the worker's author may be a stranger.
        _log.error("the secret %s of %s cannot be had: %s", name, around.spec.name, error)
        raise OperationError(
            Code.HOST, f"The secret {name} cannot be had on this node; its log says why."
        ) from None
    around.secrets.add(name, value)
    return {"value": value}
