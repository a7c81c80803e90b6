"""The `${…}` language: a small, safe part of Camunda 7's (JUEL), read by recursive descent.

Literals, variables, `.name` and `[key]`, comparison, and/or/not, `? :`, `empty`, parentheses, and
of `execution` the members of `EXECUTION`. No arithmetic and no other call: an expression reads
variables and does nothing else, whatever a model's author writes. An expression is compiled once,
when its process is deployed, into closures; a mistake is found then. Length, nesting and size are
bounded, so that neither reading nor evaluating can run deep or long. Coercions follow EL 2.2
§1.23.6, which is what Camunda does; the tests hold what Camunda 7.24 answered to each case.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from gossamer_gateway.errors import ExpressionRefused, StepFailed

TEXT_CHARS_MAX = 2_000
"""Longest expression. Conditions that people write have tens of characters."""
TOKENS_MAX = 300
"""Each operator adds at most one frame to evaluation; 300 is far below Python's limit of 1,000."""
DEPTH_MAX = 20
"""Nested parentheses, brackets, prefixes and choices. Each costs up to eight frames of parsing."""
LONG_MAX = 2**63 - 1
"""Camunda's integers are Java's long."""


class Opaque:
    """A value that expressions cannot look into: bytes, a file, a serialised object."""


Value: TypeAlias = (
    "bool | int | float | str | datetime | Opaque | list[Value] | dict[str, Value] | None"
)


class Scope(Protocol):
    """What an expression may see of the instance that it is evaluated for."""

    @property
    def business_key(self) -> str | None: ...

    @property
    def instance_id(self) -> str: ...

    def lookup(self, name: str) -> Value:
        """The value of a variable. Raises KeyError where there is none."""


Evaluator: TypeAlias = Callable[[Scope], Value]

EXECUTION: dict[str, Evaluator] = {
    "processBusinessKey": lambda scope: scope.business_key,
    "businessKey": lambda scope: scope.business_key,
    "processInstanceId": lambda scope: scope.instance_id,
}
"""Members of `execution` that are read; `getVariable(name)` and `hasVariable(name)` are called."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. `text` is as it stands in the model."""

    text: str
    _evaluator: Evaluator

    def evaluate(self, scope: Scope) -> Value:
        """The expression's value.

        Raises: StepFailed when a variable is missing or values cannot be compared.
        """
        try:
            return self._evaluator(scope)
        except _Unresolved as error:
            raise StepFailed(
                f"Unknown property used in expression: {self.text}. Cause: {error}"
            ) from None
        except _Incomparable as error:
            raise StepFailed(
                f"Error while evaluating expression: {self.text}. Cause: {error}"
            ) from None

    def is_true(self, scope: Scope) -> bool:
        """The expression as a condition: it must give a Boolean, as Camunda demands.

        Raises: StepFailed, also when the value is no Boolean.
        """
        value = self.evaluate(scope)
        if value is None:
            raise StepFailed(f"condition expression returns null: {self.text}")
        if not isinstance(value, bool):
            raise StepFailed(
                f"condition expression returns non-Boolean: {self.text} is a {_kind(value)}"
            )
        return value


def compile_expression(text: str) -> Expression:
    """Reads `${…}` or `#{…}`.

    Raises: ExpressionRefused with what was wrong and where.
    """
    stripped = text.strip()
    if len(stripped) > TEXT_CHARS_MAX:
        raise ExpressionRefused(
            f"the expression has {len(stripped)} characters, {TEXT_CHARS_MAX} are allowed"
        )
    if not (stripped[:2] in ("${", "#{") and stripped.endswith("}")):
        raise ExpressionRefused(f"{stripped!r} is not one expression of the form ${{…}}")
    return Expression(stripped, _Parser(_tokens(stripped)).parse())


class _Unresolved(Exception):
    """A name that is not there."""


class _Incomparable(Exception):
    """Values of which neither can become the other's kind."""


