"""Names of types → full names, by the rules of C++ scopes, as protoc has them.

A name is looked up from the innermost scope outwards by its first part; what that part finds must
hold the rest. What a file sees is what it defines and imports, and what its imports hand on by
`import public`.
"""

from collections.abc import Iterable, Mapping

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from gossamer_node.proto.declaring import ParsedFile, Reference

_TYPES = ("message", "enum")


def defined_by(proto: FileDescriptorProto) -> dict[str, str]:
    """The types of a compiled file by full name, as `ParsedFile.defined` has them."""
    found: dict[str, str] = {}
    prefix = f"{proto.package}." if proto.package else ""
    waiting: list[tuple[str, DescriptorProto]] = [(prefix, one) for one in proto.message_type]
    found |= {f"{prefix}{one.name}": "enum" for one in proto.enum_type}
    while waiting:
        prefix, message = waiting.pop()
        name = f"{prefix}{message.name}"
        found[name] = "message"
        found |= {f"{name}.{one.name}": "enum" for one in message.enum_type}
        waiting += [(f"{name}.", one) for one in message.nested_type]
    return found


def packages(names: Iterable[str]) -> set[str]:
    """Each name's own package and those around it."""
    found: set[str] = set()
    for name in names:
        parts = name.split(".")
        found |= {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return found - {""}


def resolve(file: ParsedFile, seen: Mapping[str, str], seen_packages: set[str]) -> None:
    """Writes full names into a file's descriptor.

    Args:
        seen: what the file sees: its own and its imports' definitions.

    Raises: ProtoError.
    """
    for reference in file.references:
        full_name = _find(reference, seen, seen_packages)
        kind = seen.get(full_name)
        wanted = _TYPES if reference.slot == "type_name" else ("message",)
        if kind not in wanted:
            raise file.source.error(
                reference.at,
                f"expected {'a type' if len(wanted) > 1 else 'a message'} that this file or its "
                f"imports define, found {reference.name}",
            )
        setattr(reference.holder, reference.slot, f".{full_name}")
        holder = reference.holder
        if reference.slot == "type_name" and isinstance(holder, FieldDescriptorProto):
            if holder.type == FieldDescriptorProto.TYPE_GROUP:
                continue
            is_enum = kind == "enum"
            if holder.default_value and not is_enum:
                raise file.source.error(
                    reference.at, "expected no `default` of a field that is a message"
                )
            holder.type = (
                FieldDescriptorProto.TYPE_ENUM if is_enum else FieldDescriptorProto.TYPE_MESSAGE
            )


def _find(reference: Reference, seen: Mapping[str, str], seen_packages: set[str]) -> str:
    """The full name that is meant, whether there is such a thing or not."""
    name = reference.name
    if name.startswith("."):
        return name[1:]
    first, dot, _ = name.partition(".")
    scope = reference.scope
    while True:
        prefix = f"{scope}." if scope else ""
        found = prefix + first
        kind = seen.get(found)
        # A part must be able to hold the next; the last must be a type.
        if (kind in _TYPES) if not dot else (kind in _TYPES or found in seen_packages):
            return prefix + name
        if not scope:
            return name
        scope = scope.rpartition(".")[0]
