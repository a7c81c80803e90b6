"""The files at `/live/`: the module with the components, and the page that hosts them.

They are served as those of the operations page are, with the same policy: no script or style but
from here, none inline, no frames. Pages of other origins load the module where the door's `cors`
lets them, as they ask for the events.
"""

from pathlib import Path

from quart import Blueprint, abort, redirect
from quart.typing import ResponseReturnValue
from quart.wrappers import Response

from gossamer_gateway.page import HEADERS, MEDIA

FOLDER = Path(__file__).parent / "static"


def create_blueprint() -> Blueprint:
    """`/live/` and the files under it."""
    routes = Blueprint("live", __name__)
    files = {one.name: one for one in sorted(FOLDER.iterdir()) if one.suffix in MEDIA}
    contents = {name: one.read_bytes() for name, one in files.items()}

    async def file(name: str) -> Response:
        if name not in contents:
            abort(404)
        answer = Response(contents[name], content_type=MEDIA[files[name].suffix])
        answer.headers.update(HEADERS)
        return answer

    async def index() -> Response:
        return await file("index.html")

    async def slash() -> ResponseReturnValue:
        return redirect("/live/")

    routes.add_url_rule("/live", "slash", slash, methods=["GET"])
    routes.add_url_rule("/live/", "index", index, methods=["GET"])
    routes.add_url_rule("/live/<name>", "file", file, methods=["GET"])
    return routes
