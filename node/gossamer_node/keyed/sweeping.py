"""After a change of the mesh, every key goes where it belongs by now, though no job wants it.

A node walks through the keys on its disk and tells each key's home what it has. The home has the
newest version and a copy of it before it answers. So many are under way at a time, and each is told
again until it is answered. While a walk lasts, a second death may lose what a first one had left
alone; with it, only nodes that die together do.
"""

from collections.abc import Callable

from gossamer_node.keyed.key import Key
from gossamer_node.keyed.messages import Settled
from gossamer_node.keyed.versions import Version

WINDOW = 64
"""Keys that are told of at a time. The driver looks ten times a second, so a walk through 100,000
keys takes about three minutes; jobs have their turns meanwhile."""

REPEAT_MS = 2_000


class Sweep:
    """One node's walk. The driver reads the keys; `cursor` is the last one that was added."""

    def __init__(self) -> None:
        self.cursor: Key | None = None
        self.is_at_end = True
        self._pending: dict[Key, tuple[Version, int]] = {}
        self.moved = 0

    def begin(self) -> None:
        """The mesh is another."""
        self.cursor = None
        self.is_at_end = False
        self._pending.clear()

    def is_over(self) -> bool:
        return self.is_at_end and not self._pending

    def room(self) -> int:
        """Keys that may be added now."""
        return 0 if self.is_at_end else WINDOW - len(self._pending)

    def add(
        self, page: list[tuple[Key, Version]], asked: int, is_shared: Callable[[Key], bool]
    ) -> None:
        """The next keys in order, as many as were asked for, or the last ones.

        Args:
            is_shared: whether others have a say in a key; who has none needs no telling.
        """
        for key, version in page:
            self.cursor = key
            if is_shared(key):
                self._pending[key] = (version, -REPEAT_MS)
        self.is_at_end = len(page) < asked

    def settled(self, message: Settled) -> bool:
        """A home's word. Returns whether it counts: the home has what this node has, or more."""
        pending = self._pending.get(message.key)
        if pending is None or message.version.order() < pending[0].order():
            return False
        del self._pending[message.key]
        self.moved += 1
        return True

    def due(self, now_ms: int) -> list[tuple[Key, Version]]:
        """Keys whose home is to be told now."""
        found = [
            (key, version)
            for key, (version, told_ms) in self._pending.items()
            if now_ms >= told_ms + REPEAT_MS
        ]
        for key, version in found:
            self._pending[key] = (version, now_ms)
        return found
