"""Processes as the engines have them: one row for each version that was deployed.

They come from deployments through the gateway and from engines that were asked. An engine that is
not named here may have a process all the same, deployed past the gateway.

All functions read and write within the caller's transaction.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass

from gossamer_gateway.storage.port import Rows

SCHEMA = """
CREATE TABLE definition (
    engine TEXT NOT NULL, id TEXT NOT NULL, process TEXT NOT NULL, version INTEGER NOT NULL,
    deployment TEXT NOT NULL,
    PRIMARY KEY (id, engine)
);
CREATE INDEX definition_process ON definition (process, engine, version);
CREATE INDEX definition_deployment ON definition (deployment)
"""

_COLUMNS = "engine, id, process, version, deployment"


@dataclass(frozen=True, slots=True)
class Definition:
    """One version of a process in one engine.

    Attributes:
        engine, id: whose, and its id there; Camunda 8 calls it the definition's key.
        process: its id in the model, which Camunda 7 calls its key.
        deployment: the id of what it came with.
    """

    engine: str
    id: str
    process: str
    version: int
    deployment: str


def deployed(rows: Rows, definitions: Iterable[Definition]) -> None:
    """An engine has these. What is known already may be told again."""
    rows.executemany(
        f"INSERT INTO definition ({_COLUMNS}) VALUES (?, ?, ?, ?, ?) "  # noqa: S608
        "ON CONFLICT (id, engine) DO NOTHING",
        [astuple(one) for one in definitions],
    )


def definition(rows: Rows, id: str) -> Definition | None:
    """The definition of an id; None when none is known, or two are."""
    found = rows.execute(
        f"SELECT {_COLUMNS} FROM definition WHERE id = ? LIMIT 2",  # noqa: S608
        (id,),
    ).fetchall()
    return Definition(*found[0]) if len(found) == 1 else None


def newest(rows: Rows, engine: str, process: str) -> Definition | None:
    """The last known version of a process in an engine."""
    found = rows.execute(
        f"SELECT {_COLUMNS} FROM definition WHERE process = ? AND engine = ? "  # noqa: S608
        "ORDER BY version DESC LIMIT 1",
        (process, engine),
    ).fetchone()
    return Definition(*found) if found else None


def all_of(rows: Rows, engine: str, definitions_max: int) -> list[Definition]:
    """An engine's known definitions, by process and version."""
    found = rows.execute(
        f"SELECT {_COLUMNS} FROM definition WHERE engine = ? "  # noqa: S608
        "ORDER BY process, version, id LIMIT ?",
        (engine, definitions_max),
    )
    return [Definition(*row) for row in found]


def engine_of_deployment(rows: Rows, deployment: str) -> str | None:
    """Which engine took a deployment; None when none is known to have, or two are."""
    found = rows.execute(
        "SELECT DISTINCT engine FROM definition WHERE deployment = ? LIMIT 2", (deployment,)
    ).fetchall()
    return found[0][0] if len(found) == 1 else None
