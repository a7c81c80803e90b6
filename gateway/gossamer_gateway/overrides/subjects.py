"""Which process a request is about, as far as the request itself says so. Pure.

Known are starts, and all that Camunda 7 does with a definition by its key. What is about an
instance or a job is not: to find its process costs a question, and rules are asked before anything
else is.
"""

import json
import re

SEEN_BYTES_MAX = 2**20
"""Of a body that is looked into; the id of a longer one is not known."""

_BY_KEY = re.compile(r"/engine-rest(?:/engine/[^/]+)?/process-definition/key/([^/]+)(?:/.*)?")
_START = "/v2/process-instances"


def process_of(method: str, path: str, body: bytes) -> str | None:
    """The id of the process; None where the request does not say it.

    Args:
        path: percent signs decoded.
    """
    by_key = _BY_KEY.fullmatch(path)
    if by_key is not None:
        return by_key[1]
    if method == "POST" and path == _START and len(body) <= SEEN_BYTES_MAX:
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            return None
        if isinstance(said, dict):
            # 8.6 has the first, 8.5 and older the second.
            for name in ("processDefinitionId", "bpmnProcessId"):
                if isinstance(said.get(name), str):
                    return str(said[name])
    return None
