"""Small files of secrets and trust: read whole, refused when other users could use them, replaced
atomically.

A file is replaced by a new one that is complete on the disk before it takes the name, so a crash
leaves the old or the new one and never half of either. Errors name the file, the blame and the
next step.
"""

import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from gossamer_mesh.errors import KeyFileError

T = TypeVar("T")

SECRET = 0o077
"""Mode bits that a file of secrets must not have: nobody else reads or writes it."""

TRUSTED = 0o022
"""Mode bits that a file of decisions must not have: nobody else writes it."""


def read(path: Path, what: str, *, bytes_max: int, forbidden: int = SECRET) -> bytes:
    """The content of a file, `bytes_max` at most.

    Raises:
        KeyFileError: missing, not readable, no file, too long, or open to other users.
    """

    def action() -> bytes:
        with path.open("rb") as file:
            # Of the open file, not of the name: nobody can change one for the other in between.
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise KeyFileError(f"{path} is not a file; name the file of {what}.")
            if mode & forbidden:
                remedy = "600" if forbidden == SECRET else "go-w"
                raise KeyFileError(
                    f"{path} holds {what} and other users may "
                    f"{'use' if forbidden == SECRET else 'change'} it (mode {mode & 0o777:04o}); "
                    f"run: chmod {remedy} {path}"
                )
            data = file.read(bytes_max + 1)
            if len(data) > bytes_max:
                raise KeyFileError(
                    f"{path} is longer than {bytes_max} bytes; name the file of {what}."
                )
            return data

    return _or_key_file_error(action, f"{what} cannot be read from {path}")


def create(path: Path, data: bytes, what: str) -> None:
    """A new file, mode 0600, its folder with it. It must not exist.

    Raises:
        KeyFileError: it exists or cannot be made; nothing is changed.
    """

    def action() -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Exclusive: of two nodes that start on one file, one fails instead of both sharing half.
        _write(path, data)

    _or_key_file_error(action, f"{what} cannot be kept in {path}")


def replace(path: Path, data: bytes, what: str) -> None:
    """Other content for a file, whole or not at all, even when the power fails. Mode 0600, unless
    the file already has another that is safe.

    Raises:
        KeyFileError: it cannot be written; the file is as before.
    """

    def action() -> None:
        # Through a link: the link stays, its target is replaced.
        target = path.resolve()
        new = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            _write(new, data)
            with suppress(FileNotFoundError):
                new.chmod(stat.S_IMODE(target.stat().st_mode) & ~TRUSTED & 0o777)
            new.replace(target)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # the name is on the disk, too
        finally:
            os.close(folder)

    _or_key_file_error(action, f"{what} cannot be written to {path}")


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _or_key_file_error(action: Callable[[], T], failure: str) -> T:
    try:
        return action()
    except OSError as error:
        raise KeyFileError(f"{failure}: {error.strerror}; check the path and its owner.") from error
