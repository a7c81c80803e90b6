"""The operations page at `/`: plain files, which talk to `/v1` as any other program would.

The files are served as they are, with headers that let a page of ours do what it does and nothing
else: scripts and styles from here alone, none inline, no frames. So a name of a process or a
sentence of a worker, whatever is in it, stays text. The page has no rights of its own: where the
door asks for a key, a person enters one, and it is kept in the tab's `sessionStorage` until that is
closed. No cookie, so no other site can make a browser act with it.

`vendor/bpmn.js` is bpmn-js, bundled by `tools/build_page.py`; its licence is beside it.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from quart import Blueprint, abort
from quart.wrappers import Response

FOLDER = Path(__file__).parent / "static"

MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}


File = Callable[[str], Awaitable[Response]]


def files_of(folder: Path) -> File:
    """Answers with a file below a folder, by its path there; 404 for what is none of a page's.

    The files are read at once, and kept.
    """
    contents = {
        one.relative_to(folder).as_posix(): (MEDIA[one.suffix], one.read_bytes())
        for one in sorted(folder.rglob("*"))
        if one.suffix in MEDIA and one.is_file()
    }

    async def file(name: str) -> Response:
        if name not in contents:
            abort(404)
        media, content = contents[name]
        answer = Response(content, content_type=media)
        answer.headers.update(HEADERS)
        return answer

    return file


def create_blueprint() -> Blueprint:
    """`/`, `/v1/docs` and the files under `/page`."""
    routes = Blueprint("page", __name__)
    file = files_of(FOLDER)

    async def index() -> Response:
        return await file("index.html")

    async def docs() -> Response:
        return await file("docs.html")

    async def icon() -> Response:
        return await file("icon.svg")

    routes.add_url_rule("/", "index", index, methods=["GET"])
    routes.add_url_rule("/v1/docs", "docs", docs, methods=["GET"])
    routes.add_url_rule("/favicon.ico", "icon", icon, methods=["GET"])
    routes.add_url_rule("/page/<path:name>", "file", file, methods=["GET"])
    return routes
