"""Keeps verified engines in the user's cache directory.

Rules: a directory under its final name is complete and was verified against the lock; it is made
beside its place and renamed into it; one process at a time makes it, the others wait; a directory
that no longer matches what was put there is made anew. A file that differs from the lock is
refused and leaves what is already there untouched.
"""

import fcntl
import json
import os
import shutil
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from gossamer_node.errors import LocalEngineError
from gossamer_node.local_engines import maven
from gossamer_node.local_engines.lock import Lock, sha256_of
from gossamer_node.local_engines.progress import Progress

_MANIFEST = "manifest.json"
_LOCK_POLL_S = 0.2


@dataclass(frozen=True)
class Kit:
    """What one engine is made of."""

    name: str
    """Short, for paths: `camunda7`."""
    title: str
    """For people: `Camunda 7.24.0`."""
    lock: Lock


def cache_directory() -> Path:
    """Where engines are kept: `$XDG_CACHE_HOME`, else `~/.cache` (XDG base directories)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # "All paths must be absolute … the path [is] invalid and should be ignored" otherwise.
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "gossamer" / "engines"


async def provide(kit: Kit, progress: Progress) -> Path:
    """The directory of a complete, verified engine; downloads it where it isn't there.

    Raises:
        LocalEngineMissing: It isn't there and cannot be downloaded.
        LocalEngineError: What was downloaded differs from the lock, or the cache can't be written.
            What was in the cache before is as it was.
    """
    home = cache_directory()
    place = home / f"{kit.name}-{kit.lock.digest[:12]}"
    if await trio.to_thread.run_sync(intact, place):
        return place
    try:
        home.mkdir(parents=True, exist_ok=True)
        async with alone(home / f"{kit.name}.flock", kit.title, progress):
            if not await trio.to_thread.run_sync(intact, place):
                await _download(kit, place, progress)
    except OSError as error:
        raise LocalEngineError(
            f"{kit.title} can't be kept in {home} ({error.strerror or error}); make room there, "
            "or point XDG_CACHE_HOME to another directory."
        ) from error
    return place


async def _download(kit: Kit, place: Path, progress: Progress) -> None:
    text = f"downloading {kit.title}"
    coordinates = [artifact.coordinate for artifact in kit.lock.artifacts]
    partial = place.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)  # left behind by a process that was killed
    partial.mkdir()
    try:
        progress(f"having Maven get {kit.title}; at its first use it gets parts of its own", None)
        await maven.copy(kit.title, coordinates, partial, lambda fraction: progress(text, fraction))
        progress(f"verifying {kit.title}", None)
        await trio.to_thread.run_sync(install, kit, partial, place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def install(kit: Kit, partial: Path, place: Path) -> None:
    """Verifies the files in `partial`, unpacks archives there, and renames it to `place`.

    Raises:
        LocalEngineError: A file differs from the lock; `place` is as it was.
    """
    for artifact in kit.lock.artifacts:
        path = partial / artifact.coordinate.file_name
        sha256 = sha256_of(path)
        if sha256 != artifact.sha256:
            raise LocalEngineError(
                f"{kit.title} was not installed: {path.name} is not the file that was locked "
                f"(SHA-256 {sha256}, expected {artifact.sha256}); delete it from Maven's local "
                "repository and try again, and if it differs again, don't trust where it is from."
            )
    for archive in partial.glob("*.tar.gz"):
        with tarfile.open(archive) as tar:
            # The filter came with Python 3.11.4; the archive has been verified in any case.
            tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            tar.extractall(partial)  # noqa: S202
        archive.unlink()
    manifest = {
        str(path.relative_to(partial)): [stat.st_size, stat.st_mtime_ns, sha256_of(path)]
        for path in sorted(partial.rglob("*"))
        if path.is_file()
        for stat in [path.stat()]
    }
    (partial / _MANIFEST).write_text(json.dumps(manifest, indent=0), encoding="utf-8")
    broken = place.with_suffix(".broken")
    shutil.rmtree(broken, ignore_errors=True)
    if place.exists():
        place.rename(broken)
    partial.rename(place)
    shutil.rmtree(broken, ignore_errors=True)


def intact(place: Path) -> bool:
    """Whether the directory holds exactly what was put there.

    A file with the size and time of then is taken as unchanged, as git does; with another time
    (a restored cache, say) its content is compared.
    """
    try:
        manifest = json.loads((place / _MANIFEST).read_text(encoding="utf-8"))
        there = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
        if there != {*manifest, _MANIFEST}:
            return False
        for name, (size_bytes, mtime_ns, sha256) in manifest.items():
            path = place / name
            stat = path.stat()
            if stat.st_size != size_bytes:
                return False
            if stat.st_mtime_ns != mtime_ns and sha256_of(path) != sha256:
                return False
    except (OSError, ValueError, TypeError, AttributeError):  # no manifest, or no sense in it
        return False
    return True


@asynccontextmanager
async def alone(path: Path, title: str, progress: Progress) -> AsyncIterator[None]:
    """Holds a file lock; the kernel releases it however its holder ends."""
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                progress(f"waiting for another process that downloads {title}", None)
                await trio.sleep(_LOCK_POLL_S)
        yield
