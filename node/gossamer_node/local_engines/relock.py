"""Makes the lock files anew: `python -m gossamer_node.local_engines.relock`.

For developers, after a version was changed in `camunda7/pom.xml` or below. Maven resolves the
dependencies once, here; what it found is written down with its hashes, and the difference is for
a person to review like any other change.
"""

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import trio

from gossamer_node.errors import NodeError
from gossamer_node.local_engines import maven
from gossamer_node.local_engines.lock import Coordinate, Locked, sha256_of

HERE = Path(__file__).resolve().parent

OWN = "gossamer_node.local_engines.relock"

ZEEBE = Coordinate("io.camunda", "camunda-zeebe", "8.6.0", "tar.gz")

_LISTED = re.compile(
    r"\s+([\w.-]+):([\w.-]+):([\w.-]+):(?:([\w.-]+):)?([\w.-]+):(?:compile|runtime)\b"
)
"""A line of dependency:list: group:name:type[:classifier]:version:scope."""


async def resolve(pom: Path) -> list[Coordinate]:
    """What a classpath made from the POM holds, in Maven's order."""
    with tempfile.TemporaryDirectory() as directory:
        listing = Path(directory) / "list.txt"
        await maven.run(
            "the list of jars",
            [
                *("-f", str(pom), f"{maven.DEPENDENCY_PLUGIN}:list"),
                *("-DincludeScope=runtime", f"-DoutputFile={listing}"),
            ],
            lambda line: None,
        )
        found = [_LISTED.match(line) for line in listing.read_text(encoding="utf-8").splitlines()]
    return [
        Coordinate(group, name, version, type_, classifier or "")
        for group, name, type_, classifier, version in (match.groups() for match in found if match)
    ]


async def lock_text(coordinates: Sequence[Coordinate], made_by: str) -> str:
    """Downloads the files and writes down what they are.

    Args:
        made_by: the module that makes the lock.
    """
    lines = [f"# Made by `python -m {made_by}`: SHA-256, bytes, artifact."]
    with tempfile.TemporaryDirectory() as directory:
        await maven.copy("the engine", coordinates, Path(directory), lambda fraction: None)
        for coordinate in coordinates:
            file = Path(directory) / coordinate.file_name
            lines.append(str(Locked(sha256_of(file), file.stat().st_size, coordinate)))
    return "\n".join(lines) + "\n"


async def lock(pom: Path, path: Path, made_by: str) -> None:
    """Writes the lock of a POM's classpath, after everything was downloaded."""
    text = await lock_text(await resolve(pom), made_by)
    await trio.Path(path).write_text(text, encoding="utf-8")


async def main() -> None:
    """Writes both files, after everything was downloaded."""
    texts = {
        "camunda7.lock": await lock_text(await resolve(HERE / "camunda7" / "pom.xml"), OWN),
        "zeebe.lock": await lock_text([ZEEBE], OWN),
    }
    for name, text in texts.items():
        await trio.Path(HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        trio.run(main)
    except NodeError as error:
        sys.exit(f"relock: {error}")
