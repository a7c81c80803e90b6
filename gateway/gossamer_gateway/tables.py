"""All tables of the gateway: every module that keeps rows has its `SCHEMA`, and stands here.

A module that comes or changes raises `VERSION`, as soon as there is a release to differ from. The
tables of workflows are a part that grows by steps of its own instead.
"""

from gossamer_gateway import handed
from gossamer_gateway.door import api_keys
from gossamer_gateway.index import definitions, instances
from gossamer_gateway.names import numbers
from gossamer_gateway.runs import forms as runs
from gossamer_gateway.runs.jobs import asked
from gossamer_gateway.runs.jobs import dialect as tasks
from gossamer_gateway.settings import keeping as settings
from gossamer_gateway.sink import store as sink
from gossamer_gateway.storage.file import Form

VERSION = 1
"""Of the tables together; rows of another version are refused rather than guessed at."""

APPLICATION_ID = 0x676F7367
"""SQLite's mark of whose file it is: "gosg". An embedded engine's file has another."""

MODULES = (numbers, handed, instances, definitions, settings, sink, api_keys, asked, tasks)
"""Whose tables there are. The order is of no matter."""

FORM = Form(
    "The gateway's file",
    "data_dir",
    APPLICATION_ID,
    VERSION,
    ";\n".join(module.SCHEMA.strip() for module in MODULES),
    (runs.PART,),
)
