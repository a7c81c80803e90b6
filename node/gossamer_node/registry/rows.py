"""A row of the registry: one version of a service, and which of two decisions on it counts.

Of two decisions the one with the higher number counts, in whatever order they come in, and of two
with one number the one whose hash is higher, so that all nodes agree. A decision of the node's own
person has no order, its number is the time, and it never leaves the node.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from gossamer_node.service.spec import ServiceSpec

COLUMNS = (
    "name, version, number, there, description, module, size, profile, topics, spec, word, here, "
    "refused, chosen, added_ms, used_ms, files, files_size"
)
"""As `row_of` takes them, and `values_of` but for `chosen` gives them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One version of a service.

    Attributes:
        number: of the decision that made the row what it is: the time in milliseconds, or more.
        there: False for a version that was removed.
        description: service.yaml; empty until it has come, and for what was removed.
        module: the module's SHA-256 in hex.
        topics: names, one a line.
        spec: what service.yaml says, packed (`packed`).
        word: the operator's order; None for a decision of this node's own.
        here: whether description and module have come.
        refused: why this node does not serve it; empty when it does.
        chosen: whether it is the version of its name that works here.
        files: SHA-256 in hex of its proto-files, packed into one; empty where it has none.
        size, files_size: of the module, and of the packed files, in bytes.
    """

    name: str
    version: str
    number: int
    there: bool
    description: bytes = b""
    module: str = ""
    size: int = 0
    profile: str = ""
    topics: str = ""
    spec: bytes = b""
    word: bytes | None = None
    here: bool = False
    refused: str = ""
    chosen: bool = False
    added_ms: int = 0
    used_ms: int = 0
    files: str = ""
    files_size: int = 0

    @property
    def label(self) -> str:
        """As a person names it."""
        return f"{self.name}@{self.version}"


class Facts(NamedTuple):
    """What a row says that a later decision on its version is compared with."""

    number: int
    there: bool
    word: bytes | None
    chosen: bool


def topics_of(spec: ServiceSpec) -> str:
    """The topics of a service as a row has them."""
    return "\n".join(one.name for one in spec.topics)


def overrules(row: Row, before: Facts, counts: Callable[[bytes], bool], *, over_own: bool) -> bool:
    """Whether a decision counts where there was one before. See `store.Registry.put`."""
    if before.word is None and over_own:
        return True
    if before.word is not None and row.word is not None and not counts(before.word):
        return row.word != before.word
    if row.number == before.number and row.word is not None and before.word is not None:
        return mark_of(row.word) > mark_of(before.word)
    return row.number > before.number


def mark_of(word: bytes) -> int:
    """What an order adds to the registry's digest."""
    return int.from_bytes(sha256(word).digest()[:8], "big")


def row_of(values: tuple[Any, ...]) -> Row:
    """From what the database has in `COLUMNS`."""
    (name, version, number, there, description, module, size, profile, topics, *rest) = values
    spec, word, here, refused, chosen, added_ms, used_ms, files, files_size = rest
    return Row(
        name,
        version,
        number,
        bool(there),
        description,
        module,
        size,
        profile,
        topics,
        spec,
        word,
        bool(here),
        refused,
        bool(chosen),
        added_ms,
        used_ms,
        files,
        files_size,
    )


def values_of(row: Row) -> tuple[object, ...]:
    """For `COLUMNS`, but for `chosen`, which no decision says."""
    return (
        row.name,
        row.version,
        row.number,
        row.there,
        row.description,
        row.module,
        row.size,
        row.profile,
        row.topics,
        row.spec,
        row.word,
        row.here,
        row.refused,
        row.added_ms,
        row.used_ms,
        row.files,
        row.files_size,
    )
