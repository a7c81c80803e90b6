"""Services found by name though their topics are not announced, as other services call them.

There may be a hundred thousand, so what is remembered of one that was found is forgotten again
when it has no job and was parked. Two calls that find one version at a time share its `Served`, so
they share its bound of jobs at once.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator

from gossamer_node.registry.decisions import is_row
from gossamer_node.registry.on_demand import Loader, OnDemand
from gossamer_node.registry.rows import Row
from gossamer_node.registry.store import Registry
from gossamer_node.work.executing import Served

KEPT_MAX = 1_024
"""Beyond that, those without a job, and with nothing in memory, are forgotten."""


class ByName:
    """What was found lately.

    Args:
        make: a worker for a row; raises InputError for a version that this node does not serve.
    """

    def __init__(self, registry: Registry, loader: Loader, make: Callable[[Row], OnDemand]) -> None:
        self._registry = registry
        self._loader = loader
        self._make = make
        self._found: OrderedDict[tuple[str, str], tuple[Row, Served, OnDemand]] = OrderedDict()

    def served(self, row: Row) -> Served:
        """A version, to be run by `Executor.call`. Raises: InputError."""
        key = (row.name, row.version)
        known = self._found.get(key)
        if known is not None and is_row(known[0], row):
            self._found.move_to_end(key)
            return known[1]
        one = self._make(row)
        served = Served(one.spec, one, None)
        self._found[key] = (row, served, one)
        self._forget_unused()
        return served

    def drop(self, name: str) -> Iterator[Served]:
        """Takes out versions of a name that are here no more, for somebody to see them off."""
        for key in [one for one in self._found if one[0] == name]:
            row = self._registry.get(*key)
            before, served, _ = self._found[key]
            if row is None or not row.here or row.refused or not is_row(before, row):
                del self._found[key]
                yield served

    def live(self) -> Iterator[Row]:
        """The versions that are loaded now."""
        for row, _, one in self._found.values():
            if self._loader.is_live(one):
                yield row

    def workers(self) -> Iterator[OnDemand]:
        for _, _, one in self._found.values():
            yield one

    def _forget_unused(self) -> None:
        excess = len(self._found) - KEPT_MAX
        for key, (_, served, one) in list(self._found.items())[:-1] if excess > 0 else ():
            if excess > 0 and not served.running and not self._loader.is_live(one):
                del self._found[key]
                excess -= 1
