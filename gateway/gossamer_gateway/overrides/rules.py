"""Override rules: what a person writes, what is wrong with it, and what the code works with. Pure.

    {"position": 10,
     "match": {"method": ["POST"], "path": "/engine-rest/process-definition/key/{key}/start",
               "headers": {"x-tenant": "acme*"}, "process": "hotel"},
     "engine": "c8"}

`match` needs a path; all else that it names must hold as well. In a path `{name}` is one segment,
and `*`, once, is anything, slashes included; in a header's value `*` is anything. One action
follows:

    "engine": "c8"                                        another engine serves the request
    "upstream": {"url": "http://old:8080/{key}/{*}"}      a URL does; what the path caught goes in
    "respond": {"status": 410, "body": {"gone": true}}    a fixed answer
    "service": {"name": "prices"}                         a WASM service of the mesh answers

The lowest position is asked first, and names decide between equal ones. The path of an upstream
may have parts of the request in it, its host may not. Who may write rules decides where requests
go, inside the network too: that is for administrators alone.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.settings.table import Setting

KIND = "override"

RULES_MAX = 256
"""Each request is held against all of them, at about a microsecond each."""

POSITION_MAX, POSITION_DEFAULT = 1_000_000, 100

TIMEOUT_MS_MAX, TIMEOUT_MS_DEFAULT = 120_000, 30_000

HEADERS_MAX = 32
TEXT_CHARS_MAX = 2_048

HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Headers of one connection, never of a message (RFC 9110 §7.6.1)."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_METHOD = re.compile(r"[A-Z]{1,16}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\x80-\xff\t]*")
_PART = re.compile(r"\{([^{}]*)\}")
_PART_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}", re.IGNORECASE)

REST = "*"
"""What a `*` of the path caught goes by."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Another engine serves the request."""

    name: str


@dataclass(frozen=True, slots=True)
class ToUrl:
    """A URL serves it, with `{…}` for what the path caught."""

    url: str
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Respond:
    """A fixed answer. The names of its headers are in small letters."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Service:
    """A service of the mesh answers."""

    name: str
    version: str
    timeout_ms: int


Action = Engine | ToUrl | Respond | Service


@dataclass(frozen=True, slots=True)
class Match:
    """What a request must be.

    Attributes:
        methods: none for any.
        path: as it was written; `pattern` is what it means, with a group for each part in `parts`.
        headers: names in small letters, each with a text that may have `*`.
        process: None for any, also where it is not known.
    """

    methods: tuple[str, ...]
    path: str
    pattern: re.Pattern[str]
    parts: tuple[str, ...]
    headers: tuple[tuple[str, str], ...]
    process: str | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        value: as it was written, for people.
        who, at_ms: who wrote it last, and when.
    """

    name: str
    position: int
    match: Match
    action: Action
    value: Mapping[str, Any]
    who: str = ""
    at_ms: int = 0


def read_value(name: str, value: Mapping[str, Any]) -> Rule:
    """A rule out of what a person wrote, or of a setting's value.

    Raises: BadRequest, with a sentence that names the field and what to write instead.
    """
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"{name[:64]!r} cannot name a rule; write 1 to 64 of a-z, 0-9, dot, dash and "
            "underscore, the first a letter or a digit."
        )
    _known(value, "", ("position", "match", *_ACTIONS))
    position = value.get("position", POSITION_DEFAULT)
    if type(position) is not int or not 0 <= position <= POSITION_MAX:
        raise BadRequest(f"position is {position!r}; write a whole number, 0 to {POSITION_MAX}.")
    match = _match(_object(value.get("match"), "match"))
    named = [each for each in _ACTIONS if each in value]
    if len(named) != 1:
        raise BadRequest(
            f"the rule has {' and '.join(named) or 'no action'}; write exactly one of "
            f"{', '.join(_ACTIONS)}."
        )
    action = _ACTIONS[named[0]](value[named[0]], match)
    return Rule(name, position, match, action, value)


