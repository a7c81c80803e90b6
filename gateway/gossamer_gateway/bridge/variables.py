"""Variables across: Camunda 7's typed values and Camunda 8's JSON.

| Camunda 7 | Camunda 8 | and back |
|---|---|---|
| String, Boolean, Null | the same | the same |
| Short, Integer, Long | a whole number | Integer where it fits in 32 bits, else Long |
| Double | a number with a fraction: 3.0 | Double |
| Json, Object of JSON | the value | Json |
| Date | ISO 8601 text, as Camunda 7 writes it | String |
| Bytes | base64 text | String |
| Xml, Object of another format | its text | String |
| File | null: its content is read by a request of its own | nothing: it stays what it was |

"And back" is what a value becomes when nobody remembers what it was. A job remembers (`types`): a
variable that came out of Camunda 7 with a type goes back with it, if the value still can be of it.
"""

from collections.abc import Mapping
from typing import Any

from gossamer_node.engines import camunda7_variables, camunda8_variables
from gossamer_node.variables import JsonValue, TypeTag, Variables, type_name

Typed = Mapping[str, Mapping[str, Any]]
Plain = Mapping[str, JsonValue]


def to_8(typed: Typed) -> tuple[dict[str, JsonValue], Mapping[str, TypeTag]]:
    """Camunda 7's variables as Camunda 8 has them, and what is to be remembered of their types.

    Raises: KeyError, TypeError, AttributeError: `typed` is not of Camunda 7's form.
    """
    variables = camunda7_variables.from_wire(typed)
    return camunda8_variables.to_json(variables, {}), variables.types


def to_7(plain: Plain, remembered: Mapping[str, TypeTag] | None = None) -> dict[str, Any]:
    """Camunda 8's variables as Camunda 7 has them.

    Args:
        remembered: types that they had there before.

    Raises: EngineRefused for a value that JSON has no text for.
    """
    told = camunda8_variables.from_json(plain)
    if not remembered:
        return camunda7_variables.to_wire(told, {})
    # What was JSON text takes any value as it is; what is plain there wants a type for some.
    as_text = {name for name in plain if type_name(remembered.get(name, "")) in ("Json", "Object")}
    types = {name: tag for name, tag in told.types.items() if name not in as_text}
    values = {name: plain[name] if name in as_text else told.values[name] for name in plain}
    return camunda7_variables.to_wire(Variables(values, types), remembered)
