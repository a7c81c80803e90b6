"""The hotel reservation: the example that exercises the whole house, and its main demonstration.

The package holds the two processes for each engine (`bpmn/`), the workers as built modules with
their service.yaml (`workers/<service>/`; the sources are beside the package), the microservices
that the workers call (`microservices`), reservations to start (`reservations`), and a way to see
in the microservices' own databases what really happened (`effects`). It drives no engine and no
node: that is `gossamer demo`.
"""

from importlib.resources import files
from pathlib import Path
from typing import Literal

PROCESS_ID = "HotelReservationProcess"

TOPICS = (
    "validate-input",
    "search-client",
    "create-client",
    "check-room-availability",
    "block-room",
    "create-booking",
)
"""Every topic of the two processes; Camunda 8 calls them job types."""

ORIGINS = ("booking", "room", "client")
"""Names that the services' `{…}` origins stand for: the microservices that the process calls."""

_ROOT = Path(str(files(__name__)))


def bpmn_files(dialect: Literal["camunda7", "camunda8"]) -> dict[str, bytes]:
    """The files to deploy, by name. The embedded engine takes Camunda 7's."""
    suffix = {"camunda7": "c7", "camunda8": "c8"}[dialect]
    names = [f"{process}-{suffix}.bpmn" for process in ("client", "hotel")]
    return {name: (_ROOT / "bpmn" / name).read_bytes() for name in names}


def service_files() -> list[Path]:
    """The service.yaml of each worker."""
    return sorted((_ROOT / "workers").glob("*/service.yaml"))