def of_setting(setting: Setting) -> Rule:
    """The rule that a setting, whose value was read before, makes."""
    assert setting.value is not None, "a removal is no rule"
    rule = read_value(setting.name, setting.value)
    return Rule(
        rule.name, rule.position, rule.match, rule.action, rule.value, setting.who, setting.at_ms
    )


def _match(value: Mapping[str, Any]) -> Match:
    _known(value, "match.", ("method", "path", "headers", "process"))
    said = value.get("method", [])
    methods = tuple([said] if isinstance(said, str) else said if isinstance(said, list) else [0])
    if len(methods) > 16 or not all(isinstance(m, str) and _METHOD.fullmatch(m) for m in methods):
        raise BadRequest(f"match.method is {said!r}; write one such as POST, or a list of them.")
    path = value.get("path")
    if not isinstance(path, str) or not path.startswith("/") or len(path) > TEXT_CHARS_MAX:
        raise BadRequest(
            f"match.path is {path!r}; write one that begins with a slash, such as "
            "/engine-rest/message or /v2/*."
        )
    pattern, parts = _path_pattern(path)
    headers = _headers(value.get("headers", {}), "match.headers")
    process = value.get("process")
    if process is not None and (not isinstance(process, str) or not process):
        raise BadRequest(f"match.process is {process!r}; write a process's id, or leave it out.")
    return Match(methods, path, pattern, parts, headers, process)


def _path_pattern(path: str) -> tuple[re.Pattern[str], tuple[str, ...]]:
    """At most one part that takes slashes, so that no path is slow to hold against it."""
    if path.count("*") > 1:
        raise BadRequest(f"match.path {path} has more than one *; write one, and {{name}} else.")
    parts: list[str] = []
    segments = []
    for segment in path.split("/"):
        part = _PART.fullmatch(segment)
        if part is None and ("{" in segment or "}" in segment):
            raise BadRequest(
                f"match.path has {segment!r}; a part in braces stands for a whole segment, as in "
                "/v2/jobs/{key}/completion."
            )
        if part is None:
            before, star, after = segment.partition("*")
            segments.append(re.escape(before) + ("(.*)" if star else "") + re.escape(after))
            parts += [REST] if star else []
            continue
        name = part[1]
        if not _PART_NAME.fullmatch(name) or name in parts:
            raise BadRequest(f"match.path names a part {name!r}; write letters, each name once.")
        segments.append("([^/]+)")
        parts.append(name)
    return re.compile("/".join(segments), re.DOTALL), tuple(parts)


def _respond(value: object, match: Match) -> Respond:
    return read_answer(value)


def _engine(value: object, match: Match) -> Engine:
    if not isinstance(value, str) or not 0 < len(value) <= 256:
        raise BadRequest(f"engine is {value!r}; write the name of one.")
    return Engine(value)


def _upstream(value: object, match: Match) -> ToUrl:
    given = _object({"url": value} if isinstance(value, str) else value, "upstream")
    _known(given, "upstream.", ("url", "timeout_ms"))
    url = given.get("url")
    wrong = "write http:// or https://, a host and a path"
    if not isinstance(url, str) or len(url) > TEXT_CHARS_MAX or not url.isprintable():
        raise BadRequest(f"upstream.url is {url!r}; {wrong}.")
    try:
        split = urlsplit(url)
        host, _ = split.hostname, split.port
    except ValueError:
        raise BadRequest(f"upstream.url is {url!r}; {wrong}.") from None
    if split.scheme not in ("http", "https") or not host or " " in url or "\\" in url:
        raise BadRequest(f"upstream.url is {url!r}; {wrong}.")
    if "@" in split.netloc:
        raise BadRequest("upstream.url has a user in it; rules are no place for passwords.")
    if split.query or split.fragment or "?" in url or "#" in url:
        raise BadRequest("upstream.url ends with its path; the request's own query is added.")
    if "{" in split.netloc or "}" in split.netloc:
        raise BadRequest("upstream.url has parts of the request in its host; name the host.")
    for name in _PART.findall(split.path):
        if name not in match.parts:
            raise BadRequest(
                f"upstream.url has {{{name}}}, which match.path does not; there is "
                f"{', '.join(f'{{{one}}}' for one in match.parts) or 'nothing'}."
            )
    if re.search(r"[{}]", _PART.sub("", split.path)):
        raise BadRequest("upstream.url has a brace without its other half.")
    return ToUrl(url, _timeout(given, "upstream"))


