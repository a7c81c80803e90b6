"""Where requests meet the rules: before any dialect looks at them.

A rule that names an engine lets the request go on, with the header that says so; all others answer
it here. Without rules a request costs nothing.
"""

from quart import Response, request
from quart_trio import QuartTrio

from gossamer_gateway.desk import ENGINE_HEADER
from gossamer_gateway.door.asking import check_process
from gossamer_gateway.door.forms import Denied, body_of
from gossamer_gateway.errors import BadRequest, Forbidden, UpstreamFailed
from gossamer_gateway.overrides.deciding import Request, is_ours
from gossamer_gateway.overrides.overrides import Overrides
from gossamer_gateway.overrides.rules import Engine
from gossamer_gateway.overrides.subjects import process_of
from gossamer_gateway.settings.http import problem


def install(app: QuartTrio, overrides: Overrides) -> None:
    """Puts the rules in front of an application's handlers."""

    async def look() -> Response | None:
        if not overrides.rules() or not is_ours(request.path):
            return None
        body = await request.get_data(as_text=False)
        assert isinstance(body, bytes)
        asked = Request(
            request.method,
            request.path,
            [(name.lower(), text) for name, text in request.headers.items()],
            process_of(request.method, request.path, body),
        )
        verdict = overrides.decide(asked)
        if verdict is None:
            return None
        if isinstance(verdict.action, Engine):
            request.headers[ENGINE_HEADER] = verdict.action.name
            return None
        try:
            check_process(asked.process)
            answer = await overrides.answer(verdict, asked, request.query_string, body)
        except UpstreamFailed as error:
            return problem(error.status, "The upstream failed", str(error))
        except Forbidden as error:
            kind, content = body_of(request.path, Denied(403, str(error)))
            return Response(content, 403, content_type=kind.decode())
        except BadRequest as error:
            return problem(400, "Bad request", str(error))
        told = Response(answer.body, answer.status)
        del told.headers["content-type"]
        for name, text in answer.headers:
            told.headers.add(name, text)
        return told

    app.before_request(look)
