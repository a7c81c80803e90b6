"""Makes `kafka.lock` anew: `python -m gossamer_gateway.runs.stack.relock`.

For developers, after the version was changed in `kafka-pom.xml` and `broker.py`; the difference is
for a person to review like any other change.
"""

import sys

import trio

from gossamer_gateway.runs.stack.broker import LOCK, POM
from gossamer_node.errors import NodeError
from gossamer_node.local_engines import relock


async def main() -> None:
    """Writes the lock, after everything was downloaded."""
    await relock.lock(POM, LOCK, "gossamer_gateway.runs.stack.relock")


if __name__ == "__main__":
    try:
        trio.run(main)
    except NodeError as error:
        sys.exit(f"relock: {error}")
