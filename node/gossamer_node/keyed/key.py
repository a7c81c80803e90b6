"""A key of a dense service: what turns and states belong to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """A service's key within a tenant; `tenant` is empty for none."""

    service: str
    tenant: str
    value: str
