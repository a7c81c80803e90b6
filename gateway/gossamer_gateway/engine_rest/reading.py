"""Requests as they came in: their JSON, or their bytes for an engine of the same dialect.

What goes on is the path behind this dialect's root, the query, the body and what the client says of
its body's form. Its credentials stay here, for the engine has the gateway's own; so do all headers
that are a matter between two ends. A path that climbs (`..`, however it is written) would leave the
dialect under the gateway's credentials, and is nowhere; so is one with a parameter (`;`).
"""

from urllib.parse import unquote

from quart import request
from werkzeug.exceptions import NotFound

from gossamer_gateway.reading7 import read_content
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_node.engines.exchange import Answer

ROOT = "/engine-rest"
NAMED_ROOT = f"{ROOT}/engine/default"

PASSED_HEADERS = ("accept", "content-type")


def path() -> str:
    """The path behind this dialect's root, encoded as it came. Raises: 404 for one that climbs."""
    raw = request.scope.get("raw_path")
    text = (raw or request.path.encode()).decode("latin-1")
    for root in (NAMED_ROOT, ROOT):
        if text == root or text.startswith(f"{root}/"):
            text = text.removeprefix(root)
            break
    if ";" in text:
        # Engines read no further in a segment, so they would take it for another than we did.
        raise NotFound
    for segment in text.split("/"):
        plain = unquote(unquote(segment)).replace("\\", "/")
        if any(part.partition(";")[0] in (".", "..") for part in plain.split("/")):
            raise NotFound
    return text


def target() -> str:
    """`path` with its query."""
    query = request.query_string.decode("latin-1")
    return f"{path()}?{query}" if query else path()


async def forward(engine: Upstream) -> Answer:
    """The request as it is, to an engine of Camunda 7's dialect. Raises: EngineError."""
    headers = {name: request.headers[name] for name in PASSED_HEADERS if name in request.headers}
    data = await read_content()
    return await engine.forward(request.method, target(), content=data or None, headers=headers)
