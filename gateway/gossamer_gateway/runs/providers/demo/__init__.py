"""A payment that goes on while clouds fail: `gossamer demo failover`."""

from pathlib import Path

FUNCTIONS = Path(__file__).parent / "functions"
"""The payment's functions, as each cloud wants to have them."""
