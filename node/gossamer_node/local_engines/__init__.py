"""Real engines on this machine, for tests and for people: Camunda 7 and Zeebe from Maven Central,
on a Java runtime from PyPI, on free ports of 127.0.0.1, gone with the program that started them.

What they are made of is locked by hash (`lock.py`), fetched by Maven (`maven.py`) and kept in the
user's cache directory (`cache.py`).
"""

from gossamer_node.local_engines.progress import Progress, lines, printed, silent
from gossamer_node.local_engines.starting import (
    RunningCamunda7,
    RunningZeebe,
    start_camunda7,
    start_zeebe,
)

__all__ = [
    "Progress",
    "RunningCamunda7",
    "RunningZeebe",
    "lines",
    "printed",
    "silent",
    "start_camunda7",
    "start_zeebe",
]
