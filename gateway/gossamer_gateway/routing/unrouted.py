"""Where new instances go while nobody has made a route: to the first engine of the dialect that the
client speaks, else to the first there is. A header may name another."""

from collections.abc import Mapping

from gossamer_gateway.desk import ENGINE_HEADER
from gossamer_gateway.errors import BadRequest
from gossamer_gateway.upstreams.upstream import Upstream, Upstreams
from gossamer_node.engines.config import Kind


class Unrouted:
    """See `desk.Starting`."""

    def __init__(self, engines: Upstreams) -> None:
        self._engines = engines

    def engine_for(
        self,
        process: str,
        *,
        business_key: str | None,
        headers: Mapping[str, str],
        dialect: Kind,
    ) -> Upstream:
        named = headers.get(ENGINE_HEADER)
        if named is not None:
            found = self._engines.named(named)
            if found is None:
                known = ", ".join(one.name for one in self._engines.all) or "none"
                raise BadRequest(f"There is no engine {named} here; there are {known}")
            return found
        if not self._engines.all:
            raise BadRequest("This gateway has no engine; name one under engines in its file")
        own = [one for one in self._engines.all if one.kind == dialect]
        return (own or self._engines.all)[0]
