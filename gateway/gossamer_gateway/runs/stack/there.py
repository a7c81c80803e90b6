"""Parts that are there already, as a person names them: read, and asked, before anything starts.

A stack that has begun takes half a minute to find out that its PostgreSQL is a misspelt one. So
each address is read first, and then whoever listens there is asked whether it is what it should be.
All that is wrong is said at once, with what to do about it. What is said, and what `shown` gives,
has no password in it.
"""

import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import psycopg
import trio
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from gossamer_gateway.runs.config import BROKER
from gossamer_gateway.runs.stack.settings import Settings
from gossamer_gateway.storage import PostgresPlace
from gossamer_node.address import Address

CONNECT_S = 3.0
"""For a connection: what is on this machine, or near it, has it in milliseconds."""

ANSWER_S = 6.0
"""For an answer. A broker that was just started, on a busy machine, takes some of it."""

POSTGRES_VERSION_MIN = 130_000
"""As libpq numbers versions; see `PostgresPlace`."""

_REASON_CHARACTERS_MAX = 300
_SECRETS = ("password", "sslpassword")


def unreadable(settings: Settings) -> Iterator[str]:
    """What of the addresses is none. Asks nobody."""
    if settings.kafka is not None and (problem := _unread_brokers(settings.kafka)):
        yield (
            f"--kafka {settings.kafka!r}: {problem}; write HOST:PORT, several with commas between, "
            "such as localhost:9092"
        )
    if settings.postgres is not None:
        try:
            if not conninfo_to_dict(settings.postgres):
                raise psycopg.ProgrammingError("it says nothing")
        except psycopg.ProgrammingError as error:
            yield (
                f"--postgres is no DSN ({_line(error)}); write it as 'host=localhost user=me "
                "dbname=flows', or as postgresql://me@localhost/flows"
            )
    if settings.redis is not None:
        try:
            _redis_of(settings.redis)
        except ValueError as error:
            yield (
                f"--redis is no URL of a Redis ({_line(error)}); write one such as "
                "redis://localhost:6379/0"
            )


async def unfit(settings: Settings) -> list[str]:
    """Which of them are not there, or not what they should be; asks all of them together.

    Args:
        settings: whose addresses can be read.
    """
    found: dict[str, str] = {}

    async def look(name: str, ask: Callable[[], Awaitable[str]]) -> None:
        found[name] = await ask()

    async with trio.open_nursery() as nursery:
        if settings.kafka is not None:
            nursery.start_soon(look, "kafka", partial(_ask_kafka, settings.kafka))
        if settings.postgres is not None:
            nursery.start_soon(look, "postgres", partial(_ask_postgres, settings.postgres))
        if settings.redis is not None:
            nursery.start_soon(look, "redis", partial(_ask_redis, settings.redis))
    return [
        f"{found[name]}; mend that, or leave out --{name} to have one started"
        for name in sorted(found)
        if found[name]
    ]


def shown(address: str) -> str:
    """A DSN or an URL as it may be printed."""
    if "://" not in address:
        given = conninfo_to_dict(address)
        if not any(name in given for name in _SECRETS):
            return address
        harmless = {name: str(given[name]) for name in given if name not in _SECRETS}
        return make_conninfo("", **harmless)
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    in_query = any(one in _SECRETS for one, _ in parse_qsl(parts.query))
    if not colon and not in_query:
        return address
    place = f"{name}{at}{host}" if name else host
    return urlunsplit((parts.scheme, place, parts.path, "" if in_query else parts.query, ""))


# --- Kafka


def _addresses(text: str) -> list[Address]:
    return [BROKER.parse(one.strip()) for one in text.split(",")]


def _unread_brokers(text: str) -> str:
    for one in text.split(","):
        try:
            BROKER.parse(one.strip())
        except ValueError as error:
            return f"{one.strip()!r} {error}"
    return ""


