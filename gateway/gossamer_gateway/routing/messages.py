"""Which engines a message goes to. Pure: what is known comes in as facts.

A message wakes an instance that waits for it, or starts one, and only an engine can tell which. So
a rule for its name says where it goes; without one the dialects offer it to one engine after
another:

    to: instance    the engine where the instance lives that it is for; where none does, the first
                    engine of the client's own dialect, which answers as it always did
    to: start       the same; where no instance waits, the engine that the route of `process`
                    chooses, whose new instance the message starts
    to: all         every engine, for each may have a subscription

An instance that is named by its id leaves no choice, whatever the rule says. An engine that could
not be asked is unavailable, never empty: while no instance is known, it may live there, and nothing
goes elsewhere in its stead. Two engines with an instance each are not chosen between: the client is
told. A message to all is sent when all answer, since one that reached half of them cannot be sent
again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gossamer_gateway.errors import BadRequest
from gossamer_gateway.settings.table import Setting

KIND = "message"

To = Literal["instance", "start", "all"]
ALL_TO: tuple[To, ...] = ("instance", "start", "all")


@dataclass(frozen=True, slots=True)
class MessageRule:
    """Where messages of one name go.

    Attributes:
        message: their name.
        process: for `start`, whose route counts; else "".
    """

    message: str
    to: To
    process: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one message.

    Attributes:
        engines: all that there are, as the configuration orders them.
        own: the first of them that speaks the client's dialect, or that it named.
        named: the engine of the instance that the client named by its id; None where it named none.
        holders: engines where an instance waits for it, found by business key or by subscription;
            what our own index knows counts for a silent engine, too.
        silent: engines that could not be asked.
        routed: the engine that the route of the rule's process chooses; None without a route.
    """

    engines: tuple[str, ...]
    own: str
    named: str | None = None
    holders: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    routed: str | None = None


@dataclass(frozen=True, slots=True)
class Deliver:
    """It goes to these, in this order."""

    engines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotNow:
    """It goes nowhere: an engine does not answer. In each dialect: 503."""

    sentence: str


@dataclass(frozen=True, slots=True)
class NotOne:
    """It goes nowhere: several engines have an instance for it. In each dialect: 400."""

    sentence: str


def where(rule: MessageRule, facts: Facts) -> Deliver | NotNow | NotOne:
    """Where a message goes."""
    silent = sorted(facts.silent)
    if facts.named is not None:
        if facts.named in facts.silent:
            return NotNow(f"the instance lives in {facts.named}, which does not answer.")
        return Deliver((facts.named,))
    if rule.to == "all":
        if silent:
            return NotNow(
                f"messages {rule.message} go to every engine, and {', '.join(silent)} does not "
                "answer; nothing was sent."
            )
        return Deliver(facts.engines)
    holders = [name for name in facts.engines if name in facts.holders]
    if len(holders) > 1:
        return NotOne(
            f"instances in {' and '.join(holders)} wait for {rule.message}; name one by its id, "
            "or the engine with the header Gossamer-Engine."
        )
    if holders and holders[0] in facts.silent:
        return NotNow(f"the instance lives in {holders[0]}, which does not answer.")
    if holders:
        return Deliver((holders[0],))
    if silent:
        return NotNow(
            f"an instance in {', '.join(silent)} may wait for {rule.message}, and it does not "
            "answer."
        )
    if rule.to == "start" and facts.routed is not None:
        return Deliver((facts.routed,))
    return Deliver((facts.own,))


def value_of(rule: MessageRule) -> dict[str, Any]:
    """A rule as a setting's value."""
    return {"to": rule.to, "process": rule.process} if rule.process else {"to": rule.to}


def read_value(message: str, value: Mapping[str, Any]) -> MessageRule:
    """A rule out of a setting's value, or of what a person sent.

    Raises: BadRequest.
    """
    to, process = value.get("to"), value.get("process", "")
    if to not in ALL_TO:
        raise BadRequest(f"to is {to!r}; write one of {', '.join(ALL_TO)}.")
    if not isinstance(process, str):
        raise BadRequest("process is the id of the process that the message starts, as text.")
    if to == "start" and not process:
        raise BadRequest("to: start needs process, the id of the process that the message starts.")
    if to != "start" and process:
        raise BadRequest(f"process is for to: start alone; leave it out with to: {to}.")
    return MessageRule(message, to, process)


def of_setting(setting: Setting) -> MessageRule:
    """The rule that a setting, whose value was read before, makes."""
    assert setting.value is not None, "a removal is no rule"
    return read_value(setting.name, setting.value)
