"""What the two sides of `core` stand on: who they are, the time, messages out, the disk.

The disk is asked in order for each key, one thing at a time: what is read after a write has begun
sees the write. Its answers come back by number, whenever they come.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from gossamer_node.keyed.circle import View
from gossamer_node.keyed.key import Key
from gossamer_node.keyed.messages import Answer, Message
from gossamer_node.keyed.versions import NOTHING, Ballot, Version

DISK_BYTES_MAX = 64 * 2**20
"""Of what waits to be written. A copy that finds no room is left out, and its home repeats it."""

DISK_MAX = 8_192
"""What the disk was asked for and has not answered; beyond, others' questions are left out."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A key on the disk.

    Attributes:
        state: empty for none.
        answers: the last ones, the newest last.
        found: the answer of the job that was asked for, if it is kept.
    """

    version: Version = NOTHING
    state: bytes = b""
    answers: tuple[Answer, ...] = ()
    found: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """To the driver: read a key, and the answer of `job`, an engine and a key there."""

    number: int
    key: Key
    job: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Writing:
    """To the driver: write this, unless what is there has a ballot above `ballot`."""

    number: int
    key: Key
    ballot: Ballot
    version: Version
    state: bytes
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """From the driver: the disk did not do it. `text`: a sentence's end."""

    text: str


@dataclass(frozen=True, slots=True)
class Written:
    """From the driver. `term`: of what is there, where that was above; else 0."""

    term: int = 0


@dataclass(frozen=True, slots=True)
class Forked:
    """For a person: a key had two histories; `kept` goes on, `dropped` of `member` is gone."""

    key: Key
    kept: Version
    dropped: Version
    member: str


Done = Stored | Written | Failure


@dataclass(slots=True)
class _Task:
    ask: Reading | Writing
    then: Callable[[Done], None]


@dataclass(slots=True)
class Floor:
    """Shared by the sides of one core.

    Attributes:
        now_ms: set by the core at each call.
        session: of this process.
    """

    view: View
    session: int
    now_ms: int = 0
    outbox: deque[tuple[str, Message]] = field(default_factory=deque)
    asked: deque[Reading | Writing] = field(default_factory=deque)
    forks: deque[Forked] = field(default_factory=deque)
    _tasks: dict[Key, deque[_Task]] = field(default_factory=dict)
    _keys: dict[int, Key] = field(default_factory=dict)
    _number: int = 0
    _count: int = 0
    _bytes: int = 0

    @property
    def own(self) -> str:
        return self.view.own

    def send(self, member: str, message: Message) -> None:
        """Queues a message, to this very member as well."""
        self.outbox.append((member, message))

    def has_room(self, size_bytes: int = 0) -> bool:
        """Whether the disk may be asked for more by others."""
        return self._count < DISK_MAX and self._bytes + size_bytes <= DISK_BYTES_MAX

    def read(
        self, key: Key, then: Callable[[Stored | Failure], None], job: tuple[str, str] | None = None
    ) -> None:
        """Reads a key after all that it was asked for before."""
        self._number += 1

        def done(result: Done) -> None:
            assert not isinstance(result, Written), "a reading was answered as a writing"
            then(result)

        self._put(Reading(self._number, key, job), done)

    def write(
        self,
        key: Key,
        ballot: Ballot,
        stored: Stored,
        then: Callable[[Written | Failure], None],
    ) -> None:
        """Writes a key after all that it was asked for before."""
        self._number += 1

        def done(result: Done) -> None:
            assert not isinstance(result, Stored), "a writing was answered as a reading"
            then(result)

        asked = Writing(self._number, key, ballot, stored.version, stored.state, stored.answers)
        self._put(asked, done)

    def done(self, number: int, result: Done) -> None:
        """The driver's answer to a `Reading` or a `Writing`."""
        key = self._keys.pop(number)
        tasks = self._tasks[key]
        task = tasks.popleft()
        self._count -= 1
        self._bytes -= _size(task.ask)
        if tasks:
            self._begin(tasks[0])
        else:
            del self._tasks[key]
        task.then(result)

    def _put(self, ask: Reading | Writing, then: Callable[[Done], None]) -> None:
        task = _Task(ask, then)
        tasks = self._tasks.setdefault(ask.key, deque())
        tasks.append(task)
        self._count += 1
        self._bytes += _size(ask)
        if len(tasks) == 1:
            self._begin(task)

    def _begin(self, task: _Task) -> None:
        self._keys[task.ask.number] = task.ask.key
        self.asked.append(task.ask)


def _size(ask: Reading | Writing) -> int:
    return len(ask.state) if isinstance(ask, Writing) else 0
