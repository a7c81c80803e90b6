"""Virtual environments for the clouds' runtimes, made at first use and kept in the user's cache.

They are not the gateway's own: each brings what it likes (Google's a web server, for one), and a
gateway needs none of it. One under its name is complete: it is made beside it, by one process at a
time, and its last file says what is in it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import trio

from gossamer_node.errors import LocalEngineError, LocalEngineMissing
from gossamer_node.local_engines.cache import alone, cache_directory
from gossamer_node.local_engines.progress import Progress

COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Runtime:
    """What one cloud runs functions with.

    Attributes:
        python_min: the oldest Python that it works on.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    python_min: tuple[int, int] = (3, 11)


AWS = Runtime("aws", "AWS's awslambdaric 4.2.2", ("awslambdaric==4.2.2",))
GOOGLE = Runtime("google", "Google's functions-framework 3.10.2", ("functions-framework==3.10.2",))
AZURE = Runtime(
    "azure",
    "Microsoft's azure-functions-runtime 1.3.0",
    ("azure-functions-runtime==1.3.0",),
    python_min=(3, 13),
)


async def provide(runtime: Runtime, progress: Progress) -> Path:
    """The Python of a complete environment; made where there is none.

    Raises:
        LocalEngineMissing: there is no Python for it, or its packages cannot be had.
        LocalEngineError: the cache cannot be written.
    """
    python = await trio.to_thread.run_sync(find_python, runtime.python_min)
    home = cache_directory().parent / "functions"
    digest = sha256(f"{python} {runtime.packages}".encode()).hexdigest()[:12]
    place = home / f"{runtime.name}-{digest}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        async with alone(home / f"{runtime.name}.flock", runtime.title, progress):
            if not (place / COMPLETE).exists():
                progress(f"installing {runtime.title}", None)
                await trio.to_thread.run_sync(_make, runtime, python, place)
    except OSError as error:
        raise LocalEngineError(
            f"{runtime.title} can't be kept in {home} ({error.strerror or error}); make room "
            "there, or point XDG_CACHE_HOME to another directory."
        ) from error
    return place / "bin" / "python"


def find_python(least: tuple[int, int]) -> Path:
    """A Python that is at least this one: ours, one on the path, or one of pyenv's.

    Raises: LocalEngineMissing.
    """
    for path in _candidates(least):
        if _version(path) >= least:
            return path
    wanted = ".".join(map(str, least))
    raise LocalEngineMissing(f"no Python {wanted} or newer is on the path; install one.")


def _candidates(least: tuple[int, int]) -> Iterator[Path]:
    if sys.version_info[:2] >= least:
        yield Path(sys.executable)
        return
    for minor in range(least[1], least[1] + 5):
        found = shutil.which(f"python3.{minor}")
        if found:
            yield Path(found)
    # pyenv's shims refuse the versions that are not chosen; what it keeps is where it says.
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(root.glob("versions/3.*/bin/python3"), reverse=True)


def _version(python: Path) -> tuple[int, int]:
    command = [str(python), "-c", "import sys; print(*sys.version_info[:2])"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        major, minor = done.stdout.split()
        return int(major), int(minor)
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0, 0


def _make(runtime: Runtime, python: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)  # left behind by a process that was killed
    own = place / "bin" / "python"
    pip = [str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([str(python), "-m", "venv", str(place)], [*pip, *runtime.packages]):
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode:
            shutil.rmtree(place, ignore_errors=True)
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise LocalEngineMissing(f"{runtime.title} can't be installed: {last}")
    (place / COMPLETE).write_text(" ".join(runtime.packages), encoding="utf-8")
