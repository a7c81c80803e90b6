"""The HTTP application: the dialects side by side, each under its own path."""

from collections.abc import Sequence

from quart import Blueprint, Response, current_app, has_request_context, request, websocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from gossamer_gateway import astray, engine_rest, v2
from gossamer_gateway.desk import Desk
from gossamer_gateway.door.forms import Denied, body_of

BODY_BYTES_MAX = 16 * 2**20
"""Larger bodies are answered 413: four times what Zeebe takes in one message."""


def create_app(
    desk: Desk, *, own: Sequence[Blueprint] = (), root: Sequence[Blueprint] = ()
) -> QuartTrio:
    """All that the gateway serves over HTTP.

    Args:
        own: what is under `/v1`.
        root: resources with paths of their own, from the root.
    """
    app = QuartTrio(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES_MAX
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.register_blueprint(engine_rest.create_blueprint(desk), url_prefix="/engine-rest")
    app.register_blueprint(v2.create_blueprint(desk), url_prefix="/v2")
    for one in own:
        app.register_blueprint(one, url_prefix="/v1")
    for one in root:
        app.register_blueprint(one)
    app.register_error_handler(HTTPException, _http_error)
    return app


async def _http_error(failed: Exception) -> Response:
    """What is refused before it is known whose request it is, such as a method that no path has."""
    assert isinstance(failed, HTTPException)
    status = failed.code or 500
    if status < 400:
        return Response("", status, headers=dict(failed.get_headers()))
    at = request if has_request_context() else websocket
    path, method = at.path, at.method
    said = f"HTTP {status} {failed.name}"
    if not path.startswith(astray.FOREIGN) and status == 404:
        said = astray.no_path(path, method, current_app.url_map)
    elif not path.startswith(astray.FOREIGN) and status == 405:
        said = astray.no_method(path, method, getattr(failed, "valid_methods", None) or ())
    kind, content = body_of(path, Denied(status, said))
    answer = Response(content, status, content_type=kind.decode())
    for name, value in failed.get_headers():
        if name == "Allow":
            answer.headers[name] = value
    return answer
