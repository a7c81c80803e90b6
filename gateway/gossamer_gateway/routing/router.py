"""What the dialects ask: which engine a start goes to, and what people change about it.

A route names engines. One that does not answer is no reason to choose another, and neither is one
that this gateway does not know: the start is refused then, in a sentence. A client may name the
engine itself with a header; that counts over any route.
"""

import secrets
from collections.abc import Mapping, Sequence

from gossamer_gateway.desk import ENGINE_HEADER
from gossamer_gateway.errors import BadRequest
from gossamer_gateway.routing import messages, routes
from gossamer_gateway.routing.messages import MessageRule
from gossamer_gateway.routing.routes import ANY, BUSINESS_KEY, HEADER, Route
from gossamer_gateway.routing.unrouted import Unrouted
from gossamer_gateway.settings.book import Book, Form
from gossamer_gateway.settings.keeping import Change
from gossamer_gateway.settings.table import Setting
from gossamer_gateway.upstreams.upstream import Upstream, Upstreams
from gossamer_node.engines.config import Kind
from gossamer_node.errors import EngineUnavailable

FORMS: Mapping[str, Form] = {routes.KIND: routes.read_value, messages.KIND: messages.read_value}
"""What `Book` is to be given for these settings."""


class Router:
    """One gateway's; it is a `desk.Starting`."""

    def __init__(self, book: Book, engines: Upstreams) -> None:
        self._book = book
        self._engines = engines
        self._unrouted = Unrouted(engines)
        self._routes: dict[str, Route] = {}
        self._rules: dict[str, MessageRule] = {}
        book.listen(self._heard)
        self._heard(book.table.all())

    def _heard(self, settings: Sequence[Setting]) -> None:
        for one in settings:
            if one.kind == routes.KIND:
                self._routes.pop(one.name, None)
                if one.value is not None:
                    self._routes[one.name] = routes.of_setting(one)
            elif one.kind == messages.KIND:
                self._rules.pop(one.name, None)
                if one.value is not None:
                    self._rules[one.name] = messages.of_setting(one)

    # --- what requests ask

    def engine_for(
        self,
        process: str,
        *,
        business_key: str | None,
        headers: Mapping[str, str],
        dialect: Kind,
    ) -> Upstream:
        """See `desk.Starting`.

        Raises:
            BadRequest: the client named an engine that is not there.
            EngineUnavailable: the route did.
        """
        route = self.route_of(process)
        if route is None or headers.get(ENGINE_HEADER) is not None:
            return self._unrouted.engine_for(
                process, business_key=business_key, headers=headers, dialect=dialect
            )
        return self._chosen(route, business_key, headers)

    def routed(
        self, process: str, business_key: str | None, headers: Mapping[str, str]
    ) -> Upstream | None:
        """The engine that the route of a process chooses; None without one.

        Raises: EngineUnavailable: it is none of ours.
        """
        route = self.route_of(process)
        return None if route is None else self._chosen(route, business_key, headers)

    def _chosen(
        self, route: Route, business_key: str | None, headers: Mapping[str, str]
    ) -> Upstream:
        name = routes.choose(route, _sticker(route, business_key, headers))
        found = self._engines.named(name)
        if found is None:
            raise EngineUnavailable(
                f"the route of {route.process} sends this start to {name}, which this gateway "
                "does not have; add the engine to its configuration, or set another route."
            )
        return found

    def route_of(self, process: str) -> Route | None:
        """The route that counts for a process; None where nobody made one."""
        return self._routes.get(process) or self._routes.get(ANY)

    def rule_of(self, message: str) -> MessageRule | None:
        """The rule for messages of a name; None where nobody made one."""
        return self._rules.get(message)

    # --- what people do

    def engine_names(self) -> list[str]:
        """Of the engines that a route may name here, in the configuration's order."""
        return [one.name for one in self._engines.all]

    def routes(self) -> list[Route]:
        """All routes, by process."""
        return [self._routes[name] for name in sorted(self._routes)]

    def rules(self) -> list[MessageRule]:
        """All rules for messages, by name."""
        return [self._rules[name] for name in sorted(self._rules)]

    async def set(
        self, process: str, shares: Mapping[str, int], who: str, sticker: str = BUSINESS_KEY
    ) -> Route:
        """Makes a route; it counts here when this returns, and elsewhere some milliseconds later.

        Args:
            shares: in hundredths of a per cent; see `routes.complete` for what may be left out.

        Raises: BadRequest; StorageFailed; Overloaded.
        """
        names = self.engine_names()
        whole = routes.complete(shares, names)
        wrong = routes.check(whole, names) or routes.check_sticker(sticker)
        if wrong:
            raise BadRequest(wrong)
        value = routes.value_of(whole, sticker)
        return routes.of_setting(await self._book.change(routes.KIND, process, value, who))

    async def remove(self, process: str, who: str) -> None:
        """Removes a route. Raises: UnknownSetting; StorageFailed; Overloaded."""
        await self._book.change(routes.KIND, process, None, who)

    async def set_rule(self, rule: MessageRule, who: str) -> None:
        """Makes a rule for a message. Raises: BadRequest; StorageFailed; Overloaded."""
        await self._book.change(messages.KIND, rule.message, messages.value_of(rule), who)

    async def remove_rule(self, message: str, who: str) -> None:
        """Removes one. Raises: UnknownSetting; StorageFailed; Overloaded."""
        await self._book.change(messages.KIND, message, None, who)

    async def audit(
        self, process: str | None = None, *, before: int | None = None, count_max: int = 50
    ) -> list[Change]:
        """Who changed routes, the newest first; see `Book.history`."""
        return await self._book.history(routes.KIND, process, before=before, count_max=count_max)

    async def audit_rules(
        self, message: str | None = None, *, before: int | None = None, count_max: int = 50
    ) -> list[Change]:
        """Who changed rules for messages, likewise."""
        return await self._book.history(messages.KIND, message, before=before, count_max=count_max)


def _sticker(route: Route, business_key: str | None, headers: Mapping[str, str]) -> str:
    """What makes a start stick to others; chance where there is nothing."""
    if route.sticker == BUSINESS_KEY:
        found = business_key
    elif route.sticker.startswith(HEADER):
        found = headers.get(route.sticker.removeprefix(HEADER).lower())
    else:
        found = None
    return secrets.token_hex(16) if found is None else found