# --- reading --------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<float>\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)
    | (?P<int>\d+)
    | (?P<string>'(?:[^'\\]|\\['"\\])*'|"(?:[^"\\]|\\['"\\])*")
    | (?P<name>[A-Za-z_$][A-Za-z0-9_$]*)
    | (?P<mark>==|!=|<=|>=|&&|\|\||[<>!?:.,()\[\]-])
    )""",
    re.VERBOSE | re.ASCII,
)
_ESCAPED = re.compile(r"\\(.)")
_WORDS = {
    "and": "&&", "or": "||", "not": "!", "eq": "==", "ne": "!=",
    "lt": "<", "gt": ">", "le": "<=", "ge": ">=",
}  # fmt: skip
_RESERVED = frozenset({"empty", "true", "false", "null", "div", "mod", "instanceof"})


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    """`int`, `float`, `string`, `name`, `end`; an operator or a reserved word is its own kind."""
    text: str
    position: int


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position, end = 2, len(text) - 1
    while text[position:end].strip():
        match = _TOKEN.match(text, position, end)
        if match is None:
            rest = text[position:end].strip()
            raise ExpressionRefused(
                f"in {text} there is {rest[:12]!r}, which is not part of the language; arithmetic "
                "and assignments are not run"
            )
        kind, part = match.lastgroup or "", match[match.lastgroup or 0]
        if kind == "name":
            kind = _WORDS.get(part, part if part in _RESERVED else "name")
        elif kind == "mark":
            kind = part
        found.append(_Token(kind, part, match.end() - len(part)))
        if len(found) > TOKENS_MAX:
            raise ExpressionRefused(f"the expression has more than {TOKENS_MAX} parts")
        position = match.end()
    found.append(_Token("end", "the end", end))
    return found


class _Parser:
    """choice < or < and < equality < comparison < prefix < access (EL 2.2 §1.15)."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def parse(self) -> Evaluator:
        result = self._choice()
        if self._next.kind != "end":
            raise self._unexpected("an operator or the end")
        return result

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _accept(self, kind: str) -> bool:
        if self._next.kind != kind:
            return False
        self._at += 1
        return True

    def _expect(self, kind: str) -> _Token:
        if self._next.kind != kind:
            raise self._unexpected(kind)
        return self._take()

    def _unexpected(self, wanted: str) -> ExpressionRefused:
        token = self._next
        return ExpressionRefused(
            f"{token.text!r} stands at position {token.position} where {wanted} is expected"
        )

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise ExpressionRefused(f"the expression is nested more than {DEPTH_MAX} deep")

    def _choice(self) -> Evaluator:
        self._enter()
        condition = self._either()
        if self._accept("?"):
            yes = self._choice()
            self._expect(":")
            no = self._choice()
            self._depth -= 1
            return lambda scope: yes(scope) if _to_bool(condition(scope)) else no(scope)
        self._depth -= 1
        return condition

    def _either(self) -> Evaluator:
        parts = [self._both()]
        while self._accept("||"):
            parts.append(self._both())
        if len(parts) == 1:
            return parts[0]
        return lambda scope: any(_to_bool(part(scope)) for part in parts)

    def _both(self) -> Evaluator:
        parts = [self._equality()]
        while self._accept("&&"):
            parts.append(self._equality())
        if len(parts) == 1:
            return parts[0]
        return lambda scope: all(_to_bool(part(scope)) for part in parts)

    def _equality(self) -> Evaluator:
        left = self._comparison()
        while self._next.kind in ("==", "!="):
            left = _binary(_EQUALITIES[self._take().kind], left, self._comparison())
        return left

    def _comparison(self) -> Evaluator:
        left = self._prefix()
        while self._next.kind in _COMPARISONS:
            left = _binary(_COMPARISONS[self._take().kind], left, self._prefix())
        return left

    def _prefix(self) -> Evaluator:
        kind = self._next.kind
        if kind not in ("!", "empty"):
            return self._access()
        self._enter()
        self._take()
        operand = self._prefix()
        self._depth -= 1
        if kind == "!":
            return lambda scope: not _to_bool(operand(scope))
        return lambda scope: _is_empty(operand(scope))

    def _access(self) -> Evaluator:
        if self._next.kind == "name" and self._next.text == "execution":
            result = self._execution()
        else:
            result = self._primary()
        while True:
            if self._accept("."):
                name = self._expect("name").text
                if self._next.kind == "(":
                    raise ExpressionRefused(
                        f"the call of {name}() is not run: an expression only reads variables"
                    )
                result = _binary(_member, result, _constant(name))
            elif self._accept("["):
                result = _binary(_member, result, self._choice())
                self._expect("]")
            else:
                return result

    def _execution(self) -> Evaluator:
        self._take()
        self._expect(".")
        member = self._expect("name").text
        if member in EXECUTION:
            return EXECUTION[member]
        if member not in ("getVariable", "hasVariable"):
            raise ExpressionRefused(
                f"execution.{member} is not known here; there are "
                f"{', '.join(EXECUTION)}, getVariable('name') and hasVariable('name')"
            )
        self._expect("(")
        name = _unquoted(self._expect("string").text)
        self._expect(")")
        if member == "hasVariable":
            return lambda scope: _has(scope, name)
        return lambda scope: scope.lookup(name) if _has(scope, name) else None

    def _primary(self) -> Evaluator:
        token = self._take()
        match token.kind:
            case "true" | "false":
                return _constant(token.kind == "true")
            case "null":
                return _constant(None)
            case "int":
                return _constant(_long(token.text))
            case "float":
                return _constant(float(token.text))
            case "-" if self._next.kind in ("int", "float"):
                number = self._take()
                sign = f"-{number.text}"
                return _constant(_long(sign) if number.kind == "int" else float(sign))
            case "string":
                return _constant(_unquoted(token.text))
            case "name":
                return _variable(token.text)
            case "(":
                inner = self._choice()
                self._expect(")")
                return inner
        self._at -= 1
        raise self._unexpected("a value")


