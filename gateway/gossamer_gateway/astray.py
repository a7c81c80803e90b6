"""What a client is told that asks for a path, or by a method, that there is not: which there are.

Made of the application's own routes, so it can't say what they do not. Pure.
"""

from collections.abc import Iterable
from difflib import SequenceMatcher

from werkzeug.routing import Map, Rule

SUGGESTED_MAX = 3

ALIKE = 0.6
"""From which on two paths look alike; difflib's own cutoff."""

PATH_CHARACTERS_MAX = 100
"""Of a path that is compared, and told again. Ours are shorter, and the work is their product."""

FOREIGN = ("/engine-rest", "/v2")
"""Whose words, and paths, are those of the engines that they speak for."""

ABOUT = "/v1/docs tells of all paths"


def no_method(path: str, method: str, allowed: Iterable[str]) -> str:
    """`DELETE is not for /workflow/x; GET is`."""
    told = _shown(_useful(allowed))
    return f"{method} is not for {path[:PATH_CHARACTERS_MAX]}; {told} is"


def no_path(path: str, method: str, routes: Map) -> str:
    """There is nothing at a path: what looks like it, those with the method first."""
    wanted = path[:PATH_CHARACTERS_MAX]
    found: dict[str, tuple[float, set[str]]] = {}
    for rule in routes.iter_rules():
        # What takes any path whatever is near to none.
        takes_any = "<path:" in rule.rule or "<text:" in rule.rule
        if takes_any or rule.rule.startswith((*FOREIGN, "/<")):
            continue
        likeness = _likeness(wanted, _filled(rule, wanted))
        if likeness >= ALIKE:
            template = rule.rule.replace("<", "{").replace(">", "}")
            _, methods = found.setdefault(template, (likeness, set()))
            methods.update(_useful(rule.methods or ()))
    nearest = sorted(
        ((method not in methods, -likeness, template), methods)
        for template, (likeness, methods) in found.items()
        if methods
    )
    near = [f"{_shown(methods)} {place[2]}" for place, methods in nearest[:SUGGESTED_MAX]]
    told = f"there is {', '.join(near)}, and " if near else ""
    return f"there is nothing at {wanted}; {told}{ABOUT}"


def _likeness(path: str, other: str) -> float:
    """From 0 to 1; 0 for what is less than `ALIKE`, most of which is seen at a glance."""
    matcher = SequenceMatcher(None, path, other)
    if matcher.real_quick_ratio() < ALIKE or matcher.quick_ratio() < ALIKE:
        return 0.0
    return matcher.ratio()


def _filled(rule: Rule, path: str) -> str:
    """A route with what the path has in the place of its parameters."""
    given = path.split("/")
    parts = rule.rule.split("/")
    return "/".join(
        given[at] if part.startswith("<") and at < len(given) else part
        for at, part in enumerate(parts)
    )


def _useful(methods: Iterable[str]) -> list[str]:
    return sorted({*methods} - {"HEAD", "OPTIONS"})


def _shown(methods: Iterable[str]) -> str:
    return " or ".join(sorted(methods)) or "nothing"
