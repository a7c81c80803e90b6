"""Templates: what a step gets and gives, made of what is known in its run. Pure.

A template is any JSON. A text that begins with `$.` is a path and stands for the value there; one
that begins with `$$.` is that text with one `$` less. A path has names and whole numbers in
brackets, as `$.steps.charge.receipts[0].id`; a name of other characters is written in quotes, as
`$.steps["com.acme.charge"]`. At its root are `input` (the run's), `steps` (what
each has given, by id), `previous` (what came along) and, in an output template, `result` (what the
worker answered). What is not there is an error, not null: a typing mistake is found in the first
run, not in the accounts.
"""

import re
from functools import lru_cache
from typing import Any

from gossamer_gateway.errors import GatewayError

_PART = re.compile(r"""\.([A-Za-z_][\w-]*)|\[(?:(\d{1,6})|"([^"\\]+)"|'([^'\\]+)')\]""", re.ASCII)

ROOTS = ("input", "steps", "previous", "result")

PATH_CHARACTERS_MAX = 1_000


class MappingFailed(GatewayError):
    """A path that leads nowhere in this run. The blame is the definition's or the data's."""


def is_path(text: str) -> bool:
    """Whether a text stands for a value."""
    return text.startswith("$.")


@lru_cache(maxsize=4_096)
def parts(path: str) -> tuple[str | int, ...]:
    """The names and numbers of a path.

    Raises: ValueError for what is none.
    """
    found: list[str | int] = []
    at = 1
    while (part := _PART.match(path, at)) is not None:
        name, number, *quoted = part.groups()
        found.append(int(number) if number else name or quoted[0] or quoted[1])
        at = part.end()
    if not path.startswith("$.") or at < len(path) or at > PATH_CHARACTERS_MAX:
        raise ValueError(
            f"{path[:60]!r} is no path; one is written like $.steps.charge.items[0].id"
        )
    return tuple(found)


def find(path: str, scope: Any) -> Any:
    """The value at a path.

    Raises: MappingFailed where there is none.
    """
    value = scope
    for part in parts(path):
        try:
            if isinstance(part, int) != isinstance(value, list):
                raise KeyError(part)
            value = value[part]
        except (KeyError, IndexError, TypeError):
            raise MappingFailed(f"there is nothing at {path}: {part!r} is missing") from None
    return value


def fill(template: Any, scope: Any) -> Any:
    """A template with its paths replaced.

    Raises: MappingFailed.
    """
    if isinstance(template, str):
        if is_path(template):
            return find(template, scope)
        return template[1:] if template.startswith("$$.") else template
    if isinstance(template, dict):
        return {name: fill(value, scope) for name, value in template.items()}
    if isinstance(template, list):
        return [fill(value, scope) for value in template]
    return template
