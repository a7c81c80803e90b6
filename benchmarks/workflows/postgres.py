"""A PostgreSQL of the benchmark's own, with its usual settings, in a temporary folder."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.postgres_fixture import USER, Postgres, binaries


@contextmanager
def started() -> Iterator[Postgres | None]:
    """Runs until the block is left; None where none is installed."""
    found = binaries()
    if found is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="gossamer-pg-"))
    try:
        if os.geteuid() == 0:
            os.chown(folder, pwd.getpwnam(USER).pw_uid, -1)
        server = Postgres(found, folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
