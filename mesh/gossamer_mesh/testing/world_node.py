"""One node of a world, over all the lives of its process, and the truth about it.

What its processes do is `world_process`; this is what stays between them, what can happen to them
from outside, and what must be so about them in the end.
"""

from gossamer_mesh.swim.state import DEPARTED, STATE_NAMES
from gossamer_mesh.testing.world_process import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gossamer_mesh.leases.lease import Lease
    from gossamer_mesh.leases.messages import LeaseId
    from gossamer_mesh.swim.codec import Profile
    from gossamer_mesh.testing.network import Address
    from gossamer_mesh.testing.world import World

STOP_MS = 2_500
"""From a stop's goodbye to the end of its process."""


class Node:
    """One member, over all the lives of its process."""

    def __init__(self, world: "World", number: int) -> None:
        rng = world.rng
        self.number = number
        self.id = f"{number:032x}"
        self.address: Address = (f"10.0.0.{number}", 7946)
        self.is_gone = False
        self.snapshot = b""
        self.changes = 0
        self.said: set[tuple[int, bytes]] = set()
        self.goodbyes: set[int] = set()
        self.process: Process | None = None
        self._world = world
        # The first can do everything, so that each job finds its node in the end.
        self.engines = [
            name
            for name in sorted(world.engines)
            if number == 1 or rng.below(100) < world.plan.reaches_percent
        ]
        self.waits = rng.below(100) < world.plan.waits_percent
        self._wall_ms = rng.below(1_000_000)

    @property
    def is_up(self) -> bool:
        return self.process is not None

    def start_if_down(self) -> None:
        """Starts, with nothing remembered but its id and at times a snapshot, new or old."""
        if self.process is None and not self.is_gone:
            self._world.note(f"n{self.number} starts")
            self.process = Process(self._world, self)
            self.process.begin()

    def crash(self) -> None:
        """Gone without a word."""
        if self.process is not None:
            self._world.note(f"n{self.number} crashes")
            self._end()

    def vanish(self) -> None:
        """Crashes, and its host never comes back."""
        self.is_gone = True
        self.crash()

    def stop(self) -> None:
        """Stops in good order: no more work, hands back what runs, says goodbye, ends."""
        process = self.process
        if process is not None and not process.will_stop:
            self._world.note(f"n{self.number} stops")
            process.will_stop = True
            process.post(process.drain)
            self._world.after(1_500, lambda: process.post(process.hand_back))
            self._world.after(3_000, lambda: process.post(process.leave))
            self._world.after(3_000 + STOP_MS, lambda: self._end_of(process))

    def stall(self, length_ms: int) -> None:
        """Nothing runs for a while: a stopped process, or a host out of breath."""
        if self.process is not None:
            self._world.note(f"n{self.number} stalls for {length_ms} ms")
            self.process.stall(length_ms)

    def end_trouble(self) -> None:
        """Is up and awake from now on."""
        process = self.process
        if process is not None and process.will_stop:
            self.crash()
        elif process is not None:
            process.wake_up()
        self.start_if_down()

    def wall_ms(self) -> int:
        """What its calendar says, which is wrong, and may go back between two runs."""
        if self._world.rng.below(4) == 0:
            self._wall_ms = self._world.rng.below(1_000_000)
        return self._wall_ms + self._world.clock.now_ms

    def claims(self) -> bool:
        """Whether it is a claimer now."""
        process = self.process
        return process is not None and any(
            process.claimers[group].elected for group in process.claimers
        )

    def mirrors(self) -> bool:
        """Whether it is an heir now, of a claimer that has leases."""
        process = self.process
        return process is not None and any(
            len(process.claimers[group].mirrored()) > 0 for group in process.claimers
        )

    def works(self) -> bool:
        """Whether it has a job now."""
        return self.process is not None and len(self.process.work.running) > 0

    def knows(self) -> "set[str]":
        """Jobs that it has, or would look after if their claimer were gone."""
        process = self.process
        if process is None:
            return set()
        known = {lease.key for lease in process.holder.leases()}
        for group in sorted(process.claimers):
            known |= {one.id.key for one in process.claimers[group].leases()}
            known |= {lease.key for lease in process.claimers[group].mirrored()}
        return known

    def leases(self) -> "list[Lease]":
        """What it claims."""
        process = self.process
        if process is None:
            return []
        groups = sorted(process.claimers)
        return [one for group in groups for one in process.claimers[group].leases()]

    def sees(self, lease: "LeaseId") -> bool:
        """Whether it answers for this lease, or would if its claimer were gone."""
        process = self.process
        return process is not None and (
            any(one.id == lease for one in self.leases())
            or any(lease in process.claimers[group].mirrored() for group in process.claimers)
        )

    def runs(self, lease: "LeaseId") -> bool:
        """Whether a worker has it now."""
        return self.process is not None and lease in self.process.work.running

    # --- what must be so at the end

    def says(self) -> "tuple[str, int, bytes]":
        """The truth about this member, as others should hold it."""
        assert self.process is not None
        profile = self.process.swim.own.profile
        return ("alive", profile.session, profile.tags)

    def view(self) -> "dict[str, tuple[str, int, bytes]]":
        """Whom it holds present: state, session, tags."""
        assert self.process is not None
        return {
            member.id: (STATE_NAMES[member.state], member.profile.session, member.profile.tags)
            for member in self.process.swim.present()
        }

    def check_believed(self, by: "Node", kind: str, incarnation: int, profile: "Profile") -> None:
        """Rule 3: another believes this of this member."""
        if (profile.session, profile.tags) not in self.said:
            self._world.broken(f"n{by.number} believes what n{self.number} never said")
        if kind == DEPARTED and incarnation not in self.goodbyes:
            self._world.broken(f"n{by.number} believes a goodbye that n{self.number} never said")

    def left(self) -> "list[str]":
        """What it has not finished."""
        process = self.process
        assert process is not None
        found = []
        for group in sorted(process.claimers):
            for one in process.claimers[group].leases():
                found.append(f"n{self.number} {one.id!r} {one.state}")
        counts = process.holder.statistics()
        if counts["running"] or counts["unacknowledged"]:
            found.append(f"n{self.number} holds {sorted(counts.items())}")
        return found

    def count_up(self) -> None:
        """Adds its claimers' own counts to the world's."""
        assert self.process is not None
        for group in sorted(self.process.claimers):
            for name, count in sorted(self.process.claimers[group].statistics().items()):
                self._world.counts[name] = self._world.counts.get(name, 0) + count

    def _end_of(self, process: "Process") -> None:
        if self.process is process:
            self._world.note(f"n{self.number} has stopped")
            self._end()

    def _end(self) -> None:
        if self.process is not None:
            if self._world.rng.below(2):
                self.snapshot = self.process.swim.snapshot()
            self._world.network.detach(self.address)
            self.process.is_over = True
            worker_id = self.process.worker_id
            self.process = None
            self._world.note_end(self, worker_id)
