"""What a handler asks that alone knows whose process a request is about: may who asks do it there?

The door leaves here, for the length of a request, who was let in and what for. Rules:

1. Only a row with `Reach.ASKED` is asked about; of all others the door itself has decided.
2. A handler asks before it changes anything or shows anything: an effect is not taken back.
3. What cannot be found out counts as every process, and who is limited is refused.

Where no door stands, as in tests of a dialect alone, everything is allowed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from gossamer_gateway.door.principals import Principal, Role
from gossamer_gateway.door.rules import Need, Reach
from gossamer_gateway.errors import Forbidden

_ADMITTED: ContextVar[tuple[Principal, Need] | None] = ContextVar("admitted", default=None)


@contextmanager
def admitted(principal: Principal, need: Need) -> Iterator[None]:
    """For the length of a block this is who asks, also in tasks that it starts."""
    token = _ADMITTED.set((principal, need))
    try:
        yield
    finally:
        _ADMITTED.reset(token)


def is_limited() -> bool:
    """Whether it matters which process this is about: finding that out may cost a question."""
    found = _ADMITTED.get()
    if found is None:
        return False
    principal, need = found
    return need.reach is Reach.ASKED and need.role is not None and not principal.may(need.role)


def check_process(process: str | None) -> None:
    """Asks about a process by its id; None: which one nobody knows, or all. Raises: Forbidden."""
    found = _ADMITTED.get()
    if found is None:
        return
    principal, need = found
    if need.reach is not Reach.ASKED or need.role is None:
        return
    if principal.may(need.role, process=process):
        return
    whom = f"{principal.known_by} {principal.name}"
    if process is None:
        raise Forbidden(
            f"The {whom} has the role {need.role} for some processes alone, and the request does "
            "not say which it is about"
        )
    raise Forbidden(f"The {whom} does not have the role {need.role} for the process {process}")


def check_role(role: Role, process: str) -> None:
    """Asks about a role that a request needs beside that of its row. Raises: Forbidden."""
    found = _ADMITTED.get()
    if found is None:
        return
    principal, _ = found
    if not principal.may(role, process=process):
        whom = f"{principal.known_by} {principal.name}"
        raise Forbidden(f"The {whom} does not have the role {role} for the process {process}")
