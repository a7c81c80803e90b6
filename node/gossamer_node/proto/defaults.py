"""A proto2 field's default → the text in which a descriptor holds it, as protoc writes it."""

import math

from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from gossamer_node.proto.tokens import Token, escaped, unquoted
from gossamer_node.proto.words import whole

_F = FieldDescriptorProto

_WHOLE: dict[int, tuple[int, int]] = {
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32), (-(2**31), 2**31 - 1)),
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64), (-(2**63), 2**63 - 1)),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), (0, 2**32 - 1)),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), (0, 2**64 - 1)),
}


def default_text(kind: int, words: list[Token]) -> str:
    """The text of a default.

    Args:
        kind: the field's type; 0 for a named one, which must be an enum.
        words: the value: an optional sign and one word, or texts.

    Raises: ValueError, with what was expected.
    """
    last = words[-1]
    if kind in (_F.TYPE_STRING, _F.TYPE_BYTES):
        if last.kind != "text":
            raise ValueError("a text in quotes")
        try:
            data = b"".join(unquoted(one) for one in words)
            return data.decode() if kind == _F.TYPE_STRING else escaped(data)
        except (ValueError, OverflowError):
            raise ValueError("a text in UTF-8") from None
    negative = words[0].text == "-"
    if kind == _F.TYPE_BOOL:
        if last.text not in ("true", "false") or len(words) > 1:
            raise ValueError("`true` or `false`")
        return last.text
    if kind in _WHOLE:
        least, most = _WHOLE[kind]
        value = whole(last) if last.kind == "int" else None
        if value is not None and negative:
            value = -value
        if value is None or not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return str(value)
    if kind in (_F.TYPE_DOUBLE, _F.TYPE_FLOAT):
        return _number_text(last, negative)
    if len(words) > 1 or last.kind != "name":
        raise ValueError("the name of an enum's value")
    return last.text


def _number_text(word: Token, negative: bool) -> str:
    if word.kind == "int" and whole(word) is not None:
        value = float(whole(word) or 0)
    elif word.kind == "float" or word.text in ("inf", "nan"):
        value = float(word.text)
    else:
        raise ValueError("a number, `inf` or `nan`")
    if negative:
        value = -value
    if math.isnan(value):
        return "nan"
    text = f"{value:.15g}"
    return text if float(text) == value else f"{value:.17g}"
