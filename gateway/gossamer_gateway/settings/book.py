"""The book of a running gateway's settings: where they are changed, learned and read.

What counts is in memory, for every request asks it, and on the disk before anybody hears of a
change. Each kind has a *form* that says what is wrong with a value, and makes of it what the code
works with. It judges what people write here in full. What another gateway sent is judged by the
same form; one that it refuses is dropped and counted, as another version of Gossamer may send it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gossamer_gateway.errors import Overloaded, RequestError, UnknownSetting
from gossamer_gateway.settings import keeping
from gossamer_gateway.settings.keeping import Change
from gossamer_gateway.settings.signed import sign
from gossamer_gateway.settings.table import CLOCK_MAX, SETTINGS_MAX, Setting, Table, next_clock
from gossamer_gateway.storage.port import Rows, Storage
from gossamer_mesh.identity import Identity

Form = Callable[[str, Mapping[str, Any]], object]
"""Takes a name and a value; raises RequestError with a sentence for what is none of its kind."""

Heard = Callable[[Sequence[Setting]], None]
"""Told what counts since now."""


class Book:
    """One gateway's. `spreading` brings it what others changed.

    Args:
        storage: where rows are kept, `keeping.SCHEMA` among them.
        identity: the gateway's own key, which signs what is changed here.
        forms: by kind. Settings of other kinds are kept and handed on, and do nothing.
    """

    def __init__(
        self, storage: Storage, identity: Identity, mesh_name: str, forms: Mapping[str, Form]
    ) -> None:
        self._storage = storage
        self._identity = identity
        self.mesh_name = mesh_name
        self._forms = forms
        self._number = 0
        self._listeners: list[Heard] = []
        self.table = Table()
        self.refused = 0

    @property
    def gateway(self) -> str:
        """This gateway's node id."""
        return self._identity.node_id

    def listen(self, heard: Heard) -> None:
        """From now on it is told what was changed here, or came by the rows."""
        self._listeners.append(heard)

    async def refresh(self) -> None:
        """Takes what is in the rows, of this gateway's last run or of others who share them.

        Raises: StorageFailed; Overloaded.
        """
        number = self._number

        def read(rows: Rows, _now_ms: int) -> tuple[int, list[Setting]]:
            return keeping.newer(rows, number)

        last, settings = await self._storage.submit(read)
        self._number = max(self._number, last)
        self._take(settings)

    async def change(
        self, kind: str, name: str, value: Mapping[str, Any] | None, who: str
    ) -> Setting:
        """Makes a setting that wins over all that are known here. None removes it.

        Args:
            who: the person or program that asked, for the history.

        Raises: BadRequest; UnknownSetting for a removal of nothing; StorageFailed; Overloaded.
        """
        if value is not None:
            self._forms[kind](name, value)
        elif self.table.get(kind, name) is None:
            raise UnknownSetting(f"there is no {kind} {name} here.")
        if self.table.get(kind, name) is None and not self.table.has_room(kind):
            raise Overloaded(
                f"there were {SETTINGS_MAX} names of a {kind}, and more are not kept; set one "
                "that was there before."
            )

        known = self.table.clock

        def command(rows: Rows, now_ms: int) -> Setting:
            clock = next_clock(max(known, keeping.highest_clock(rows)), now_ms)
            if clock > CLOCK_MAX:
                raise Overloaded(
                    "the clock of the settings is at its end; a gateway that was trusted has set "
                    "it there."
                )
            made = sign(
                self._identity, self.mesh_name, kind, name, value,
                clock=clock, who=who, at_ms=now_ms,
            )  # fmt: skip
            keeping.keep(rows, [made], now_ms)
            return made

        made = await self._storage.submit(command)
        self._take([made])
        return made

    async def learn(self, settings: Iterable[Setting]) -> bool:
        """Takes what other gateways sent and signed; whether any of it counts now.

        Raises: StorageFailed; Overloaded.
        """
        wanted = [one for one in settings if self.table.would_learn(one) and self._is_sound(one)]
        if not wanted:
            return False

        def command(rows: Rows, now_ms: int) -> None:
            keeping.keep(rows, wanted, now_ms)

        await self._storage.submit(command)
        self._take(wanted)
        return True

    async def history(
        self, kind: str, name: str | None = None, *, before: int | None = None, count_max: int = 50
    ) -> list[Change]:
        """What was changed, the newest first.

        Raises: StorageFailed; Overloaded.
        """

        def read(rows: Rows, _now_ms: int) -> list[Change]:
            return keeping.history(rows, kind, name, before=before, count_max=count_max)

        return await self._storage.submit(read)

    def _take(self, settings: Iterable[Setting]) -> None:
        taken = [one for one in settings if self.table.learn(one)]
        if taken:
            for heard in self._listeners:
                heard(taken)

    def _is_sound(self, setting: Setting) -> bool:
        form = self._forms.get(setting.kind)
        if form is None or setting.value is None:
            return True
        try:
            form(setting.name, setting.value)
        except RequestError:
            self.refused += 1
            return False
        return True
