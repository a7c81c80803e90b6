"""PostgreSQL of this machine, in a folder of the stack's own, on a port of 127.0.0.1.

PostgreSQL refuses to be root's. Where the stack is root's, it runs as Debian's user `postgres`, and
the folder has to be one that this user can reach.
"""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

from gossamer_gateway.errors import InputError
from gossamer_gateway.runs.stack import parts
from gossamer_gateway.runs.stack.parts import Part

USER = "postgres"
ROLE = "gossamer"

OWN = "install Debian's package postgresql, or name one that you have with --postgres DSN"


def binaries() -> Path | None:
    """The folder of the newest server, as Debian lays them out, or of the one on the path."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda one: int(one.parts[-3])
    )
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def check(folder: Path) -> Path:
    """Gives the server's folder, before anything is started.

    Raises: InputError where there is none, or its user could not reach the data.
    """
    found = binaries()
    if found is None:
        raise InputError(f"there is no PostgreSQL here; {OWN}.")
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam(USER)
        except KeyError:
            raise InputError(
                f"PostgreSQL refuses to run as root, and there is no user {USER}; {OWN}."
            ) from None
        for parent in folder.absolute().parents:
            if parent.exists() and not _may_pass(parent, user):
                raise InputError(
                    f"the user {USER}, as whom PostgreSQL runs where you are root, can't pass "
                    f"through {parent}; name another folder with --dir."
                )
    return found


def _may_pass(folder: Path, user: pwd.struct_passwd) -> bool:
    stat = folder.stat()
    if stat.st_uid == user.pw_uid:
        return bool(stat.st_mode & 0o100)
    return bool(stat.st_mode & (0o010 if stat.st_gid == user.pw_gid else 0o001))


@asynccontextmanager
async def start_postgres(
    bin_folder: Path, folder: Path, port: int, log_path: Path
) -> AsyncIterator[tuple[Part, str]]:
    """Runs it for the length of a block; gives it and its DSN.

    Args:
        folder: keeps its data; made where it is missing.

    Raises: StackError.
    """
    data = folder / "data"
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam(USER).pw_uid, -1)
    if not (data / "PG_VERSION").exists():
        await _initialise(bin_folder, data, log_path)

    async def ready() -> bool:
        done = await trio.run_process(
            [bin_folder / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False
        )
        return done.returncode == 0

    def finish() -> None:
        # SIGINT: it takes back what is open and ends at once; SIGTERM waits for its clients.
        with suppress(OSError, ValueError, IndexError):
            pid = int((data / "postmaster.pid").read_text(encoding="ascii").splitlines()[0])
            os.kill(pid, signal.SIGINT)

    command: list[str | Path] = [
        *_as_user(), bin_folder / "postgres", "-D", data, "-k", "", "-h", "127.0.0.1",
        "-p", str(port), "-c", "shared_buffers=64MB", "-c", "max_connections=100",
    ]  # fmt: skip
    async with parts.running("PostgreSQL", command, log_path, ready, finish=finish) as part:
        yield part, f"host=127.0.0.1 port={port} user={ROLE} dbname=postgres"


async def _initialise(bin_folder: Path, data: Path, log_path: Path) -> None:
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        done = await trio.run_process(
            [*_as_user(), bin_folder / "initdb", "-D", data, "-A", "trust", "-U", ROLE,
             "-E", "UTF8", "--locale=C.UTF-8"],
            stdout=log, stderr=subprocess.STDOUT, check=False, cwd="/",
        )  # fmt: skip
    if done.returncode != 0:
        raise parts.StackError(f"PostgreSQL could not make {data}: {parts.tail(log_path)}")


def _as_user() -> Sequence[str]:
    """What has the next command run as PostgreSQL's user, and die with the guard all the same."""
    if os.geteuid() != 0:
        return ()
    # The kernel forgets a process's "kill me with my parent" when its user changes.
    return ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "--pdeathsig=KILL",
            "--")  # fmt: skip
