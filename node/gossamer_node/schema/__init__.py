"""What people write, read by a table: one table of fields drives everything said about a file.

`source` gives every value its place, `kinds` reads single values, `records` lists and tables,
`pages` writes the JSON Schema and the reference page. `service.load` and `config` hold tables.
"""

from gossamer_node.schema.kinds import (
    Choice,
    FilePath,
    Flag,
    Form,
    JsonSchema,
    Kind,
    Secret,
    Text,
    Whole,
    duration,
    size,
)
from gossamer_node.schema.records import Field, ListOf, MapOf, OneOf, Record

__all__ = [
    "Choice",
    "Field",
    "FilePath",
    "Flag",
    "Form",
    "JsonSchema",
    "Kind",
    "ListOf",
    "MapOf",
    "OneOf",
    "Record",
    "Secret",
    "Text",
    "Whole",
    "duration",
    "size",
]
