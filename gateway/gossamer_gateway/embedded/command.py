"""Run the embedded engine, for work without a Camunda.

A BPMN engine in one process and one SQLite file, which speaks Camunda 7's REST dialect under
/engine-rest: Gossamer's nodes and other external-task clients of Camunda 7 can use it. What it has
answered survives a kill at any moment. When it serves, it prints one line of JSON with its url,
data and pid. SIGTERM and Ctrl-C stop it in order.

examples:
  gossamer engine                             on 127.0.0.1:8070, kept in gossamer-engine.sqlite
  gossamer engine --port 0 --url-file url     on a free port; its URL is written to the file
  gossamer engine --host 0.0.0.0 --password-file secret
                                              for other machines: every request needs the user
                                              and password of its one line, user:password
"""

import argparse
import json
import os
import stat
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import trio

from gossamer_gateway.embedded import server
from gossamer_gateway.errors import InputError
from gossamer_gateway.serving import listen, url_of

PORT_DEFAULT = 8070
"""Next to 8080, where a Camunda 7 usually is."""
DATA_DEFAULT = Path("gossamer-engine.sqlite")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument(
        "--data", type=Path, default=DATA_DEFAULT, metavar="FILE",
        help="the engine's file, made when it is missing (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--host", default="127.0.0.1",
        help="address to listen on; one that other machines can reach needs --password-file "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=int, default=PORT_DEFAULT,
        help="port to listen on, 0 for a free one (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--password-file", type=Path, metavar="FILE",
        help="holds user:password for HTTP basic authentication; readable by its owner alone",
    )  # fmt: skip
    parser.add_argument(
        "--url-file", type=Path, metavar="FILE",
        help="where to write the engine's URL when it serves",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT.

    Raises: InputError for a file, address or password that can't be used; nothing was started.
    """
    credentials = None
    if arguments.password_file is not None:
        credentials = _read_credentials(arguments.password_file)
    elif not _is_loopback(arguments.host):
        raise InputError(
            f"{arguments.host} can be reached from other machines, so the engine needs "
            "--password-file; or listen on 127.0.0.1."
        )
    options = "--port or --host"
    with listen(arguments.host, arguments.port, who="The engine", options=options) as listener:
        url = f"{url_of(listener)}/engine-rest"
        ready = partial(_announce, url, arguments.data, arguments.url_file)
        trio.run(server.run, arguments.data, listener, credentials, ready)
    return 0


def _announce(url: str, data: Path, url_file: Path | None) -> None:
    if url_file is not None:
        unfinished = url_file.with_name(f"{url_file.name}.{os.getpid()}")
        unfinished.write_text(url)
        unfinished.replace(url_file)  # whoever waits for the file finds it whole
    print(json.dumps({"url": url, "data": str(data), "pid": os.getpid()}), flush=True)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_credentials(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The password file {path} can't be read: {error}.") from error
    if stat.S_IMODE(mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputError(f"The password file {path} is open to others; run: chmod 600 {path}")
    user, colon, password = text.partition(":")
    if not (user and colon and password) or "\n" in text:
        raise InputError(f"The password file {path} must hold one line: user:password")
    return text
