"""The four microservices of the hotel: booking, room, restaurant and client.

Each is a small HTTP application with a SQLite file of its own; none knows of processes, engines
or jobs. A POST carries an `Idempotency-Key` (`store` has the rule). An answer is JSON; a refused
request gets `{"error": sentence}`. The process uses booking, room and client; the restaurant
takes table reservations for whoever extends it.

    python -m gossamer_hotel.microservices --data DIRECTORY [--port booking=5001 ...]
"""

import argparse
import json
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from functools import partial
from pathlib import Path

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response, request
from quart_trio import QuartTrio

from gossamer_hotel import rooms
from gossamer_hotel.store import Refused, Reply, Store
from gossamer_node.errors import InputError

SERVICES = ("booking", "room", "restaurant", "client")

BODY_BYTES_MAX = 64 * 2**10
"""Largest request; a reservation has a few hundred bytes."""

KEEP_ALIVE_S = 60.0
"""Longer than HTTP clients keep an idle connection, so that they close it and no request meets a
connection that is just being closed."""

SCHEMAS = {
    "booking": """
CREATE TABLE IF NOT EXISTS bookings (
    id INTEGER PRIMARY KEY, reservation_id TEXT NOT NULL, client_id TEXT NOT NULL,
    room_id TEXT NOT NULL, check_in TEXT NOT NULL, check_out TEXT NOT NULL);
""",
    "room": rooms.SCHEMA,
    "restaurant": """
CREATE TABLE IF NOT EXISTS tables (
    id INTEGER PRIMARY KEY, reservation_id TEXT NOT NULL, day TEXT NOT NULL,
    guests INTEGER NOT NULL);
""",
    "client": """
CREATE TABLE IF NOT EXISTS clients (
    id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, first_name TEXT NOT NULL,
    last_name TEXT NOT NULL, phone TEXT, reservation_id TEXT NOT NULL);
""",
}

RESTAURANT_SEATS = 40
"""Per day."""


