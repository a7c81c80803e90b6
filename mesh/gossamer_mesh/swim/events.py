"""What the core tells its driver. Values only; the driver takes them after every call."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.swim.members import Member

    Address = tuple[str, int]


class MemberEvent:
    """A member changed. `kind` is one of `state`'s event names, `member` as it is now."""

    def __init__(self, kind: str, member: "Member") -> None:
        self.kind = kind
        self.member = member


class JoinAnswered:
    """The member at `address` sent its table."""

    def __init__(self, address: "Address") -> None:
        self.address = address


class JoinUnanswered:
    """Nobody at `address` answered `Config.join_attempts` times."""

    def __init__(self, address: "Address") -> None:
        self.address = address


class LeaveDone:
    """The goodbye was handed on as often as it needs, or its time is up."""


if TYPE_CHECKING:
    Event = MemberEvent | JoinAnswered | JoinUnanswered | LeaveDone