async def _ask_kafka(text: str) -> str:
    if silent := await _silent(_addresses(text)):
        return f"no Kafka answers at {text} ({silent})"
    brokers = await trio.to_thread.run_sync(_brokers, text, abandon_on_cancel=True)
    if not brokers:
        return (
            f"what listens at {text} does not answer as a Kafka; it is none, or one that wants TLS "
            "or a password, which the stack has not got"
        )
    # Where a client is sent to, whatever address it came by. The usual mistake of containers.
    if silent := await _silent(brokers):
        told = ", ".join(map(str, brokers))
        return (
            f"the Kafka at {text} sends its clients to {told} (its advertised.listeners), where "
            f"nobody answers ({silent})"
        )
    return ""


def _brokers(text: str) -> list[Address]:
    """Where the cluster's brokers are, by their own word; none: nobody said so."""
    client = AdminClient({"bootstrap.servers": text, "log_level": 0})
    try:
        found = client.list_topics(timeout=ANSWER_S).brokers.values()
    except KafkaException:
        return []
    return [Address(str(one.host), int(one.port or 0)) for one in found]


async def _silent(addresses: list[Address]) -> str:
    """Why none of these can be connected to; empty where one can."""
    reasons = []
    for one in addresses:
        try:
            with trio.fail_after(CONNECT_S):
                stream = await trio.open_tcp_stream(one.host, one.port)
            await stream.aclose()
        except trio.TooSlowError:
            reasons.append(f"no answer within {CONNECT_S:g} s")
        except OSError as error:
            reasons.append(_why(error))
        else:
            return ""
    return reasons[0]


def _why(error: BaseException) -> str:
    """What the system says, out of what trio makes of it."""
    if isinstance(error, BaseExceptionGroup):
        return _why(error.exceptions[0])
    if error.__cause__ is not None:
        return _why(error.__cause__)
    if isinstance(error, socket.gaierror):
        return "there is no host of that name"
    number = error.errno if isinstance(error, OSError) else None
    return str(error) if number is None else os.strerror(number)


# --- PostgreSQL


async def _ask_postgres(dsn: str) -> str:
    problem = await trio.to_thread.run_sync(_postgres_problem, dsn, abandon_on_cancel=True)
    return f"the PostgreSQL of --postgres can't be used: {problem}" if problem else ""


def _postgres_problem(dsn: str) -> str:
    schema = PostgresPlace(dsn).schema
    try:
        with psycopg.connect(dsn, connect_timeout=int(ANSWER_S), autocommit=True) as connection:
            version = connection.info.server_version
            if version < POSTGRES_VERSION_MIN:
                return f"it is version {version // 10_000}, and 13 is the oldest that will do"
            asked = connection.execute(
                "SELECT current_database(), current_user, current_setting('server_encoding'),"
                " has_database_privilege(current_database(), 'CREATE')"
                " OR EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = %s)",
                (schema,),
            )
            database, user, encoding, is_allowed = asked.fetchone() or ("", "", "", False)
    except psycopg.Error as error:
        return _line(error)
    if encoding != "UTF8":
        return f"the database {database} has the encoding {encoding}; make one with UTF8"
    if not is_allowed:
        return (
            f"the user {user} may not make the schema {schema} in the database {database}; GRANT "
            f"CREATE ON DATABASE {database} TO {user}"
        )
    return ""


# --- Redis


async def _ask_redis(url: str) -> str:
    problem = await trio.to_thread.run_sync(_redis_problem, url, abandon_on_cancel=True)
    return f"the Redis at {shown(url)} can't be used: {problem}" if problem else ""


def _redis_of(url: str) -> Redis:
    return Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_S,
        socket_timeout=ANSWER_S,
        retry=Retry(NoBackoff(), 0),
    )


def _redis_problem(url: str) -> str:
    try:
        with _redis_of(url) as client:
            client.ping()
    except AuthenticationError as error:
        return f"{_line(error)} (write redis://user:password@host:port/0)"
    except (RedisError, OSError, ValueError, TypeError) as error:  # TypeError: an unknown option
        return _line(error)
    return ""


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:_REASON_CHARACTERS_MAX]
