"""What the gateway's tests may ask for."""

from tests.gateway.places import place, storage
from tests.gateway.sink_world import zeebe_with_sink

__all__ = ["place", "storage", "zeebe_with_sink"]
