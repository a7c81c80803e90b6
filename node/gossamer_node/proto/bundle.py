"""A service's `proto-files` packed into one piece of bytes, as the registry keeps and sends them.

The names in it are those of service.yaml, no more and no fewer, and stay names: nothing is written
to a path that a file's name chooses. Equal files give equal bytes, whatever their order there.
"""

from collections.abc import Iterable, Mapping

import msgpack

from gossamer_node.proto.tokens import ProtoError, shown

BUNDLE_BYTES_MAX = 4 * 2**20 + 64 * 2**10
"""All files of a service together (`schema.ALL_BYTES_MAX`), and their names."""

NAME_CHARS_MAX = 500
"""Of a file's name in service.yaml that is packed."""


def pack_files(contents: Mapping[str, bytes]) -> bytes:
    """The files as one; empty for none. Raises: ProtoError for a name that cannot travel."""
    for name in contents:
        check_name(name)
        if len(name) > NAME_CHARS_MAX:
            raise ProtoError(
                f"the name {shown(name)} of a proto-file is longer than {NAME_CHARS_MAX} "
                "characters; give it a shorter one."
            )
    plain = [[name, contents[name]] for name in sorted(contents)]
    return bytes(msgpack.packb(plain)) if plain else b""


def unpack_files(data: bytes, names: Iterable[str]) -> dict[str, bytes]:
    """The files again.

    Args:
        names: of the files that service.yaml names.

    Raises: ProtoError for anything but those files.
    """
    try:
        plain = msgpack.unpackb(data) if data else []
        contents = {
            name: content
            for name, content in plain
            if isinstance(name, str) and isinstance(content, bytes)
        }
        whole = isinstance(plain, list) and len(contents) == len(plain)
    except Exception:  # msgpack raises a dozen kinds for junk
        contents, whole = {}, False
    if not whole or set(contents) != set(names):
        raise ProtoError(
            "the proto-files that were kept are not those that service.yaml names; sign the "
            "service again, or add it again."
        )
    return contents


def check_name(name: str) -> None:
    """Raises: ProtoError for a file outside the service's folder."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or not name.isprintable():
        raise ProtoError(f"the proto-file {shown(name)} lies outside the service's folder.")
