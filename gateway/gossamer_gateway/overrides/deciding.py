"""Which rule a request falls under, and why each one before does not. Pure.

Only paths of the engines' dialects fall under any (`DIALECTS`): a rule cannot keep people from the
pages and requests with which they take it away.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gossamer_gateway.overrides.rules import Action, Rule

DIALECTS = ("/engine-rest", "/v2")
"""Paths that rules are about: those of the engines' dialects, and what is below."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is known of a request before anybody serves it.

    Attributes:
        path: without its query, percent signs decoded.
        headers: names in small letters; one may come several times.
        process: the id of the process that it is about; None where that is not known.
    """

    method: str
    path: str
    headers: Sequence[tuple[str, str]] = ()
    process: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One rule about one request.

    Attributes:
        why_not: a sentence's end; None for the rule that matches.
        caught: parts of the path by name.
    """

    rule: Rule
    why_not: str | None
    caught: Mapping[str, str]

    @property
    def action(self) -> Action:
        return self.rule.action


def ordered(rules: Iterable[Rule]) -> list[Rule]:
    """In the order in which they are asked."""
    return sorted(rules, key=lambda rule: (rule.position, rule.name))


def decide(rules: Sequence[Rule], request: Request) -> Verdict | None:
    """The first rule that matches, of rules in their order; None where none does."""
    for verdict in _verdicts(rules, request):
        if verdict.why_not is None:
            return verdict
    return None


def explain(rules: Sequence[Rule], request: Request) -> list[Verdict]:
    """All rules up to the one that matches, with it."""
    found = []
    for verdict in _verdicts(rules, request):
        found.append(verdict)
        if verdict.why_not is None:
            break
    return found


def is_ours(path: str) -> bool:
    """Whether a path is one that rules may be about."""
    return any(path == one or path.startswith(f"{one}/") for one in DIALECTS)


def _verdicts(rules: Sequence[Rule], request: Request) -> Iterator[Verdict]:
    if not is_ours(request.path):
        for rule in rules:
            yield Verdict(rule, f"{request.path} is no path of an engine's dialect", {})
        return
    for rule in rules:
        match = rule.match
        found = match.pattern.fullmatch(request.path)
        caught = {} if found is None else dict(zip(match.parts, found.groups(), strict=True))
        if found is None:
            why_not: str | None = f"the path is not {match.path}"
        elif match.methods and request.method not in match.methods:
            why_not = f"the method is {request.method}, not {' or '.join(match.methods)}"
        else:
            why_not = _of_headers(match.headers, request.headers)
            if why_not is None and match.process is not None and request.process != match.process:
                known = "not known" if request.process is None else request.process
                why_not = f"the process is {known}, not {match.process}"
        yield Verdict(rule, why_not, caught)


def _of_headers(
    wanted: Sequence[tuple[str, str]], headers: Sequence[tuple[str, str]]
) -> str | None:
    for name, pattern in wanted:
        given = [text for each, text in headers if each == name]
        if not given:
            return f"there is no header {name}"
        if not any(_fits(pattern, text) for text in given):
            return f"the header {name} is not {pattern}"
    return None


def _fits(pattern: str, text: str) -> bool:
    """Whether a text is what a pattern says, with `*` for anything; never slow."""
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    if not text.startswith(first):
        return False
    at = len(first)
    for part in others[:-1]:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(text) - at >= len(others[-1]) and text.endswith(others[-1])
