"""A table of fields as a reference page in Markdown: a section for each record inside it."""

import json
from typing import Any

from gossamer_node.schema.kinds import Kind
from gossamer_node.schema.records import Field, ListOf, MapOf, OneOf, Record


def page(title: str, record: Record[Any], before_table: str) -> str:
    """The page of a record, with some Markdown of its own before the first table."""
    parts = [f"# {title}", record.intro, before_table, _table(record)]
    for path, below in _below(record, ""):
        parts += [f"## {below.title}: `{path}`", below.intro]
        if below.fields:
            parts.append(_table(below))
    return "\n\n".join(parts) + "\n"


def _below(kind: Kind[Any], path: str) -> list[tuple[str, Record[Any]]]:
    """The records inside a kind, each with the path of its place, depth first."""
    if isinstance(kind, ListOf):
        return _here(kind.of, f"{path}[]")
    if isinstance(kind, MapOf):
        return _here(kind.of, f"{path}.NAME")
    if isinstance(kind, OneOf):
        return [(f"{path} ({kind.key}: {name})", record) for name, record in kind.records.items()]
    if isinstance(kind, Record):
        inside = []
        for row in kind.fields:
            inside += _here(row.kind, f"{path}.{row.key}" if path else row.key)
        return inside
    return []


def _here(kind: Kind[Any], path: str) -> list[tuple[str, Record[Any]]]:
    own = [(path, kind)] if isinstance(kind, Record) else []
    return own + _below(kind, path)


def _table(record: Record[Any]) -> str:
    rows = ["| Field | Write | Default | Meaning |", "|---|---|---|---|"]
    for row in record.fields:
        meaning = f"{row.meaning} *Why this default:* {row.why}" if row.why else row.meaning
        words = "see below" if isinstance(row.kind, Record) else row.kind.words()
        cells = (f"`{row.key}`", words, _default(record, row), meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _default(record: Record[Any], row: Field) -> str:
    if record.required(row):
        return "**required**"
    if row.default_words:
        return row.default_words
    if isinstance(row.kind, Record):
        return "see below"
    plain = row.kind.plain(record.default(row))
    if plain in ([], {}):
        return "none"
    if isinstance(plain, dict):
        return "`{" + ", ".join(f"{key}: {value}" for key, value in plain.items()) + "}`"
    return f"`{plain}`" if isinstance(plain, str) else f"`{json.dumps(plain)}`"
