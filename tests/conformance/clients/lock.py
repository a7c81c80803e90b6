"""Makes the locks anew after versions were changed, by hand.

`python -m tests.conformance.clients.lock` wants npm for `package-lock.json` and uv for
`requirements.txt`, which it takes from the PATH. No lock says where a file is had from.
"""

import sys

import trio
from tests.conformance.clients.install import HERE

from gossamer_node.errors import NodeError
from gossamer_node.local_engines import relock

OWN = "tests.conformance.clients.lock"


async def main() -> None:
    """Writes the four locks."""
    for kind in ("java7", "java8"):
        folder = HERE / kind
        await relock.lock(folder / "pom.xml", folder / "client.lock", OWN)
    npm = "npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved"
    await trio.run_process(npm.split(), cwd=HERE / "js")
    uv = "uv pip compile requirements.in -o requirements.txt --universal --python-version 3.11"
    quiet = "--generate-hashes --no-header --no-annotate --no-emit-index-url --quiet"
    await trio.run_process([*uv.split(), *quiet.split()], cwd=HERE / "python")


if __name__ == "__main__":
    try:
        trio.run(main)
    except NodeError as error:
        sys.exit(f"lock: {error}")
