"""One dense service's jobs: in live instances, in turn by key, with the state that a key has.

The order of one keyed job: it waits for its turn; if its answer was kept before, that is its
outcome and nothing runs; else it is given the key's state, runs in the key's instance, and the
state that it answers is on the disk before its outcome goes on. A job that fails, in whatever way,
changes nothing: its state is not kept and its instance is let go, so the next job of the key begins
from the last state that was kept. What a worker only has in memory can go at any time.

Where other nodes work on the service as well, the turn and the state come from the key's home
(`gossamer_node.keyed`), and what the job leaves goes there instead of on this node's disk.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import msgpack

from gossamer_node.jobs import Failed, Job, Outcome
from gossamer_node.keyed.key import Key
from gossamer_node.keyed.messages import CONTENT_BYTES_MAX, DISK, FULL, STALE
from gossamer_node.keyed.runs import Lost, Told
from gossamer_node.service.spec import ServiceSpec
from gossamer_node.wasm.envelope import (
    EnvelopeError,
    decode_answer,
    decode_outcome,
    encode_job,
    outcome_map,
)
from gossamer_node.wasm.guest import Guest, size_text
from gossamer_node.wasm.living.keys import NoKey, Turns, key_of
from gossamer_node.wasm.living.residents import Living, NoRoom, Residency
from gossamer_node.wasm.living.states import Kept, StateError, States

AGAIN_MS = 5_000
"""Until a job that found no room, or a long queue, is tried again; it costs no try."""


@dataclass(slots=True)
class Given:
    """A turn that a key's home gave.

    Attributes:
        kept: the key's state.
        left: what the job leaves: the key's next state, and its outcome as bytes; None for none.
    """

    kept: Kept
    left: tuple[bytes, bytes] | None = None


class DenseWork:
    """Runs the jobs of one dense service. Safe to use from several threads."""

    def __init__(self, spec: ServiceSpec, residency: Residency, states: States) -> None:
        self._spec = spec
        self._bounds = spec.living
        self.residency = residency
        self._states = states
        self.turns = Turns(self._bounds.waiting)

    def key(self, job: Job) -> Key | Failed | None:
        """Whose turn the job is; None: nobody's, it runs at once."""
        if self._bounds.key is None:
            return None
        try:
            return key_of(self._spec.name, self._bounds.key, job)
        except NoKey as error:
            # Trying again would find the same; a person has to look.
            return Failed(
                f"The job {error}; give it one, or mend `dense.key` in service.yaml.", retries=0
            )

    def too_many(self, key: Key, job: Job) -> Failed:
        """For a job that found too many before it."""
        return _later(
            f"{self._bounds.waiting} jobs wait already for the key {key.value} of "
            f"{self._spec.name}; raise `dense.waiting`, or try again later.",
            job,
        )

    def not_kept(
        self, key: Key, job: Job, told: Told, named: Callable[[Sequence[str]], list[str]]
    ) -> Failed:
        """For a job whose home gave no turn, or did not keep what it left. It costs no try.

        Args:
            named: members as a person knows them.
        """
        said = f"the key {key.value} of {self._spec.name}"
        why = told.why if isinstance(told, Lost) else ""
        if why == FULL:
            return self.too_many(key, job)
        if why == STALE:
            text = f"{said} was worked elsewhere meanwhile, so nothing of this run is kept"
        elif why == "waited":
            text = (
                f"{said} was at work for others in all the time that this job has; raise "
                "`limits.time` in service.yaml, or try again later"
            )
        elif why == DISK:
            text = f"the state of {said} {told.text}" if isinstance(told, Lost) else ""
        else:
            members = ", ".join(named(told.members if isinstance(told, Lost) else ()))
            text = (
                f"{said} waits for the word of {members}, which did not come in time; see to the "
                "network between the nodes, or wait until the mesh counts it as gone"
            )
        return _later(f"{text[0].upper()}{text[1:]}.", job)

    def parked(self) -> int:
        """Keys that have a state and no live instance."""
        kept = self._states.kept(self._spec.name)
        return max(0, kept - self.residency.count().with_state)

    def execute(
        self,
        job: Job,
        key: Key | None,
        limit_ms: int,
        begin: Callable[[bytes], Guest],
        blocked: Callable[[], AbstractContextManager[None]],
        given: Given | None = None,
    ) -> Outcome:
        """Work a job on this thread, when it is its turn.

        Args:
            begin: makes its guest, given its input.
            blocked: entered while the thread waits for the disk.
            given: the turn of a key's home; what the job leaves is put there, and kept by nobody.
        """
        kept = Kept()
        try:
            if given is not None:
                kept = given.kept
            elif key is not None:
                kept = self._states.read(key)
                ref = job.ref
                answered = self._states.answer(key, ref.engine, ref.key, kept.version)
                if answered is not None:
                    return decode_outcome(answered)
            data = encode_job(
                job, deadline_ms=limit_ms, encoding=self._spec.encoding, state=kept.state or None
            )
            guest = begin(data)
            living = self.residency.take(key, kept.version)
        except EnvelopeError as error:
            return Failed(f"The job's variables could not be given to the worker: they {error}.")
        except StateError as error:
            return Failed(f"The state of the job's key {error}.")
        except NoRoom as error:
            return _later(str(error), job)
        outcome: Outcome | None = None
        try:
            outcome, left = self._work(job, key, living, guest, data, blocked, given)
            if left is not None:
                kept = left
            return outcome
        finally:
            self.residency.give_back(
                living,
                sound=outcome is not None and not isinstance(outcome, Failed),
                memory_bytes=guest.memory_bytes,
                has_state=bool(kept.state),
                version=kept.version,
            )

    def _work(
        self,
        job: Job,
        key: Key | None,
        living: Living,
        guest: Guest,
        data: bytes,
        blocked: Callable[[], AbstractContextManager[None]],
        given: Given | None,
    ) -> tuple[Outcome, Kept | None]:
        """The outcome, and the state that was kept with it, None for none."""
        answer = guest.work_in(
            living.instance, data, begun=living.jobs > 0, reset=self._bounds.key is None
        )
        if isinstance(answer, Failed):
            return answer, None
        outcome, state = decode_answer(answer)
        if state is None or key is None:
            return outcome, None
        limit = self._bounds.state_bytes_max
        if len(state) > limit:
            return Failed(
                f"The worker answered a state of {len(state)} bytes for its key, more than its "
                f"limit of {size_text(limit)}; keep less, or raise `dense.state` in service.yaml."
            ), None
        try:
            told = msgpack.packb(outcome_map(outcome))
            if given is not None:
                if len(state) + len(told) > CONTENT_BYTES_MAX:
                    return Failed(
                        f"The worker answered {len(state) + len(told):,} bytes, its state counted; "
                        f"nodes hand on at most {CONTENT_BYTES_MAX:,}."
                    ), None
                given.left = (state, told)
                return outcome, Kept(given.kept.version, state)
            with blocked():
                version = self._states.keep(key, job.ref.engine, job.ref.key, state, told)
        except StateError as error:
            return Failed(f"The state that the worker answered {error}."), None
        return outcome, Kept(version, state)


def _later(sentence: str, job: Job) -> Failed:
    return Failed(sentence, retries=job.ref.retries, backoff_ms=AGAIN_MS)
