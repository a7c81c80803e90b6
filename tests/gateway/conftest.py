"""What the gateway's tests may ask for."""

from tests.gateway.places import place, storage

__all__ = ["place", "storage"]
