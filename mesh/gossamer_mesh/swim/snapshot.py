"""What a member keeps for its next start: an incarnation it never went beyond, and whom it knew.

    packed [reserved incarnation, [[id, host, port], …]]

The core makes and reads it; the driver keeps it in a file. Whole meshes restart at once (a power
cut), their seeds may be gone for good and a host's clock may start in the past. Members then find
each other by the addresses they remember, and begin above what they said before: the incarnation
is reserved ahead, for a snapshot is older than the last word. A lost snapshot costs a refutation.

The reader is total: whatever lies in the file gives a snapshot or None.
"""

from gossamer_mesh.swim.codec import INCARNATION_MAX, is_address, is_id, is_int
from gossamer_mesh.swim.state import ALIVE, LEFT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.swim.codec import Codec
    from gossamer_mesh.swim.members import Member

    Address = tuple[str, int]

INCARNATIONS_AHEAD = 65_536
"""How many words of its own a member may say between two snapshots: ten in a second for two hours.
As a wall clock in milliseconds goes, a minute; so a clock that is right soon overtakes it."""

PLACES_MAX = 1_024
"""Members remembered. Each who answers tells of all others, so some would do; some hundred may have
moved."""

SNAPSHOT_BYTES_MAX = 131_072
"""1,024 places of at most 92 bytes, and some to spare for later versions."""


class Snapshot:
    """What was read: where to begin, and address → id of those remembered."""

    def __init__(self, incarnation: int, places: "dict[Address, str]") -> None:
        self.incarnation = incarnation
        self.places = places


def encode(
    codec: "Codec", own: "Member", others: "list[Member]", remembered: "dict[Address, str]"
) -> bytes:
    """A snapshot.

    Args:
        codec: packs it.
        own: this member now.
        others: known members; the newest change counts most, of the living before the dead.
        remembered: of an earlier snapshot, not found again yet; as far as there is room.
    """
    known = [member for member in others if member.id != own.id and member.state != LEFT]
    known.sort(key=lambda member: (member.state != ALIVE, -member.since_ms, member.id))
    places = [[bytes.fromhex(each.id), each.address[0], each.address[1]] for each in known]
    addresses = {each.address for each in known}
    for address in sorted(remembered):
        if address not in addresses:
            places.append([bytes.fromhex(remembered[address]), address[0], address[1]])
    reserved = min(own.incarnation + INCARNATIONS_AHEAD, INCARNATION_MAX)
    return codec.pack([reserved, places[:PLACES_MAX]])


def decode(codec: "Codec", data: bytes) -> Snapshot | None:
    """Reads a snapshot; None for anything else. Places that cannot be read are left out."""
    fields = codec.unpacked(data) if len(data) <= SNAPSHOT_BYTES_MAX else None
    if not isinstance(fields, list) or len(fields) < 2 or not isinstance(fields[1], list):
        return None
    if not is_int(fields[0], 0, INCARNATION_MAX):
        return None
    places = {}
    for place in fields[1][:PLACES_MAX]:
        if not isinstance(place, list) or len(place) < 3 or not is_id(place[0]):
            continue
        if is_address(place[1], place[2]):
            places[(place[1], place[2])] = place[0].hex()
    return Snapshot(fields[0], places)
