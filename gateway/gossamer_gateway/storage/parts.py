"""Tables that grow: each part is made by numbered steps, and a row says how many were taken.

A new database takes all steps, an older one those that it lacks: in the transaction that opens it,
so that it is of the newest form afterwards, or as it was. Steps are never changed once somebody may
have taken them; the last line of the list is where a form grows. What has taken more steps than are
known here was written by a newer Gossamer and is refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gossamer_gateway.errors import InputError
from gossamer_gateway.storage.port import Rows

Step = str | Callable[[Rows], None]
"""Statements that make or change tables, divided by `;`, or what must be done with rows."""

TABLE = (
    "CREATE TABLE IF NOT EXISTS gossamer_parts (name TEXT PRIMARY KEY, version INTEGER NOT NULL)"
)


@dataclass(frozen=True, slots=True)
class Part:
    """Tables that belong together. `subject`: as sentences call them."""

    name: str
    subject: str
    steps: Sequence[Step]


def grow(rows: Rows, part: Part, whose: str) -> None:
    """Takes the steps that are missing, within the caller's transaction.

    Args:
        whose: how the refusal begins, as `The gateway's file has`.

    Raises: InputError when there are more than we know.
    """
    rows.execute(TABLE)
    found = rows.execute(
        "SELECT version FROM gossamer_parts WHERE name = ?", (part.name,)
    ).fetchone()
    version = found[0] if found else 0
    if version > len(part.steps):
        raise InputError(
            f"{whose} {part.subject} of version {version}, and {len(part.steps)} is read here; use "
            "the Gossamer that wrote it."
        )
    for step in part.steps[version:]:
        if isinstance(step, str):
            for statement in step.split(";"):
                if statement.strip():
                    rows.execute(statement)
        else:
            step(rows)
    rows.execute(
        "INSERT INTO gossamer_parts (name, version) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET"
        " version = excluded.version",
        (part.name, len(part.steps)),
    )
