"""Who somebody is, and what he may do. Pure.

A *grant* is a role, perhaps within limits: on some paths, for some processes. Rules:

1. `admin` implies every role, within the limits of its grant. No other role implies another: who
   works jobs need not read what others keep in their instances.
2. Limits are patterns of whole texts; `*` stands for any characters, slashes included.
3. A grant that is limited to processes helps only where the process is known. Who knows it, a
   handler mostly, asks by `asking`; `rules` says which handlers have to.

A door answers for the path: it hands on `on_path(path)`, from which grants of other paths are gone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What somebody may do."""

    READ = "read"
    """See processes, instances, jobs, variables and history."""
    WORK = "work"
    """Take jobs and settle them."""
    START = "start"
    """Start, change and end instances, correlate messages, send signals."""
    DEPLOY = "deploy"
    """Deploy and delete processes."""
    ADMIN = "admin"
    """All of it, and routes, overrides and keys."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A role. `processes` and `paths` empty: for all of them."""

    role: Role
    processes: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    def gives(self, role: Role) -> bool:
        return self.role is role or self.role is Role.ADMIN


class Principal:
    """Somebody who was let in. Its grants do not change.

    Attributes:
        name: his name among those who are known in the same way.
        known_by: `api key`, `token`, `certificate` or `nothing`.
        grants: what he may.
        was_asked: whether a handler asked about a process; see `asgi`.
    """

    __slots__ = ("_everywhere", "_somewhere", "grants", "known_by", "name", "was_asked")

    def __init__(self, name: str, known_by: str, grants: Iterable[Grant]) -> None:
        self.name = name
        self.known_by = known_by
        self.grants = tuple(grants)
        self.was_asked = False
        here = [one for one in self.grants if not one.paths]
        self._everywhere = frozenset(
            role for role in Role for one in here if one.gives(role) and not one.processes
        )
        self._somewhere = frozenset(role for role in Role for one in here if one.gives(role))

    def on_path(self, path: str) -> "Principal":
        """The same as far as it goes on a path: what a handler of that path may ask."""
        if all(not one.paths and not one.processes for one in self.grants):
            return self
        return Principal(
            self.name,
            self.known_by,
            [
                Grant(one.role, one.processes)
                for one in self.grants
                if not one.paths or fits(one.paths, path)
            ],
        )

    def may(self, role: Role, *, process: str | None = None) -> bool:
        """Whether he has a role for a process, by its id; None: for all processes.

        A grant limited to paths counts only after `on_path`.
        """
        self.was_asked = True
        if role in self._everywhere:
            return True
        if process is None or role not in self._somewhere:
            return False
        return any(
            one.gives(role) and not one.paths and fits(one.processes, process)
            for one in self.grants
        )

    def may_for_some(self, role: Role) -> bool:
        """Whether he has a role for one process at least."""
        return role in self._somewhere

    def __repr__(self) -> str:
        return f"<{self.known_by} {self.name!r}>"


ANYBODY = Principal("anybody", "nothing", ())
"""Who brought no credentials to what needs none."""

EVERYBODY = Principal("everybody", "nothing", (Grant(Role.ADMIN),))
"""Who comes to a gateway without authentication."""


def fits(patterns: Iterable[str], text: str) -> bool:
    """Whether one of the patterns is of the text."""
    return any(_fits(one, text) for one in patterns)


def _fits(pattern: str, text: str) -> bool:
    """Takes each part at its first place, as no later one can be better: no text takes long."""
    if "*" not in pattern:
        return pattern == text
    first, *parts, last = pattern.split("*")
    end = len(text) - len(last)
    at = len(first)
    if end < at or not text.startswith(first) or not text.endswith(last):
        return False
    for part in parts:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
