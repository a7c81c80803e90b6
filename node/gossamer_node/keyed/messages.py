"""What members say of keys to one another, as plain values, and a reader that takes any bytes.

A message is a list: its word, the key's service, tenant and value, then its fields in the order in
which they stand here. What is longer than that is of a later version, and its rest is left out.
Whatever else does not fit its form is no message.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from gossamer_mesh.packing import pack, unpack
from gossamer_node.keyed.circle import CIRCLE_MAX
from gossamer_node.keyed.key import Key
from gossamer_node.keyed.versions import LINE_MAX, NUMBER_MAX, TERM_MAX, Ballot, Version

NAME_CHARACTERS_MAX = 1_024
"""Of a service, a tenant, a key, an engine, a job; each has a narrower bound where it is made."""

STATE_BYTES_MAX = 2**20
"""As service.yaml allows at most."""

MESSAGE_BYTES_MAX = 4 * 2**20
"""As the mesh's streams take at most."""

CONTENT_BYTES_MAX = MESSAGE_BYTES_MAX - 128 * 2**10
"""Of a state and the answers beside it: the rest is for names."""

ANSWERS_MAX = 32
"""Kept answers that go along with a state from node to node: a job that comes again comes soon."""

MS_MAX = 7 * 86_400_000

WAITING_MAX = 10_000

Answer = tuple[str, str, bytes, int]
"""A job that was answered with a state: its engine, its key there, its outcome as bytes, and the
number of the version that came with it, 0 before there is one."""


@dataclass(frozen=True, slots=True)
class Ask:
    """To the home: a job's turn. Repeated until it is granted.

    Attributes:
        run: the asker's number for it, never used again.
        attempt: how often the asker has begun anew; an answer to an earlier one is void.
        limit_ms: how long the turn lasts at most.
        waiting_max: jobs that may wait before it.
    """

    WORD: ClassVar[str] = "ask"
    key: Key
    run: int
    attempt: int
    engine: str
    job: str
    limit_ms: int
    waiting_max: int


@dataclass(frozen=True, slots=True)
class Queued:
    """The home has heard it. `awaited`: members without whose word it gives no turn; with none of
    them, the job waits for others of its key."""

    WORD: ClassVar[str] = "queued"
    key: Key
    run: int
    attempt: int
    awaited: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """The turn, and the newest state."""

    WORD: ClassVar[str] = "grant"
    key: Key
    run: int
    attempt: int
    version: Version
    state: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """The job was answered before, with a state that is kept: no turn."""

    WORD: ClassVar[str] = "answered"
    key: Key
    run: int
    attempt: int
    outcome: bytes


@dataclass(frozen=True, slots=True)
class Refuse:
    """No turn, or no write. `why`: one of the words below; `text`: for a person."""

    WORD: ClassVar[str] = "refuse"
    key: Key
    run: int
    attempt: int
    why: str
    text: str


NOT_HOME, FULL, STALE, DISK = "not_home", "full", "stale", "disk"


@dataclass(frozen=True, slots=True)
class Keep:
    """To the home: what the job of a turn leaves. Ends the turn; repeated until it is answered.

    Attributes:
        base: the version that the turn was given with; what was written since makes it void.
    """

    WORD: ClassVar[str] = "keep"
    key: Key
    run: int
    attempt: int
    base: Version
    state: bytes
    answer: Answer


@dataclass(frozen=True, slots=True)
class Kept:
    """It is on the disks of the home and of the copy."""

    WORD: ClassVar[str] = "kept"
    key: Key
    run: int
    version: Version


@dataclass(frozen=True, slots=True)
class Release:
    """The turn is over and left nothing; also the answer to `Still` from who has no such turn."""

    WORD: ClassVar[str] = "release"
    key: Key
    run: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Still:
    """From the home: others wait; does the turn go on?"""

    WORD: ClassVar[str] = "still"
    key: Key
    run: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Consult:
    """From a new home to the circle: follow no lower ballot from now on, and say what you have.

    Attributes:
        circle: all whom the home asks.
        version: what it has itself.
        answered: the numbers of the last answers that it has.
    """

    WORD: ClassVar[str] = "consult"
    key: Key
    ballot: Ballot
    circle: tuple[str, ...]
    version: Version
    answered: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Has:
    """The answer.

    Attributes:
        version: what it has.
        state: None where it is what the home has.
        answers: the last ones, without those that the home has.
        answered: the numbers of the last ones.
        run, attempt: of its turn under a former home; 0 for none.
        base: the number of the version that this turn was given with.
        left_ms: of that turn.
        busy: a job of the key runs there under no home's turn: ask again.
    """

    WORD: ClassVar[str] = "has"
    key: Key
    ballot: Ballot
    version: Version
    state: bytes | None
    answers: tuple[Answer, ...]
    answered: tuple[int, ...]
    run: int
    attempt: int
    base: int
    left_ms: int
    busy: bool


@dataclass(frozen=True, slots=True)
class Others:
    """Instead of `Has`: there are members that you have not named; ask them, too."""

    WORD: ClassVar[str] = "others"
    key: Key
    ballot: Ballot
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outbid:
    """A higher ballot is followed here, of this term."""

    WORD: ClassVar[str] = "outbid"
    key: Key
    ballot: Ballot
    term: int


@dataclass(frozen=True, slots=True)
class Copy:
    """From the home: put this on your disk."""

    WORD: ClassVar[str] = "copy"
    key: Key
    ballot: Ballot
    version: Version
    state: bytes
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Copied:
    """It is there."""

    WORD: ClassVar[str] = "copied"
    key: Key
    ballot: Ballot
    version: Version


