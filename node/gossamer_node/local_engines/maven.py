"""Asks the `mvn` on PATH for exactly the files that a lock names.

The dependency plugin's `copy` goal takes each file by its coordinate, without its dependencies, so
no version is chosen here. Repositories, mirrors and proxies are those of the user's own Maven
settings. Where a file came from doesn't matter: `cache.py` compares its hash.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import trio

from gossamer_node.errors import LocalEngineMissing
from gossamer_node.local_engines import guard
from gossamer_node.local_engines.lock import Coordinate

DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"

DOWNLOAD_DEADLINE_S = 3600
"""For all files of one engine: 300 MB at a slow 100 kB/s."""

_LOG_LINES_MAX = 40
_LINE_BYTES_MAX = 65_536
_REASON_CHARACTERS_MAX = 400

_ITEM_BEGINS = "Configured Artifact:"
_TRANSFERRED = re.compile(r"Progress \(1\): .*?([0-9.]+)/([1-9][0-9.]*) MB")
"""What Maven writes while it downloads: `Progress (1): 120/299 MB`. What it gives in kB is a POM,
or too small to be worth a step."""


async def copy(
    title: str,
    coordinates: Sequence[Coordinate],
    directory: Path,
    on_fraction: Callable[[float], None],
) -> None:
    """Copies the files, under `Coordinate.file_name`, into a directory that exists.

    Args:
        title: What they make, for messages: `Zeebe 8.6.0`.
        coordinates: The files.
        directory: Where they go.
        on_fraction: Told how much is there, from 0 to 1.

    Raises:
        LocalEngineMissing: No `mvn`, or it could not get a file. Some files may have been copied.
    """
    pom = directory / "pom.xml"
    pom.write_text(_pom(coordinates), encoding="utf-8")
    begun = 0  # at first Maven may have to download its plugin, which isn't counted

    def watch(line: str) -> None:
        nonlocal begun
        if _ITEM_BEGINS in line:
            begun += 1
            on_fraction((begun - 1) / len(coordinates))
        elif begun and (match := _TRANSFERRED.search(line)):
            part = min(float(match[1]) / float(match[2]), 1.0)
            on_fraction((begun - 1 + part) / len(coordinates))

    goal = f"{DEPENDENCY_PLUGIN}:copy"
    await run(title, ["-f", str(pom), goal, f"-DoutputDirectory={directory}"], watch)
    pom.unlink()
    on_fraction(1.0)


async def run(title: str, arguments: Sequence[str], on_line: Callable[[str], None]) -> None:
    """Runs `mvn` for what messages call `title`, giving each line of its output to `on_line`.

    Raises:
        LocalEngineMissing: It isn't there, it failed, or its deadline passed.
    """
    mvn = shutil.which("mvn")
    if mvn is None:
        raise LocalEngineMissing(
            f"{title} has to be downloaded, and the command mvn is missing; "
            "install Maven (Debian: apt-get install maven) and try again."
        )
    # Not in batch mode (-B): Maven would then leave out its progress lines. Under the guard it ends
    # with us, however we do, and goes on another time with what it has.
    process = await trio.lowlevel.open_process(
        [sys.executable, "-I", "-S", guard.__file__, tempfile.mkdtemp(prefix="gossamer-maven-"),
         mvn, "-Dstyle.color=never", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    log: deque[str] = deque(maxlen=_LOG_LINES_MAX)
    try:
        with trio.move_on_after(DOWNLOAD_DEADLINE_S) as deadline:
            assert process.stdout is not None
            pending = b""
            async for chunk in process.stdout:
                *lines, pending = re.split(rb"[\r\n]", pending + chunk)
                pending = pending[-_LINE_BYTES_MAX:]
                for line in filter(None, lines):
                    text = line.decode(errors="replace")
                    log.append(text)
                    on_line(text)
            await process.wait()
    finally:
        with trio.CancelScope(shield=True):
            assert process.stdin is not None
            await process.stdin.aclose()  # the guard does the rest
            await process.wait()
    if deadline.cancelled_caught or process.returncode != 0:
        late = f"not within {DOWNLOAD_DEADLINE_S} s" if deadline.cancelled_caught else ""
        raise LocalEngineMissing(
            f"{title} could not be downloaded by Maven ({late or _reason(log)}); "
            "check the network and Maven's settings.xml, then try again."
        )


def _reason(log: Sequence[str]) -> str:
    for line in log:
        if line.startswith("[ERROR]"):
            text = line.removeprefix("[ERROR]").partition(" -> [Help")[0].strip()
            # The words before it only repeat which goal of which plugin was asked for.
            return text[max(text.rfind("Could not "), 0) :][:_REASON_CHARACTERS_MAX]
    return "it said nothing of use"


def _pom(coordinates: Sequence[Coordinate]) -> str:
    items = "".join(
        f"<artifactItem><groupId>{escape(each.group)}</groupId>"
        f"<artifactId>{escape(each.name)}</artifactId><version>{escape(each.version)}</version>"
        f"<type>{escape(each.type)}</type><classifier>{escape(each.classifier)}</classifier>"
        "</artifactItem>\n"
        for each in coordinates
    )
    group, name, version = DEPENDENCY_PLUGIN.split(":")
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>\n'
        "<groupId>gossamer</groupId><artifactId>engine</artifactId><version>1</version>\n"
        "<packaging>pom</packaging><build><plugins><plugin>\n"
        f"<groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version>\n"
        f"<configuration><artifactItems>\n{items}</artifactItems></configuration>\n"
        "</plugin></plugins></build></project>\n"
    )
