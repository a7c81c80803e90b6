"""What a stack is made of, as a person asked for it, and what of it can't be.

Everything that may be wrong is looked at before anything is started, and all of it is said at once:
ports that others have, programs that are missing, folders that can't be reached.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from gossamer_gateway.errors import InputError

HTTP_PORTS = (8080, 3000, 8090)
"""The documents that workflows come from name the first two, this gateway's own the third."""

KAFKA_PORT = 9092
POSTGRES_PORT = 5432
REDIS_PORT = 6379

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Settings:
    """A stack.

    Attributes:
        folder: of all that it keeps.
        http_ports: where the gateway is found; 0 is any free one.
        kafka: `HOST:PORT` of one that is there already; None: it is started.
        postgres: a DSN, alike. `redis`: a URL, alike.
        workers: names of the examples that are started.
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


def default_folder() -> Path:
    """Where a person's programs keep what they keep; of root, where PostgreSQL's user can go."""
    if os.geteuid() == 0:
        return Path("/var/lib/gossamer/stack")
    base = os.environ.get("XDG_STATE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "state"
    return root / "gossamer" / "stack"


def check_ports(settings: Settings) -> None:
    """Raises: InputError that names every port that somebody else has."""
    problems = list(_taken(settings))
    if problems:
        raise InputError("; ".join(problems) + ".")


def _taken(settings: Settings) -> Iterator[str]:
    wanted = [(port, "the gateway", "--http") for port in settings.http_ports]
    if settings.kafka is None:
        wanted.append((settings.kafka_port, "Kafka", "--kafka-port"))
    if settings.postgres is None:
        wanted.append((settings.postgres_port, "PostgreSQL", "--postgres-port"))
    if settings.redis is None:
        wanted.append((settings.redis_port, "Redis", "--redis-port"))
    seen: dict[int, str] = {}
    for port, who, option in wanted:
        if port and port in seen:
            yield f"port {port} is given to {seen[port]} and to {who}; name another with {option}"
        elif port and not _is_free(port):
            also = "" if option == "--http" else f", or use what is there with {option[:-5]}"
            yield f"port {port} for {who} is taken; name another with {option}{also}"
        seen[port] = who


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
