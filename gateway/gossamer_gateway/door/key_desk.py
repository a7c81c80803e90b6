"""API keys where they are made and used: the keyring kept new, and a person's orders carried out.

An order is a small mapping, as `key_command` writes it and the control socket or a request brings
it; `carry_out` is the command that does it, on whatever storage there is. A running gateway has its
SQLite file for itself, so orders for it go to its control socket (`converse`); without one, the
command line opens the storage and does the same there.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import trio

from gossamer_gateway.door import api_keys
from gossamer_gateway.door.api_keys import LOOK_MS, Keyring
from gossamer_gateway.door.principals import Grant, Role
from gossamer_gateway.errors import GatewayError, InputError
from gossamer_gateway.storage.port import Rows, Storage
from gossamer_node import logs

DAY_MS = 86_400_000
DAYS_MAX = 36_500
PATTERNS_MAX = 100

log = logs.get("door")

CONVERSATION = "api-key"
"""The word on the control socket; an order in JSON follows."""

Order = Mapping[str, Any]


def carry_out(rows: Rows, now_ms: int, order: Order) -> dict[str, object]:
    """Does what an order says. Raises: InputError."""
    match order:
        case {"do": "new", "name": str(name), "roles": [*roles]}:
            days = order.get("days")
            if days is not None and not (type(days) is int and 0 < days <= DAYS_MAX):
                raise InputError(f"A key lives for 1 to {DAYS_MAX} days, or without an end.")
            ends_ms = None if days is None else now_ms + days * DAY_MS
            grants = [read_grant(str(one)) for one in roles]
            return {"key": api_keys.make(rows, now_ms, name, grants, ends_ms)}
        case {"do": "list"}:
            return {
                "keys": [
                    {
                        "id": one.id,
                        "name": one.name,
                        "roles": [written_grant(grant) for grant in one.grants],
                        "made_ms": one.made_ms,
                        "expires_ms": one.expires_ms,
                        "state": one.state(now_ms),
                    }
                    for one in api_keys.read_all(rows)
                ]
            }
        case {"do": "revoke", "name": str(name)}:
            return {"changed": api_keys.revoke(rows, now_ms, name)}
        case {"do": "remove", "name": str(name)}:
            api_keys.remove(rows, name)
            return {"changed": True}
    raise InputError("This is no order about keys.")


def read_grant(text: str) -> Grant:
    """A role as `--role` writes it: `ROLE`, `ROLE:PROCESS,…`, `ROLE@PATH,…`, or both.

    Raises: InputError.
    """
    words, _, paths = text.partition("@")
    role, _, processes = words.partition(":")
    if role not in set(Role):
        raise InputError(
            f"{role!r} is no role; write {', '.join(Role)}, with limits as in "
            "`start:hotel,pay*` or `read@/engine-rest/*`."
        )
    grant = Grant(Role(role), _patterns(processes), _patterns(paths))
    if (":" in words and not grant.processes) or ("@" in text and not grant.paths):
        raise InputError(f"{text!r} has a limit that names nothing; leave it out or write it.")
    return grant


def written_grant(grant: Grant) -> str:
    """The reverse of `read_grant`."""
    processes = f":{','.join(grant.processes)}" if grant.processes else ""
    paths = f"@{','.join(grant.paths)}" if grant.paths else ""
    return f"{grant.role}{processes}{paths}"


def _patterns(text: str) -> tuple[str, ...]:
    found = tuple(part for part in text.split(",") if part)
    if len(found) > PATTERNS_MAX:
        raise InputError(f"A role has at most {PATTERNS_MAX} limits; make them shorter with `*`.")
    return found


class KeyDesk:
    """Keeps a keyring as the storage has it."""

    def __init__(self, storage: Storage, keyring: Keyring) -> None:
        self._storage = storage
        self._keyring = keyring

    async def run(self) -> None:
        """Looks for changes, until cancelled."""
        silent = False
        while True:
            try:
                await self.look()
                silent = False
            except GatewayError as error:
                if not silent:
                    log.warning("the API keys could not be read again", reason=error)
                silent = True
            await trio.sleep(LOOK_MS / 1_000)

    async def look(self) -> None:
        """Takes the keys that there are now. Raises: StorageFailed, Overloaded."""
        seen = self._keyring.changes

        def read(rows: Rows, now_ms: int) -> tuple[int, Sequence[api_keys.KeyRow] | None]:
            changes = api_keys.changes(rows)
            return changes, None if changes == seen else api_keys.read_all(rows)

        changes, keys = await self._storage.submit(read)
        if keys is not None:
            self._keyring.take(changes, keys)

    async def order(self, order: Order) -> dict[str, object]:
        """Carries out an order; it counts here when this returns. Raises: as `carry_out`."""

        def do(rows: Rows, now_ms: int) -> dict[str, object]:
            return carry_out(rows, now_ms, order)

        answer = await self._storage.submit(do)
        await self.look()
        return answer

    async def converse(
        self, argument: str, tell: Callable[[Mapping[str, object]], Awaitable[None]]
    ) -> None:
        """Answers on the control socket: an order in JSON, and one line."""
        try:
            order = json.loads(argument)
            await tell(await self.order(order if isinstance(order, dict) else {}))
        except (GatewayError, ValueError, RecursionError) as error:
            await tell({"refused": str(error)})
