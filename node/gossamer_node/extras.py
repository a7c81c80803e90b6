"""How a person adds an extra to this very installation.

The command names the interpreter that runs: another `pip`, outside of its virtual environment,
would not find Gossamer there and fetch whatever an index has under that name.
"""

import shlex
import sys


def pip_command(*extras: str) -> str:
    """What to type, `/opt/gossamer/bin/python -m pip install 'gossamer[engines]'`."""
    return f"{shlex.quote(sys.executable)} -m pip install 'gossamer[{','.join(extras)}]'"
