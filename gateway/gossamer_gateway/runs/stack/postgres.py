"""PostgreSQL of this machine, in a folder of the stack's own, on a port of 127.0.0.1.

PostgreSQL refuses to be root's. Where the stack is root's, it runs as Debian's user `postgres`, and
the folder has to be one that this user can reach.
"""

import os
import pwd
import shutil
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

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


def unfit(folder: Path) -> Iterator[str]:
    """Why none can be started with its data in this folder."""
    if binaries() is None:
        yield f"there is no PostgreSQL here; {OWN}"
    elif os.geteuid() == 0:
        try:
            user = pwd.getpwnam(USER)
        except KeyError:
            yield f"PostgreSQL refuses to run as root, and there is no user {USER}; {OWN}"
            return
        for parent in folder.absolute().parents:
            if parent.exists() and not _may_pass(parent, user):
                yield (
                    f"the user {USER}, as whom PostgreSQL runs where you are root, can't pass "
                    f"through {parent}; name another folder with --dir"
                )


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
    """Makes a cluster. What is half made has another name, so that it is never taken for one."""
    half = data.with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    command: list[str | Path] = [
        *_as_user(), bin_folder / "initdb", "-D", half, "-A", "trust", "-U", ROLE,
        "-E", "UTF8", "--locale=C.UTF-8",
    ]  # fmt: skip
    if problem := await parts.done(command, log_path, cwd=Path("/")):
        raise parts.StackError(f"PostgreSQL could not make {data}: {problem}.")
    half.rename(data)


def _as_user() -> Sequence[str]:
    """What has the next command run as PostgreSQL's user, and die with the guard all the same."""
    if os.geteuid() != 0:
        return ()
    # The kernel forgets a process's "kill me with my parent" when its user changes.
    return ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "--pdeathsig=KILL",
            "--")  # fmt: skip
