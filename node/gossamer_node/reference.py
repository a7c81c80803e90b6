"""The files of a checkout that are made from the tables: JSON Schema and reference pages.

`python -m gossamer_node.reference` writes them; `--check` only compares. A test calls `stale`, so
none of them can fall behind its table. Another package's are made by a module of its own, with
what is public here.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gossamer_node import config
from gossamer_node.schema import JsonSchema, Record
from gossamer_node.schema.pages import page
from gossamer_node.service import load
from gossamer_node.service.host import HOST
from gossamer_node.variables import JsonValue

SCHEMA_FILE = Path("node/gossamer_node/service/service.schema.json")
SERVICE_PAGE = Path("docs/reference/service-yaml.md")
CONFIGURATION_PAGE = Path("docs/reference/configuration.md")

MODULE = "gossamer_node.reference"

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def pages() -> dict[Path, str]:
    """The text of each made file, by its path in a checkout."""
    intro = (
        "A first one:\n\n```yaml\nservice:\n  name: greeter\n  version: 1.0.0\n"
        "  module: greeter.wasm\n  topics:\n    - name: greet\n```\n\n"
        "Editors that know JSON Schema find one in [service.schema.json]"
        "(../../node/gossamer_node/service/service.schema.json).\n\n"
        "On one engine a topic belongs to one service. A node that is given two services for it "
        "refuses to start and names both files."
    )
    service = page("service.yaml", load.SERVICE, intro) + _capabilities()
    return {
        SCHEMA_FILE: json.dumps(service_schema(), indent=2, ensure_ascii=False) + "\n",
        SERVICE_PAGE: made(MODULE, load.__name__) + service,
        CONFIGURATION_PAGE: made(MODULE, config.__name__)
        + page("Configuration", config.NODE, EXAMPLE + variables(config.NODE)),
    }


def stale(root: Path, texts: Mapping[Path, str]) -> list[Path]:
    """The made files of a checkout that are missing or differ from their table.

    Args:
        texts: as they should be, by their paths in a checkout.
    """
    return [
        path
        for path, text in texts.items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def service_schema() -> JsonSchema:
    """JSON Schema of service.yaml, with or without its root."""
    service = load.SERVICE.json_schema()
    rooted: JsonSchema = {
        "type": "object",
        "properties": {"service": {"$ref": "#/$defs/service"}},
        "required": ["service"],
        "additionalProperties": False,
    }
    either: list[JsonValue] = [rooted, {"$ref": "#/$defs/service"}]
    return {
        "$schema": DIALECT,
        "title": "service.yaml of Gossamer",
        "description": load.SERVICE.intro,
        "anyOf": either,
        "$defs": {"service": service},
    }


def _capabilities() -> str:
    rows = ["| Name | Version | What it is | Operations |", "|---|---|---|---|"]
    rows += [
        f"| `{one.name}` | {one.version} | {one.meaning} "
        f"| {', '.join(f'`{each}`' for each in one.operations)} |"
        for one in HOST.values()
    ]
    return (
        "\n## What a host has to depend on\n\n"
        "These names in `dependencies` mean the host; `gossamer doctor` shows them with their "
        "versions. To depend on one does not request it: `capabilities` and `grpc` do.\n\n"
        + "\n".join(rows)
        + "\n"
    )


EXAMPLE = (
    "```yaml\nengines:\n  - kind: camunda7\n    url: http://localhost:8080/engine-rest\n"
    "services: [services]\ngrants:\n  greeter:\n    http: [https://api.example.org]\n```\n\n"
)


def made(by: str, table: str) -> str:
    """What a made page begins with: which module made it, of whose table."""
    return f"<!-- Made by `python -m {by}` from the table in {table}. -->\n\n"


def variables(record: Record[Any]) -> str:
    """The settings of a process, with their variables and flags."""
    rows = ["| Setting | Variable | Flag |", "|---|---|---|"]
    rows += [
        f"| `{one.path}` | `{one.variable}` | {f'`{one.row.flag}`' if one.row.flag else ''} |"
        for one in config.settings(record)
    ]
    return (
        "\n".join(rows)
        + f"\n\n`{config.CONFIG_FILE_VARIABLE}` names the file, as `--config` does. Any "
        "command with `GOSSAMER_DEBUG=1` shows the traceback of an error."
    )


def main(texts: Mapping[Path, str]) -> int:
    """Writes those of the made files that are stale, and prints which."""
    parser = argparse.ArgumentParser(description="Writes the files that are made from tables.")
    parser.add_argument("--check", action="store_true", help="only compare; exit status 1 if stale")
    parser.add_argument("root", nargs="?", type=Path, default=Path(), help="the checkout")
    arguments = parser.parse_args()
    out_of_date = stale(arguments.root, texts)
    for path in out_of_date:
        print(path)
        if not arguments.check:
            (arguments.root / path).parent.mkdir(parents=True, exist_ok=True)
            (arguments.root / path).write_text(texts[path], encoding="utf-8")
    return int(arguments.check and bool(out_of_date))


if __name__ == "__main__":
    sys.exit(main(pages()))
