"""What rows of the registry name by hash: modules, and proto-files packed into one file.

Each is a file named by its SHA-256, so two versions with the same content share it, and a file says
by itself whether it is whole. One that is being written or fetched is in a folder of its own, as
the other one may have a hundred thousand files. No name that a service chose is ever a path here.
"""

import os
import secrets
from hashlib import sha256
from pathlib import Path

from gossamer_node.errors import NodeError

COMING_NAME = "coming"


class Contents:
    """The files of a registry's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.coming = folder / COMING_NAME

    def make(self) -> None:
        """Makes the folders. Raises: OSError."""
        self.coming.mkdir(mode=0o700, parents=True, exist_ok=True)

    def module(self, module: str) -> Path:
        """Where a module is, or is to be."""
        return self.folder / f"{module}.wasm"

    def files(self, files: str) -> Path:
        """Where packed proto-files are, or are to be."""
        return self.folder / f"{files}.files"

    def keep(self, wasm: bytes, files: bytes) -> None:
        """Puts a module there, and packed files if there are some; each whole or not at all.

        Raises: NodeError when the disk does not take them.
        """
        self._write(self.module(sha256(wasm).hexdigest()), wasm)
        if files:
            self._write(self.files(sha256(files).hexdigest()), files)

    def _write(self, target: Path, data: bytes) -> None:
        new = self.coming / f"{target.name}.{secrets.token_hex(4)}"
        try:
            try:
                with new.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                new.replace(target)
            except OSError:
                new.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise NodeError(
                f"the service cannot be kept in {self.folder} ({error.strerror}); see to the disk."
            ) from error