def _long(text: str) -> int:
    if len(text) > 20 or not -LONG_MAX - 1 <= int(text) <= LONG_MAX:
        raise ExpressionRefused(f"the number {text[:24]} is beyond 64 bits")
    return int(text)


def _unquoted(text: str) -> str:
    return _ESCAPED.sub(r"\1", text[1:-1])


def _constant(value: Value) -> Evaluator:
    return lambda _scope: value


def _variable(name: str) -> Evaluator:
    def read(scope: Scope) -> Value:
        try:
            return scope.lookup(name)
        except KeyError:
            raise _Unresolved(f"Cannot resolve identifier '{name}'") from None

    return read


def _has(scope: Scope, name: str) -> bool:
    try:
        scope.lookup(name)
    except KeyError:
        return False
    return True


def _binary(
    operator: Callable[[Value, Value], Value], left: Evaluator, right: Evaluator
) -> Evaluator:
    return lambda scope: operator(left(scope), right(scope))


# --- values ---------------------------------------------------------------------------------

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def _kind(value: Value) -> str:
    names = {bool: "Boolean", int: "number", float: "number", str: "String", datetime: "Date",
             list: "list", dict: "map"}  # fmt: skip
    return names.get(type(value), "object")


def _refuse(value: Value, wanted: str) -> _Incomparable:
    shown = f"'{value[:80]}'" if isinstance(value, str) else f"a {_kind(value)}"
    return _Incomparable(f"Cannot coerce {shown} to a {wanted}")


def _to_bool(value: Value) -> bool:
    if isinstance(value, bool):
        return value
    if value is None:
        return False
    if isinstance(value, str):
        return value.lower() == "true"
    raise _refuse(value, "Boolean")


def _to_long(value: Value) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        if value == "":
            return 0
        if _INTEGER.fullmatch(value) and -LONG_MAX - 1 <= int(value) <= LONG_MAX:
            return int(value)
    raise _refuse(value, "Long")


def _to_number(value: Value) -> int | float:
    """For a comparison with a Double. Whole numbers stay exact; Python compares the two exactly."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        if value == "":
            return 0.0
        if _NUMBER.fullmatch(value.strip()):
            return float(value)
    raise _refuse(value, "Double")


def _is_whole(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _equal(left: Value, right: Value) -> bool:
    """EL 2.2 §1.8.2."""
    if left is None or right is None:
        return left is right
    if isinstance(left, float) or isinstance(right, float):
        return _to_number(left) == _to_number(right)
    if _is_whole(left) or _is_whole(right):
        return _to_long(left) == _to_long(right)
    if isinstance(left, bool) or isinstance(right, bool):
        return _to_bool(left) == _to_bool(right)
    return left == right


def _order(left: Value, right: Value) -> int:
    """EL 2.2 §1.8.1, for values that are both there: negative, zero or positive."""
    first: int | float | str | bytes | datetime
    second: int | float | str | bytes | datetime
    if isinstance(left, float) or isinstance(right, float):
        first, second = _to_number(left), _to_number(right)
    elif _is_whole(left) or _is_whole(right):
        first, second = _to_long(left), _to_long(right)
    elif isinstance(left, str) and isinstance(right, str):
        # Java compares UTF-16 units, Python whole characters.
        first = left.encode("utf-16-be", "surrogatepass")
        second = right.encode("utf-16-be", "surrogatepass")
    elif type(left) is type(right) and isinstance(left, bool | datetime):
        first, second = left, right  # type: ignore[assignment]
    else:
        raise _Incomparable(f"Cannot compare a {_kind(left)} with a {_kind(right)}")
    return (first > second) - (first < second)  # type: ignore[operator]


def _comparison(
    accepts: Callable[[int], bool], *, of_nulls: bool
) -> Callable[[Value, Value], bool]:
    def compare(left: Value, right: Value) -> bool:
        if left is None or right is None:
            return of_nulls and left is right
        return accepts(_order(left, right))

    return compare


_EQUALITIES: dict[str, Callable[[Value, Value], Value]] = {
    "==": _equal,
    "!=": lambda left, right: not _equal(left, right),
}
_COMPARISONS: dict[str, Callable[[Value, Value], Value]] = {
    "<": _comparison(lambda order: order < 0, of_nulls=False),
    ">": _comparison(lambda order: order > 0, of_nulls=False),
    "<=": _comparison(lambda order: order <= 0, of_nulls=True),
    ">=": _comparison(lambda order: order >= 0, of_nulls=True),
}


def _is_empty(value: Value) -> bool:
    return value is None or (isinstance(value, str | list | dict) and not value)


def _member(base: Value, key: Value) -> Value:
    if base is None or key is None:
        return None
    if isinstance(base, dict):
        return base.get(key) if isinstance(key, str) else None
    if isinstance(base, list):
        index = _to_long(key)
        return base[index] if 0 <= index < len(base) else None
    raise _Unresolved(f"A {_kind(base)} does not have the property '{key}'")
