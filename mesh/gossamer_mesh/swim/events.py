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


class IdentityTaken:
    """Another process has our identity (a copied key file) and the higher session; it is at
    `address`. This one is quiet from now on, as if it had never been."""

    def __init__(self, address: "Address") -> None:
        self.address = address


class NameTaken:
    """Two members have one name: `member` and the member of id `other_id`. Told once for a pair;
    nothing else follows."""

    def __init__(self, member: "Member", other_id: str) -> None:
        self.member = member
        self.other_id = other_id


class LeaveDone:
    """The goodbye was handed on as often as it needs, or its time is up."""


if TYPE_CHECKING:
    Event = MemberEvent | JoinAnswered | JoinUnanswered | LeaveDone | IdentityTaken | NameTaken
