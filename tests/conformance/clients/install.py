"""Puts the clients that nobody here wrote onto this machine, on first use.

Each kind comes by the ordinary program of its world, from whatever source that is set up for, and
by a lock with hashes: Maven's jars as the product's own engines come (`client.lock`), npm's
packages by `npm ci` (`package-lock.json`), Python's by pip (`requirements.txt`). They are kept in
the cache where the engines are. A folder under its final name is complete: it is made beside its
place and renamed. Python's packages lie in a folder of their own, because pyzeebe wants an older
protobuf than the node; the programs run without this environment's packages (`-S`).
"""

import hashlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import trio

from gossamer_node.errors import LocalEngineError, LocalEngineMissing
from gossamer_node.local_engines import processes
from gossamer_node.local_engines.cache import Kit, alone, cache_directory, provide
from gossamer_node.local_engines.lock import read_lock
from gossamer_node.local_engines.progress import Progress

HERE = Path(__file__).resolve().parent

_JVM = (
    *("-Xms32m", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"),
    *("-Dfile.encoding=UTF-8", "--enable-native-access=ALL-UNNAMED"),
    "--sun-misc-unsafe-memory-access=allow",
)

_JAVA_TITLES = {"java7": "Camunda 7's Java client 7.24.0", "java8": "Camunda 8's Java client 8.6.0"}

_MAIN = "HotelWorkers"

_SAID_CHARACTERS_MAX = 2_000


async def java_command(kind: str, progress: Progress) -> list[str]:
    """What starts the program in `java7` or `java8`; compiles it where that wasn't done yet.

    Raises:
        LocalEngineMissing: The jars can't be had on this machine.
        LocalEngineError: They were refused by their lock, or the program doesn't compile.
    """
    java = str(processes.java())
    lock = read_lock(HERE / kind / "client.lock")
    home = await provide(Kit(f"client-{kind}", _JAVA_TITLES[kind], lock), progress)
    # In Maven's order, and not `*`, whose order is the file system's.
    jars = [str(home / artifact.coordinate.file_name) for artifact in lock.artifacts]
    source = HERE / kind / f"{_MAIN}.java"
    classpath = ":".join(jars)

    async def compile_into(partial: Path) -> None:
        compiler = [
            *(java, *_JVM, "-cp", classpath),
            "org.eclipse.jdt.internal.compiler.batch.Main",
        ]
        flags = ("-17", "-warn:none", "-d", str(partial))
        said = await _said([*compiler, *flags, str(source)])
        if said is not None:
            raise LocalEngineError(f"{source} doesn't compile: {said}")

    key = _digest(source.read_bytes(), lock.digest.encode())
    name = f"client-{kind}-classes-{key}"
    classes = await _make_once(name, "a program in Java", compile_into, progress)
    return [java, *_JVM, "-classpath", f"{classes}:{classpath}", _MAIN]


async def node_modules(progress: Progress) -> Path:
    """The folder with npm's packages.

    Raises:
        LocalEngineMissing: They can't be had on this machine.
    """
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            raise LocalEngineMissing(f"the command {command} is missing; install Node.js and npm.")
    files = [HERE / "js" / name for name in ("package.json", "package-lock.json")]

    async def install_into(partial: Path) -> None:
        for file in files:
            shutil.copy(file, partial)
        flags = ("--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund")
        said = await _said(["npm", "ci", *flags], cwd=partial)
        if said is not None:
            raise LocalEngineMissing(f"npm could not install its clients: {said}")

    key = _digest(*(file.read_bytes() for file in files))
    name = f"client-js-{key}"
    return await _make_once(name, "npm's clients", install_into, progress) / "node_modules"


async def python_packages(progress: Progress) -> Path:
    """The folder with PyPI's packages, for a `python -S`.

    Raises:
        LocalEngineMissing: They can't be had on this machine.
    """
    lock = HERE / "python" / "requirements.txt"

    async def install_into(partial: Path) -> None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        flags = ("--require-hashes", "--only-binary", ":all:", "--target", str(partial))
        said = await _said([*pip, *flags, "-r", str(lock)])
        if said is not None:
            raise LocalEngineMissing(f"pip could not install its clients: {said}")

    made_for = f"{sys.implementation.cache_tag}-{platform.machine()}"
    name = f"client-python-{_digest(lock.read_bytes())}-{made_for}"
    return await _make_once(name, "PyPI's clients", install_into, progress)


async def _make_once(
    name: str, title: str, make: Callable[[Path], Awaitable[None]], progress: Progress
) -> Path:
    """The folder of that name in the cache; `make` fills it where it isn't there."""
    home = cache_directory()
    place = home / name
    if place.is_dir():
        return place
    home.mkdir(parents=True, exist_ok=True)
    async with alone(home / f"{name}.flock", title, progress):
        if not place.is_dir():
            progress(f"installing {title}", 0.0)
            partial = place.with_name(f"{name}.partial")
            shutil.rmtree(partial, ignore_errors=True)  # left behind by a process that was killed
            partial.mkdir()
            try:
                await make(partial)
                partial.rename(place)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            progress(f"installing {title}", 1.0)
    return place


async def _said(command: Sequence[str], cwd: Path | None = None) -> str | None:
    """Runs it; the end of what it wrote where it failed, None where it did not."""
    done = await trio.run_process(
        command,
        stdin=subprocess.DEVNULL,
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        check=False,
        cwd=cwd,
    )
    return done.stdout.decode(errors="replace")[-_SAID_CHARACTERS_MAX:] if done.returncode else None


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:12]
