"""The pages of a checkout that are made from the gateway's tables: its configuration, workflows.

`python -m gossamer_gateway.reference` writes them; `--check` only compares. A test holds that none
of them falls behind its table.
"""

import sys
from pathlib import Path

from gossamer_gateway import config
from gossamer_gateway.runs import reference as workflows
from gossamer_node import reference
from gossamer_node.schema.pages import page

CONFIGURATION_PAGE = Path("docs/reference/gateway-configuration.md")

MODULE = "gossamer_gateway.reference"

EXAMPLE = (
    "```yaml\nengines:\n"
    '  - {name: old, kind: camunda7, url: "http://localhost:8080/engine-rest"}\n'
    '  - {name: new, kind: camunda8, url: "http://localhost:8088", grpc: "localhost:26500"}\n'
    "```\n\n"
    "How to begin is in [put a gateway in front of both Camundas](../how-to/gateway.md).\n\n"
)


def pages() -> dict[Path, str]:
    """The text of each made page, by its path in a checkout."""
    return {
        CONFIGURATION_PAGE: reference.made(MODULE, config.__name__)
        + page(
            "The gateway's configuration",
            config.GATEWAY,
            EXAMPLE + reference.variables(config.GATEWAY),
        ),
        **workflows.pages(MODULE),
    }


if __name__ == "__main__":
    sys.exit(reference.main(pages()))
