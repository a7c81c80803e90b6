"""Settings and their history as rows, for gateways that have a file or share a database.

Every change that counts here takes the next number of one counter, in the transaction that writes
it: so changes are in one order, and who has read up to a number has missed nothing below it. The
history is only ever added to. Gateways that share a database read each other's changes from there
and trust it, as they do for all else in it.

All functions read and write within the caller's transaction.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gossamer_gateway.errors import WordRefused
from gossamer_gateway.settings.signed import read_kept
from gossamer_gateway.settings.table import Setting, Version
from gossamer_gateway.storage.port import Rows

SCHEMA = """
CREATE TABLE setting (
    kind TEXT NOT NULL, name TEXT NOT NULL, clock INTEGER NOT NULL, word BLOB NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE INDEX setting_number ON setting (number);
CREATE TABLE setting_change (
    number INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, was TEXT, value TEXT,
    who TEXT NOT NULL, at_ms INTEGER NOT NULL, clock INTEGER NOT NULL, gateway TEXT NOT NULL,
    kept_ms INTEGER NOT NULL,
    PRIMARY KEY (number)
);
CREATE INDEX setting_change_of ON setting_change (kind, name, number);
CREATE TABLE setting_counter (one INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (one))
"""

PAGE_MAX = 1_000
"""Changes in one answer."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the history.

    Attributes:
        number: rises; in the order in which changes came to count here.
        was, value: before and after; None where there was nothing, or is nothing any more.
        who, at_ms: who made it, and when, by the clock of the gateway that he asked.
        version: its place among all changes, and that gateway.
        kept_ms: when it came here.
    """

    number: int
    kind: str
    name: str
    was: Mapping[str, Any] | None
    value: Mapping[str, Any] | None
    who: str
    at_ms: int
    version: Version
    kept_ms: int


def highest_clock(rows: Rows) -> int:
    """0 where nothing was ever set."""
    return int(rows.execute("SELECT coalesce(max(clock), 0) FROM setting").fetchone()[0])


def last_number(rows: Rows) -> int:
    """Of the newest change; 0 where there was none."""
    found = rows.execute("SELECT number FROM setting_counter WHERE one = 1").fetchone()
    return int(found[0]) if found else 0


def newer(rows: Rows, number: int) -> tuple[int, list[Setting]]:
    """What was kept after that change, and the number up to which this is all."""
    last = last_number(rows)
    if last <= number:
        return number, []
    found = rows.execute("SELECT word FROM setting WHERE number > ? ORDER BY number", (number,))
    return last, [read_kept(bytes(word)) for (word,) in found.fetchall()]


def keep(rows: Rows, settings: Iterable[Setting], now_ms: int) -> list[Setting]:
    """Keeps those that count over what is here, and returns them."""
    kept = []
    for setting in settings:
        found = rows.execute(
            "SELECT word FROM setting WHERE kind = ? AND name = ?", setting.key
        ).fetchone()
        before = None
        if found is not None:
            try:
                before = read_kept(bytes(found[0]))
            except WordRefused:  # of another version of Gossamer: what is new replaces it
                before = None
        if not setting.counts_over(before):
            continue
        (number,) = rows.execute(
            "INSERT INTO setting_counter (one, number) VALUES (1, 1) "
            "ON CONFLICT (one) DO UPDATE SET number = setting_counter.number + 1 RETURNING number"
        ).fetchone()
        rows.execute(
            "INSERT INTO setting (kind, name, clock, word, number) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (kind, name) DO UPDATE SET "
            "clock = excluded.clock, word = excluded.word, number = excluded.number",
            (*setting.key, setting.version.clock, setting.word, number),
        )
        rows.execute(
            "INSERT INTO setting_change "
            "(number, kind, name, was, value, who, at_ms, clock, gateway, kept_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                *setting.key,
                _text(before.value if before is not None else None),
                _text(setting.value),
                setting.who,
                setting.at_ms,
                setting.version.clock,
                setting.version.gateway,
                now_ms,
            ),
        )
        kept.append(setting)
    return kept


def history(
    rows: Rows, kind: str, name: str | None, *, before: int | None, count_max: int
) -> list[Change]:
    """Changes of a kind, or of one name, the newest first.

    Args:
        before: only those with a lower number: the last of the page before.
        count_max: `PAGE_MAX` at most.
    """
    found = rows.execute(
        "SELECT number, kind, name, was, value, who, at_ms, clock, gateway, kept_ms "
        "FROM setting_change WHERE kind = ? AND (? = '' OR name = ?) AND number < ? "
        "ORDER BY number DESC LIMIT ?",
        (
            kind,
            name or "",
            name or "",
            before if before is not None else 2**62,
            min(count_max, PAGE_MAX),
        ),
    )
    return [
        Change(
            number, kind, name, _value(was), _value(value), who, at_ms, Version(clock, gateway),
            kept_ms,
        )
        for number, kind, name, was, value, who, at_ms, clock, gateway, kept_ms in found.fetchall()
    ]  # fmt: skip


def _text(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _value(text: str | None) -> Mapping[str, Any] | None:
    if text is None:
        return None
    value: Mapping[str, Any] = json.loads(text)
    return value
