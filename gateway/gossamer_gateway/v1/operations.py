"""An endpoint as one row: where it is, what it takes and answers, and who serves it.

Those of `/v1`, and those of workflows, which have paths of their own. The application's routes and
the OpenAPI document are both made of these rows, so neither can say what the other does not. Types
are dataclasses or msgspec's: it makes their JSON, checks what comes in, and gives their JSON
Schema.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from quart import request
from quart.wrappers import Response as QuartResponse
from werkzeug.exceptions import HTTPException

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.v1.shapes import Problem

log = logging.getLogger("gossamer.v1")

LIMIT_DEFAULT = 200
LIMIT_MAX = 500

TEXT_CHARACTERS_MAX = 256
"""Of a parameter."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a path or query.

    Attributes:
        choices: what it may be; none: anything.
        whole: it is a whole number from 1 to this; None: a text.
    """

    name: str
    meaning: str
    place: Literal["query", "path"] = "query"
    choices: tuple[str, ...] = ()
    whole: int | None = None


LIMIT = Parameter("limit", f"How many at most; {LIMIT_DEFAULT} unless told.", whole=LIMIT_MAX)
AFTER = Parameter("after", "`next` of the page before.")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, its parameters read.

    Attributes:
        given: parameters by name, those that were given.
        body: as the operation's type.
    """

    given: Mapping[str, str]
    body: Any = None

    def __getitem__(self, name: str) -> str:
        return self.given[name]

    def get(self, name: str) -> str | None:
        return self.given.get(name)

    @property
    def limit(self) -> int:
        return int(self.given.get("limit", LIMIT_DEFAULT))


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body that an operation reads by itself.

    Attributes:
        reads: makes it of its bytes and media type. Raises: BadRequest.
        schema: as OpenAPI has it.
        required: False: no body at all is right as well.
    """

    reads: Callable[[bytes, str], Any]
    schema: Mapping[str, Any]
    required: bool = True
    medias: tuple[str, ...] = ("application/json",)


@dataclass(frozen=True, slots=True)
class Operation:
    """One endpoint.

    Attributes:
        path: below `base`, with `{name}` for parameters.
        answers: the type of its answer.
        serve: answers; what it raises becomes a problem.
        about: its group in the document.
        body: the type of the request's body, which msgspec reads.
        takes: the body, where the operation reads it by itself. Neither: there is none.
        errors: statuses of problems that it may answer beside 400, and when.
        media: of the answer, where it is not JSON.
        status: of its answer.
        plainly: it may answer a text of one word as well, which is what who names no form gets.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    summary: str
    answers: Any
    serve: Callable[[Asked], Awaitable[Any]]
    about: str
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    errors: Mapping[int, str] = field(default_factory=dict)
    media: str = "application/json"
    base: str = "/v1"
    status: int = 200
    plainly: bool = False
    takes: Body | None = None

    @property
    def id(self) -> str:
        """Its name in the document and among the routes."""
        base = "" if self.base == "/v1" else self.base
        words = f"{base}{self.path}".replace("{", "").replace("}", "").strip("/").split("/")
        return "-".join((self.method.lower(), *(word.replace(".", "-") for word in words)))

    async def respond(self, **path: str) -> QuartResponse:
        """Serves a request of Quart's. Raises: GatewayError, EngineError."""
        answer = await self.serve(await self._read(path))
        if isinstance(answer, QuartResponse):
            return answer
        if self.media != "application/json":
            return QuartResponse(answer, content_type=self.media)
        return json_response(answer, self.status)

    async def _read(self, path: Mapping[str, str]) -> Asked:
        known = {one.name: one for one in self.parameters}
        asked = sorted(one.name for one in self.parameters if one.place == "query")
        given = {name: _checked(known[name], value) for name, value in path.items()}
        for name, value in request.args.items(multi=True):
            if name not in asked:
                raise BadRequest(
                    f"there is no parameter {name[:TEXT_CHARACTERS_MAX]!r} here; there are "
                    f"{', '.join(asked) or 'none'}"
                )
            if name in given:
                raise BadRequest(f"{name} is given twice")
            given[name] = _checked(known[name], value)
        if self.body is None and self.takes is None:
            return Asked(given)
        data = await request.get_data(as_text=False)
        assert isinstance(data, bytes)
        if self.takes is not None:
            return Asked(given, self.takes.reads(data, request.mimetype))
        try:
            return Asked(given, msgspec.json.decode(data, type=self.body))
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise BadRequest(f"the body cannot be taken: {error}") from None


def _checked(parameter: Parameter, value: str) -> str:
    if not 0 < len(value) <= TEXT_CHARACTERS_MAX:
        raise BadRequest(f"{parameter.name} must have 1 to {TEXT_CHARACTERS_MAX} characters")
    if parameter.whole is not None:
        is_whole = value.isascii() and value.isdecimal() and len(value) <= 9
        if not is_whole or not 1 <= int(value) <= parameter.whole:
            raise BadRequest(f"{parameter.name} must be a whole number, 1 to {parameter.whole}")
    if parameter.choices and value not in parameter.choices:
        raise BadRequest(f"{parameter.name} must be one of {', '.join(parameter.choices)}")
    return value


def json_response(value: Any, status: int = 200, media: str = "application/json") -> QuartResponse:
    """A value of these types as an answer."""
    return QuartResponse(msgspec.json.encode(value), status, content_type=media)


def problem(status: int, title: str, detail: str) -> QuartResponse:
    """What went wrong, as an answer."""
    answer = json_response(Problem(title, status, detail), status, "application/problem+json")
    if status == 503:
        answer.headers["Retry-After"] = "1"
    return answer


async def http_error(failed: Exception) -> QuartResponse:
    """An error handler: what Quart itself refuses, as a problem."""
    assert isinstance(failed, HTTPException)
    answer = problem(failed.code or 500, failed.name, failed.description or failed.name)
    for name, value in failed.get_headers():
        if name == "Allow":
            answer.headers[name] = value
    return answer


async def broken(mistake: Exception) -> QuartResponse:
    """An error handler for what nobody has foreseen."""
    log.error("a request failed by a mistake of the gateway", exc_info=mistake)
    return problem(500, "Mistake", "the gateway made a mistake; its log says which")


def page(
    items: Sequence[Any], key: Callable[[Any], str], asked: Asked
) -> tuple[list[Any], str | None]:
    """The part of a list that was asked for, and where the next one begins.

    Args:
        items: in the order of their keys.
    """
    after = asked.get("after")
    rest = items if after is None else [one for one in items if key(one) > after]
    shown = list(rest[: asked.limit])
    return shown, key(shown[-1]) if len(rest) > len(shown) else None
