"""The files at `/live/`: the module with the components, and the page that hosts them.

They are served as those of the operations page are, with the same policy: no script or style but
from here, none inline, no frames. Pages of other origins load the module where the door's `cors`
lets them, as they ask for the events.
"""

from pathlib import Path

from quart import Blueprint, redirect
from quart.typing import ResponseReturnValue
from quart.wrappers import Response

from gossamer_gateway.page import files_of

FOLDER = Path(__file__).parent / "static"


def create_blueprint() -> Blueprint:
    """`/live/` and the files under it."""
    routes = Blueprint("live", __name__)
    file = files_of(FOLDER)

    async def index() -> Response:
        return await file("index.html")

    async def slash() -> ResponseReturnValue:
        return redirect("/live/")

    routes.add_url_rule("/live", "slash", slash, methods=["GET"])
    routes.add_url_rule("/live/", "index", index, methods=["GET"])
    routes.add_url_rule("/live/<name>", "file", file, methods=["GET"])
    return routes