async def serve_microservices(
    data_dir: Path,
    *,
    ports: Mapping[str, int] | None = None,
    task_status: trio.TaskStatus[dict[str, str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves all four on 127.0.0.1 until cancelled.

    Args:
        data_dir: where the SQLite files are, or will be.
        ports: by service name; 0, or a name left out, takes a free one.
        task_status: told the origin of each service, `{"booking": "http://127.0.0.1:5001", …}`,
            when all of them answer.

    Raises:
        InputError: the directory or a port cannot be used; nothing is served then.
    """
    with ExitStack() as stack:
        listeners = {}
        for name in SERVICES:
            listeners[name] = stack.enter_context(_listen(name, (ports or {}).get(name, 0)))
        stores = _open_stores(data_dir, stack)
        origins = {
            name: f"http://127.0.0.1:{listener.getsockname()[1]}"
            for name, listener in listeners.items()
        }
        async with trio.open_nursery() as nursery:
            for name, make in APPLICATIONS.items():
                config = Config()
                config.bind = [f"fd://{listeners[name].detach()}"]
                config.errorlog = None
                config.keep_alive_timeout = KEEP_ALIVE_S
                await nursery.start(partial(serve, make(stores[name]), config))
            task_status.started(origins)


def _open_stores(data_dir: Path, stack: ExitStack) -> dict[str, Store]:
    stores = {}
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        for name in SERVICES:
            stores[name] = Store(data_dir / f"{name}.sqlite", SCHEMAS[name])
            stack.callback(stores[name].close)
    except (OSError, sqlite3.Error) as error:
        raise InputError(
            f"the hotel's databases cannot be opened in {data_dir}: {error}; "
            "choose another directory."
        ) from error
    return stores


def _listen(name: str, port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise InputError(
            f"the {name} service cannot listen on port {port}: {error.strerror}; choose another."
        ) from error


def booking_application(store: Store) -> QuartTrio:
    """POST /api/booking/create."""
    application = _application("booking")

    @application.post("/api/booking/create")
    async def create() -> Response:
        wanted = await _body("reservation_id", "client_id", "room_id", "check_in", "check_out")
        _nights(wanted["check_in"], wanted["check_out"])

        def effect(database: sqlite3.Connection) -> Reply:
            cursor = database.execute(
                "INSERT INTO bookings (reservation_id, client_id, room_id, check_in, check_out)"
                " VALUES (:reservation_id, :client_id, :room_id, :check_in, :check_out)",
                wanted,
            )
            return Reply(201, {"booking_id": f"B-{cursor.lastrowid}", "status": "confirmed"})

        return await _once(store, wanted, effect)

    return application


def room_application(store: Store) -> QuartTrio:
    """GET /api/room/availability and POST /api/room/block."""
    application = _application("room")

    @application.get("/api/room/availability")
    async def availability() -> Response:
        wanted = _named(request.args, "room_type", "check_in", "check_out")
        stay = _nights(wanted["check_in"], wanted["check_out"])
        room = await store.read(
            lambda database: rooms.free_room(database, wanted["room_type"], stay)
        )
        return _answer(Reply(200, {"available": room is not None, "room_id": room}))

    @application.post("/api/room/block")
    async def block() -> Response:
        """Blocks the room that was asked for, or another of its type if that one is taken."""
        wanted = await _body("reservation_id", "room_type", "room_id", "check_in", "check_out")
        stay = _nights(wanted["check_in"], wanted["check_out"])

        def effect(database: sqlite3.Connection) -> Reply:
            room = rooms.free_room(database, wanted["room_type"], stay, wanted["room_id"])
            if room is None:
                return Reply(409, {"error": f"no {wanted['room_type']} is free for these nights"})
            rooms.block(database, wanted["reservation_id"], room, stay)
            return Reply(201, {"room_id": room})

        return await _once(store, wanted, effect)

    return application


def restaurant_application(store: Store) -> QuartTrio:
    """POST /api/restaurant/reserve."""
    application = _application("restaurant")

    @application.post("/api/restaurant/reserve")
    async def reserve() -> Response:
        wanted = await _body("reservation_id", "day", "guests")
        _date(wanted["day"])
        if not wanted["guests"].isdecimal() or int(wanted["guests"]) < 1:
            raise Refused(400, f"guests must be a number from 1, not {wanted['guests']!r}")

        def effect(database: sqlite3.Connection) -> Reply:
            (seated,) = database.execute(
                "SELECT coalesce(sum(guests), 0) FROM tables WHERE day = :day", wanted
            ).fetchone()
            if seated + int(wanted["guests"]) > RESTAURANT_SEATS:
                return Reply(409, {"error": f"the restaurant is full on {wanted['day']}"})
            cursor = database.execute(
                "INSERT INTO tables (reservation_id, day, guests)"
                " VALUES (:reservation_id, :day, :guests)",
                wanted,
            )
            return Reply(201, {"table_id": f"T-{cursor.lastrowid}"})

        return await _once(store, wanted, effect)

    return application


def client_application(store: Store) -> QuartTrio:
    """GET /api/client/search and POST /api/client/create."""
    application = _application("client")

    @application.get("/api/client/search")
    async def search() -> Response:
        wanted = _named(request.args, "email")
        client = await store.read(lambda database: _client_id(database, wanted["email"]))
        return _answer(Reply(200, {"found": client is not None, "client_id": client}))

    @application.post("/api/client/create")
    async def create() -> Response:
        """Creates the client, or gives back the one with this e-mail."""
        wanted = await _body("reservation_id", "first_name", "last_name", "email", "phone")

        def effect(database: sqlite3.Connection) -> Reply:
            cursor = database.execute(
                "INSERT OR IGNORE INTO clients"
                " (reservation_id, first_name, last_name, email, phone)"
                " VALUES (:reservation_id, :first_name, :last_name, :email, :phone)",
                wanted,
            )
            status = 201 if cursor.rowcount else 200
            return Reply(status, {"client_id": _client_id(database, wanted["email"])})

        return await _once(store, wanted, effect)

    return application


APPLICATIONS = {
    "booking": booking_application,
    "room": room_application,
    "restaurant": restaurant_application,
    "client": client_application,
}


def _client_id(database: sqlite3.Connection, email: str) -> str | None:
    row = database.execute("SELECT id FROM clients WHERE email = ?", (email,)).fetchone()
    return f"C-{row[0]}" if row else None


def _application(name: str) -> QuartTrio:
    application = QuartTrio(f"{__name__}.{name}", static_folder=None)
    application.config["MAX_CONTENT_LENGTH"] = BODY_BYTES_MAX

    @application.errorhandler(Refused)
    async def refused(error: Refused) -> Response:
        return _answer(Reply(error.status, {"error": str(error)}))

    return application


def _answer(reply: Reply) -> Response:
    return Response(json.dumps(reply.body), reply.status, content_type="application/json")


async def _once(
    store: Store, wanted: Mapping[str, str], effect: Callable[[sqlite3.Connection], Reply]
) -> Response:
    key = request.headers.get("Idempotency-Key", "")
    return _answer(await store.once(key, {"path": request.path, **wanted}, effect))


async def _body(*names: str) -> dict[str, str]:
    body = await request.get_json(force=True, silent=True)
    if not isinstance(body, dict):
        raise Refused(400, "send a JSON object")
    return _named(body, *names)


def _named(fields: Mapping[str, object], *names: str) -> dict[str, str]:
    """The named fields as text. Raises: Refused (400) naming the first that is missing."""
    for name in names:
        if not isinstance(fields.get(name), str | int):
            raise Refused(400, f"{name} is missing")
    return {name: str(fields[name]) for name in names}


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Refused(400, f"{text!r} is no date; write YYYY-MM-DD") from None


def _nights(check_in: str, check_out: str) -> list[str]:
    try:
        return rooms.nights(_date(check_in), _date(check_out))
    except ValueError as error:
        raise Refused(400, str(error)) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves the microservices until the terminal's Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m gossamer_hotel.microservices", description="The hotel's microservices."
    )
    parser.add_argument("--data", type=Path, required=True, help="directory of the databases")
    parser.add_argument(
        "--port",
        action="append",
        default=[],
        metavar="SERVICE=PORT",
        help=f"port of one of {', '.join(SERVICES)}; a free one where none is given",
    )
    chosen = parser.parse_args(arguments)
    status = 0
    try:
        trio.run(_main, chosen.data, _ports(chosen.port))
    except* InputError as group:
        print(f"gossamer_hotel: {group.exceptions[0]}", file=sys.stderr)
        status = InputError.exit_status
    return status


def _ports(options: Sequence[str]) -> dict[str, int]:
    ports = {}
    for option in options:
        name, _, port = option.partition("=")
        if name not in SERVICES or not port.isdecimal() or int(port) >= 2**16:
            raise InputError(
                f"--port {option} is not SERVICE=PORT; "
                f"a service is one of {', '.join(SERVICES)}, a port a number below 65536."
            )
        ports[name] = int(port)
    return ports


async def _main(data_dir: Path, ports: Mapping[str, int]) -> None:
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as stops:
            origins = await nursery.start(partial(serve_microservices, data_dir, ports=ports))
            for name, origin in origins.items():
                print(f"{name}: {origin}", flush=True)
            await anext(aiter(stops))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    sys.exit(main())
