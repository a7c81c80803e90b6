"""The operations page at `/`: plain files, which talk to `/v1` as any other program would.

The files are served as they are, with headers that let a page of ours do what it does and nothing
else: scripts and styles from here alone, none inline, no frames. So a name of a process or a
sentence of a worker, whatever is in it, stays text. The page has no rights of its own: where the
door asks for a key, a person enters one, and it is kept in the tab's `sessionStorage` until that is
closed. No cookie, so no other site can make a browser act with it.

`vendor/bpmn.js` is bpmn-js, bundled by `tools/build_page.py`; its licence is beside it.
"""

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


def create_blueprint() -> Blueprint:
    """`/`, `/v1/docs` and the files under `/page`."""
    routes = Blueprint("page", __name__)
    files = {
        str(one.relative_to(FOLDER)): one
        for one in sorted(FOLDER.rglob("*"))
        if one.suffix in MEDIA and one.is_file()
    }
    contents = {name: one.read_bytes() for name, one in files.items()}

    async def file(name: str) -> Response:
        if name not in contents:
            abort(404)
        answer = Response(contents[name], content_type=MEDIA[files[name].suffix])
        answer.headers.update(HEADERS)
        return answer

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
