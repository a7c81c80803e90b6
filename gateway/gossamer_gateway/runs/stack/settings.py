"""What a stack is made of, as a person asked for it, and what of it can't be.

Everything that may be wrong is looked at before anything is started, and all of it is said at once:
ports that others have, programs that are missing, folders that can't be used. `there` does so for
parts that run already.
"""

import errno
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from gossamer_gateway.errors import InputError
from gossamer_node.control import PATH_BYTES_MAX, SOCKET_NAME
from gossamer_node.local_engines.processes import free_ports

HTTP_PORTS = (8080, 3000, 8090)
"""The documents that workflows come from name the first two, this gateway's own the third."""

KAFKA_PORT = 9092
POSTGRES_PORT = 5432
REDIS_PORT = 6379

HOST = "127.0.0.1"

GATEWAY = "gateway"
"""The gateway's own folder in the stack's."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A stack.

    Attributes:
        folder: of all that it keeps.
        http_ports: where the gateway is found; 0 is any free one.
        kafka: `HOST:PORT` of one that is there already; None: it is started.
        postgres: a DSN, alike. `redis`: a URL, alike.
        workers: names of the examples that are started.
        offered: actions, in which `*` stands for any characters, whose jobs are fetched over HTTP
            or the mesh, and do not go to Kafka.
    """

    folder: Path
    http_ports: tuple[int, ...] = HTTP_PORTS
    kafka: str | None = None
    kafka_port: int = KAFKA_PORT
    postgres: str | None = None
    postgres_port: int = POSTGRES_PORT
    redis: str | None = None
    redis_port: int = REDIS_PORT
    workers: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()


def default_folder() -> Path:
    """Where a person's programs keep what they keep; of root, where PostgreSQL's user can go."""
    if os.geteuid() == 0:
        return Path("/var/lib/gossamer/stack")
    base = os.environ.get("XDG_STATE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "state"
    return root / "gossamer" / "stack"


def with_ports(settings: Settings) -> Settings:
    """With free ports in place of zeros."""
    found = iter(free_ports(len(settings.http_ports) + 3))
    return replace(
        settings,
        http_ports=tuple(port or next(found) for port in settings.http_ports),
        kafka_port=settings.kafka_port or next(found),
        postgres_port=settings.postgres_port or next(found),
        redis_port=settings.redis_port or next(found),
    )


def refuse(problems: list[str]) -> None:
    """Raises: InputError that says all of them, where there are any."""
    if problems:
        raise InputError("; ".join(problems) + ".")


def unfit_folder(folder: Path) -> Iterator[str]:
    """What is wrong with the folder, which is made where it is missing."""
    again = "name another folder with --dir"
    length = len(os.fsencode(folder / GATEWAY / SOCKET_NAME)) - PATH_BYTES_MAX
    try:
        text = str(folder).encode().decode()
    except UnicodeEncodeError:
        yield f"{folder} has a name that is no text; {again}"
        return
    if length > 0:
        yield (
            f"{folder} is longer by {length} bytes than the path of a Unix socket in it may be; "
            "name a shorter folder with --dir"
        )
    elif "," in text:
        yield f"{folder} has a comma in its name, where Kafka would part it; {again}"
    else:
        made = [one for one in (folder, *folder.parents) if not one.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for one in made if os.geteuid() == 0 else ():
                one.chmod(0o755)  # whatever root's umask: PostgreSQL's user has to pass
        except FileExistsError:
            yield f"{folder} is no folder; {again}"
        except NotADirectoryError:
            yield f"{folder} can't be made, for a part of its path is no folder; {again}"
        except OSError as error:
            yield f"{folder} can't be made ({error.strerror}); {again}"
        else:
            try:
                with tempfile.NamedTemporaryFile(dir=folder):
                    pass
            except OSError as error:
                yield f"{folder} can't be written to ({error.strerror}); {again}"


def taken(settings: Settings) -> Iterator[str]:
    """Every port that can't be had, those of one part together."""
    wanted = [("the gateway", "--http", settings.http_ports)]
    if settings.kafka is None:
        wanted.append(("Kafka", "--kafka-port", (settings.kafka_port,)))
    if settings.postgres is None:
        wanted.append(("PostgreSQL", "--postgres-port", (settings.postgres_port,)))
    if settings.redis is None:
        wanted.append(("Redis", "--redis-port", (settings.redis_port,)))
    seen: dict[int, str] = {}
    for who, option, ports in wanted:
        problems: dict[str, list[int]] = {}
        for port in ports:
            if port and port in seen:
                problems.setdefault(f"given to {seen[port]} already", []).append(port)
            elif port and (problem := _problem_of(port)):
                problems.setdefault(problem, []).append(port)
            seen[port] = who
        for problem, of_it in problems.items():
            named, are = f"port {of_it[0]}", "is"
            if len(of_it) > 1:
                named, are = f"ports {', '.join(map(str, of_it[:-1]))} and {of_it[-1]}", "are"
            also = "" if option == "--http" else f", or use what is there with {option[:-5]}"
            yield f"{named} for {who} {are} {problem}; name others with {option}{also}"


def _problem_of(port: int) -> str:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return "taken"
            if error.errno == errno.EACCES:
                return "for root alone"
            return f"not to be had ({error.strerror})"
    return ""