def read_answer(value: object) -> Respond:
    """A fixed answer, or one that a service gave.

    Raises: BadRequest.
    """
    given = _object(value, "respond")
    _known(given, "respond.", ("status", "headers", "body"))
    status = given.get("status", 200)
    if type(status) is not int or not 200 <= status <= 599:
        raise BadRequest(f"respond.status is {status!r}; write one from 200 to 599.")
    headers = _headers(given.get("headers", {}), "respond.headers")
    for name, _ in headers:
        if name in HOP_BY_HOP or name == "content-length":
            raise BadRequest(f"respond.headers has {name}, which the server sets; leave it out.")
    text = given.get("body")
    body = b""
    if text is not None:
        if status in (204, 304):
            raise BadRequest(f"respond.body goes with no {status}; leave it out.")
        try:
            body = (text if isinstance(text, str) else json.dumps(text)).encode()
        except UnicodeError:
            raise BadRequest("respond.body has half a character in it.") from None
        if all(name != "content-type" for name, _ in headers):
            kind = "text/plain; charset=utf-8" if isinstance(text, str) else "application/json"
            headers = (*headers, ("content-type", kind))
    return Respond(status, headers, body)


def _service(value: object, match: Match) -> Service:
    given = _object({"name": value} if isinstance(value, str) else value, "service")
    _known(given, "service.", ("name", "version", "timeout_ms"))
    name, version = given.get("name"), given.get("version", "*")
    if not isinstance(name, str) or not 0 < len(name) <= 64:
        raise BadRequest(f"service.name is {name!r}; write the exact name of one.")
    if not isinstance(version, str) or len(version) > 64:
        raise BadRequest(f"service.version is {version!r}; write a range such as ^1.2, or nothing.")
    return Service(name, version, _timeout(given, "service"))


_ACTIONS: Mapping[str, Callable[[object, Match], Action]] = {
    "engine": _engine,
    "upstream": _upstream,
    "respond": _respond,
    "service": _service,
}


def _timeout(given: Mapping[str, Any], field: str) -> int:
    found = given.get("timeout_ms", TIMEOUT_MS_DEFAULT)
    if type(found) is not int or not 0 < found <= TIMEOUT_MS_MAX:
        raise BadRequest(f"{field}.timeout_ms is {found!r}; write 1 to {TIMEOUT_MS_MAX}.")
    return found


def _object(value: object, field: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadRequest(f"{field} is {'missing' if value is None else 'no object'}; write one.")
    return value


def _known(value: Mapping[str, Any], prefix: str, fields: Sequence[str]) -> None:
    for name in value:
        if name not in fields:
            raise BadRequest(
                f"{prefix}{name[:64]} is no field of a rule; there are {', '.join(fields)}."
            )


def _headers(value: object, field: str) -> tuple[tuple[str, str], ...]:
    found = []
    given = _object(value, field)
    if len(given) > HEADERS_MAX:
        raise BadRequest(f"{field} has more than {HEADERS_MAX} of them; write fewer.")
    for name, text in given.items():
        if not _TOKEN.fullmatch(name):
            raise BadRequest(f"{field} has {name[:64]!r}, which is no name of a header.")
        if (
            not isinstance(text, str)
            or len(text) > TEXT_CHARS_MAX
            or not _HEADER_VALUE.fullmatch(text)
        ):
            raise BadRequest(f"{field}.{name} is {text!r:.64}; write a line of text.")
        found.append((name.lower(), text))
    if len({name for name, _ in found}) != len(found):
        raise BadRequest(f"{field} names a header twice; case makes no difference.")
    return tuple(found)
