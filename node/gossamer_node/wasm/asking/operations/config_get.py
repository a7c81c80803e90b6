"""`config.get`: values that differ from node to node, by granted name."""

from collections.abc import Mapping
from typing import Any

from gossamer_node.wasm.asking.operations.errors import Code, OperationError, text
from gossamer_node.wasm.run import Run


def config_get(request: Mapping[str, Any], run: Run) -> Mapping[str, Any]:
    """`{"name"}` → `{"value"}`."""
    name = text(request, "name")
    if name is None:
        raise OperationError(Code.BAD_REQUEST, "config.get wants a name.")
    value = run.around.grant.config.get(name)
    if value is None:
        raise OperationError(
            Code.DENIED,
            f"The configuration {name} is not granted; name it in the service's capabilities "
            "and in the node's grant.",
        )
    return {"value": value}
