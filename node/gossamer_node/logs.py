"""Structured logs: one record a line, with its context as fields, on the standard library.

    log = logs.get("claiming")
    log.info("granted", job=ref.key, topic=ref.topic, engine=ref.engine, epoch=epoch)

The message says what happened and the fields say to what: `job`, `topic`, `engine`, `epoch`,
`lease`, `member`, `service` where they apply, under these names. `setup` chooses the form.
No value can forge a line: what does not print is escaped, and long values are cut. No field whose
name speaks of a secret is written (`SECRET_WORDS`). Variables of a process are nobody's to log.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TextIO

VALUE_CHARS_MAX = 4_000
"""Characters of one value that are written; an engine's stack trace may have 100,000."""

SECRET_WORDS = re.compile(
    r"password|passwd|secret|token|authorization|credential|cookie|private_?key|api_?key|mesh_?key",
    re.IGNORECASE,
)
"""A field whose name matches is written as `REDACTED`."""

REDACTED = "[redacted]"

ROOT = "gossamer"

_BARE = re.compile(r'[^\s"=\\]+')

_OWN_KEYS = ("ts", "level", "logger", "msg", "traceback")


class Log:
    """A logger of one part of the house. `fields` are names with plain values."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, message: str, /, **fields: object) -> None:
        self._write(logging.DEBUG, message, fields)

    def info(self, message: str, /, **fields: object) -> None:
        self._write(logging.INFO, message, fields)

    def warning(self, message: str, /, **fields: object) -> None:
        self._write(logging.WARNING, message, fields)

    def error(self, message: str, /, **fields: object) -> None:
        self._write(logging.ERROR, message, fields)

    def _write(self, level: int, message: str, fields: dict[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            # As an argument-less message: a `%` in it is a `%`.
            self._logger.log(level, message, extra={"fields": fields})


def get(name: str) -> Log:
    """The logger of a part of the house, such as `claiming`."""
    return Log(logging.getLogger(f"{ROOT}.{name}"))


def setup(
    form: Literal["logfmt", "json"] = "logfmt",
    level: Literal["debug", "info", "warning", "error"] = "info",
    stream: TextIO | None = None,
) -> None:
    """Sends every record of this process to `stream`, standard error by default.

    Libraries are heard from `warning` on: httpx alone writes a line for every request.
    """
    handler = _Handler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonLines() if form == "json" else Logfmt())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT).setLevel(level.upper())


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing: a log that cannot be written must not stop the work, nor fill the disk."""


class Logfmt(logging.Formatter):
    """`ts=… level=info logger=claiming msg=granted job=… epoch=3.17`"""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{key}={_logfmt(value)}" for key, value in _fields(record).items())


class JsonLines(logging.Formatter):
    """One JSON object a line, in ASCII; numbers and booleans stay what they are."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_fields(record))


def _fields(record: logging.LogRecord) -> dict[str, str | int | float | bool | None]:
    moment = datetime.fromtimestamp(record.created, UTC)
    fields: dict[str, str | int | float | bool | None] = {
        "ts": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name.removeprefix(f"{ROOT}."),
        "msg": _cut(record.getMessage()),
    }
    given: dict[str, Any] = getattr(record, "fields", {})
    for key, value in given.items():
        name = f"{key}_" if key in _OWN_KEYS else key
        fields[name] = REDACTED if _is_secret(key) else _plain(value)
    if record.exc_info:
        fields["traceback"] = _cut(logging.Formatter().formatException(record.exc_info))
    return fields


@lru_cache(1_024)
def _is_secret(key: str) -> bool:
    return SECRET_WORDS.search(key) is not None


def _plain(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        # Infinity and NaN are no JSON (RFC 8259 §6).
        return value if abs(value) < float("inf") else str(value)
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_CHARS_MAX else f"{text[:VALUE_CHARS_MAX]}…"


def _logfmt(value: str | int | float | bool | None) -> str:
    if value is None:
        return "none"
    if not isinstance(value, str):
        return str(value).lower()
    if _BARE.fullmatch(value) and value.isprintable():
        return value
    return '"' + "".join(_escaped(character) for character in value) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character == "\n":
        return "\\n"
    # isprintable() is false for controls, line separators, bidirectional marks and surrogates.
    return character if character.isprintable() else f"\\u{ord(character):04x}"
