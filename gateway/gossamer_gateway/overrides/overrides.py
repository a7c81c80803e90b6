"""What the gateway asks before anybody serves a request, and what people change about it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gossamer_gateway.errors import BadRequest, UpstreamFailed
from gossamer_gateway.overrides import rules
from gossamer_gateway.overrides.deciding import Request, Verdict, decide, explain, ordered
from gossamer_gateway.overrides.forwarding import Answer, Forwarder
from gossamer_gateway.overrides.rules import RULES_MAX, Engine, Respond, Rule, Service, ToUrl
from gossamer_gateway.overrides.serving import CallService, serve
from gossamer_gateway.settings.book import Book, Form
from gossamer_gateway.settings.keeping import Change
from gossamer_gateway.settings.table import Setting
from gossamer_gateway.upstreams.upstream import Upstreams

FORMS: Mapping[str, Form] = {rules.KIND: rules.read_value}
"""What `Book` is to be given for these settings."""


class Overrides:
    """One gateway's.

    Args:
        forwarder: for rules with a URL.
        call_service: for rules with a service; None where no mesh is at hand.
        wants: told of the services that rules name, whenever they may be others: who has them in
            the mesh is only known of services that somebody looks for.
    """

    def __init__(
        self,
        book: Book,
        engines: Upstreams,
        forwarder: Forwarder,
        call_service: CallService | None = None,
        wants: Callable[[Sequence[Service]], None] = lambda services: None,
    ) -> None:
        self._book = book
        self._engines = engines
        self._forwarder = forwarder
        self._call_service = call_service
        self._wants = wants
        self._rules: dict[str, Rule] = {}
        self._ordered: list[Rule] = []
        book.listen(self._heard)
        self._heard(book.table.all())

    def _heard(self, settings: Sequence[Setting]) -> None:
        for one in settings:
            if one.kind == rules.KIND:
                self._rules.pop(one.name, None)
                if one.value is not None:
                    self._rules[one.name] = rules.of_setting(one)
        self._ordered = ordered(self._rules.values())
        actions = [one.action for one in self._ordered]
        self._wants([one for one in actions if isinstance(one, Service)])

    # --- what requests ask

    def decide(self, request: Request) -> Verdict | None:
        """The rule that a request falls under; None for none. An action of `rules.Engine` is for
        the dialects, all others for `answer`."""
        return decide(self._ordered, request) if self._ordered else None

    def explain(self, request: Request) -> list[Verdict]:
        """Why each rule before the one that matches does not."""
        return explain(self._ordered, request)

    async def answer(self, verdict: Verdict, request: Request, query: bytes, body: bytes) -> Answer:
        """What a rule answers.

        Raises: BadRequest; UpstreamFailed.
        """
        match verdict.action:
            case Respond(status, headers, text):
                return Answer(status, headers, b"" if request.method == "HEAD" else text)
            case ToUrl() as to_url:
                return await self._forwarder.forward(to_url, verdict.caught, request, query, body)
            case Service() as service:
                if self._call_service is None:
                    raise UpstreamFailed(503, f"no mesh is at hand that has {service.name}.")
                return await serve(
                    self._call_service, service, verdict.caught, request, query, body
                )
        raise AssertionError("another engine is the dialects' matter")

    # --- what people do

    def rules(self) -> list[Rule]:
        """All rules, in the order in which they are asked."""
        return list(self._ordered)

    async def set(self, name: str, value: Mapping[str, Any], who: str) -> Rule:
        """Adds a rule, or puts another in its place.

        Raises: BadRequest; StorageFailed; Overloaded.
        """
        rule = rules.read_value(name, value)
        if isinstance(rule.action, Engine) and self._engines.named(rule.action.name) is None:
            known = ", ".join(one.name for one in self._engines.all) or "none"
            raise BadRequest(f"engine is {rule.action.name!r}; there are {known}.")
        if name not in self._rules and len(self._rules) >= RULES_MAX:
            raise BadRequest(f"there are {RULES_MAX} rules, as many as may be; remove one first.")
        return rules.of_setting(await self._book.change(rules.KIND, name, value, who))

    async def remove(self, name: str, who: str) -> None:
        """Removes a rule. Raises: UnknownSetting; StorageFailed; Overloaded."""
        await self._book.change(rules.KIND, name, None, who)

    async def audit(
        self, name: str | None = None, *, before: int | None = None, count_max: int = 50
    ) -> list[Change]:
        """Who changed rules, the newest first; see `Book.history`."""
        return await self._book.history(rules.KIND, name, before=before, count_max=count_max)