@dataclass(frozen=True, slots=True)
class Nudge:
    """To the home: I have this version; have it as well, and a copy."""

    WORD: ClassVar[str] = "nudge"
    key: Key
    version: Version


@dataclass(frozen=True, slots=True)
class Settled:
    """The answer: this version is on the disks of the home and of the copy, its holders named."""

    WORD: ClassVar[str] = "settled"
    key: Key
    version: Version
    holders: tuple[str, ...]


Message = (
    Ask
    | Queued
    | Grant
    | Answered
    | Refuse
    | Keep
    | Kept
    | Release
    | Still
    | Consult
    | Has
    | Others
    | Outbid
    | Copy
    | Copied
    | Nudge
    | Settled
)


def to_bytes(message: Message) -> bytes:
    """A message for the wire."""
    plain: list[Any] = [message.WORD]
    for field in fields(message):
        value = getattr(message, field.name)
        if isinstance(value, Key):
            plain += [value.service, value.tenant, value.value]
        elif isinstance(value, Version):
            plain.append([value.number, value.line])
        else:
            plain.append(value)
    return pack(plain)


def from_bytes(data: bytes) -> Message | None:
    """A message from the wire; None for what is none."""
    try:
        word, *values = unpack(data)
        made, readers = _FORMS[word]
        key = Key(_name(values[0]), _name(values[1]), _name(values[2]))
        read = [reader(values[3 + number]) for number, reader in enumerate(readers)]
    except Exception:  # msgpack raises a dozen kinds for junk, and our readers three
        return None
    return made(key, *read)


def newest(answers: Iterable[Answer], beside_bytes: int) -> tuple[Answer, ...]:
    """Those that a message has room for beside a state of so many bytes, the newest last."""
    taken: list[Answer] = []
    room = CONTENT_BYTES_MAX - beside_bytes
    for one in sorted(answers, key=lambda each: -each[3])[:ANSWERS_MAX]:
        room -= len(one[0].encode()) + len(one[1].encode()) + len(one[2])
        if room < 0:
            break
        taken.append(one)
    return tuple(reversed(taken))


def _name(value: Any) -> str:
    if not isinstance(value, str) or len(value) > NAME_CHARACTERS_MAX:
        raise ValueError
    return value


def _whole(most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or not 0 <= value <= most:
            raise ValueError
        return value

    return read


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _content(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError
    return value


def _state(value: Any) -> bytes:
    if len(_content(value)) > STATE_BYTES_MAX:
        raise ValueError
    return bytes(value)


def _maybe_state(value: Any) -> bytes | None:
    return None if value is None else _state(value)


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > CIRCLE_MAX:
        raise ValueError
    return tuple(_name(one) for one in value)


_number, _term, _any = _whole(NUMBER_MAX), _whole(TERM_MAX), _whole(2**64 - 1)


def _ballot(value: Any) -> Ballot:
    term, home = value
    return (_term(term), _name(home))


def _version(value: Any) -> Version:
    number, line = value
    if not isinstance(line, list) or len(line) > LINE_MAX:
        raise ValueError
    read = tuple((_number(first), _term(term), _name(home)) for first, term, home in line)
    firsts = [first for first, _, _ in read]
    # As `Version.next` makes them: a written state has a reign, which began by then.
    if firsts != sorted(firsts) or bool(read) != bool(number) or max([0, *firsts]) > number:
        raise ValueError
    return Version(_number(number), read)


def _answer(value: Any) -> Answer:
    engine, job, outcome, number = value
    return (_name(engine), _name(job), _content(outcome), _number(number))


def _numbers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > ANSWERS_MAX:
        raise ValueError
    return tuple(_number(one) for one in value)


def _answers(value: Any) -> tuple[Answer, ...]:
    if not isinstance(value, list) or len(value) > ANSWERS_MAX:
        raise ValueError
    return tuple(_answer(one) for one in value)


_ms = _whole(MS_MAX)

_FORMS: dict[str, tuple[Callable[..., Message], tuple[Callable[[Any], Any], ...]]] = {
    Ask.WORD: (Ask, (_any, _any, _name, _name, _ms, _whole(WAITING_MAX))),
    Queued.WORD: (Queued, (_any, _any, _names)),
    Grant.WORD: (Grant, (_any, _any, _version, _state)),
    Answered.WORD: (Answered, (_any, _any, _content)),
    Refuse.WORD: (Refuse, (_any, _any, _name, _name)),
    Keep.WORD: (Keep, (_any, _any, _version, _state, _answer)),
    Kept.WORD: (Kept, (_any, _version)),
    Release.WORD: (Release, (_any, _any)),
    Still.WORD: (Still, (_any, _any)),
    Consult.WORD: (Consult, (_ballot, _names, _version, _numbers)),
    Has.WORD: (
        Has,
        (_ballot, _version, _maybe_state, _answers, _numbers, _any, _any, _number, _ms, _flag),
    ),
    Others.WORD: (Others, (_ballot, _names)),
    Outbid.WORD: (Outbid, (_ballot, _term)),
    Copy.WORD: (Copy, (_ballot, _version, _state, _answers)),
    Copied.WORD: (Copied, (_ballot, _version)),
    Nudge.WORD: (Nudge, (_version,)),
    Settled.WORD: (Settled, (_version, _names)),
}
