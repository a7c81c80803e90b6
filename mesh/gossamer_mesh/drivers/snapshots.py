"""The file of a member's snapshot: whom it knew, for its next start.

Written now and then and at the end, whole or not at all, readable by its owner alone (it tells who
is in the mesh). Its content is the core's (`swim.snapshot`). A file that cannot be read is said and
left aside, one that cannot be written is said once: a node without it starts like a new one.
"""

from pathlib import Path

import trio

from gossamer_mesh import keyfiles
from gossamer_mesh.drivers.links import log
from gossamer_mesh.errors import KeyFileError
from gossamer_mesh.swim.snapshot import SNAPSHOT_BYTES_MAX

INTERVAL_S = 60.0
"""Between two snapshots. The core reserves incarnations for far longer."""

_WHAT = "the snapshot of the mesh"


class SnapshotFile:
    """One member's file; without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._has_complained = False

    def read(self) -> bytes:
        """The last one, or nothing."""
        if self._path is None or not self._path.exists():
            return b""
        try:
            return keyfiles.read(self._path, _WHAT, bytes_max=SNAPSHOT_BYTES_MAX)
        except KeyFileError as error:
            log.warning("%s This node begins without it.", error)
            return b""

    def say_broken(self) -> None:
        """The core could not make anything of it."""
        log.warning("%s is broken; this node begins without it.", self._path)

    async def write(self, content: bytes) -> None:
        """Keeps it; in a thread, as a slow disk would stall the protocol."""
        if self._path is None:
            return
        try:
            await trio.to_thread.run_sync(keyfiles.replace, self._path, content, _WHAT)
        except KeyFileError as error:
            if not self._has_complained:
                log.warning("%s", error)
            self._has_complained = True
