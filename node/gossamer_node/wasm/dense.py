"""One dense service's jobs: in live instances, in turn by key, with the state that a key has.

The order of one keyed job: it waits for its turn; if its answer was kept before, that is its
outcome and nothing runs; else it is given the key's state, runs in the key's instance, and the
state that it answers is on the disk before its outcome goes on. A job that fails, in whatever way,
changes nothing: its state is not kept and its instance is let go, so the next job of the key begins
from the last state that was kept. What a worker only has in memory can go at any time.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import msgpack

from gossamer_node.jobs import Failed, Job, Outcome
from gossamer_node.service.spec import ServiceSpec
from gossamer_node.wasm.envelope import (
    EnvelopeError,
    decode_answer,
    decode_outcome,
    encode_job,
    outcome_map,
)
from gossamer_node.wasm.guest import Guest, size_text
from gossamer_node.wasm.keys import NoKey, Turns, key_of
from gossamer_node.wasm.residents import Living, NoRoom, Residency
from gossamer_node.wasm.states import Key, StateError, States

AGAIN_MS = 5_000
"""Until a job that found no room, or a long queue, is tried again; it costs no try."""


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
    ) -> Outcome:
        """Work a job on this thread, when it is its turn.

        Args:
            begin: makes its guest, given its input.
            blocked: entered while the thread waits for the disk.
        """
        state: bytes | None = None
        try:
            if key is not None:
                answered = self._states.answer(key, job.ref.engine, job.ref.key)
                if answered is not None:
                    return decode_outcome(answered)
                state = self._states.state(key)
            data = encode_job(job, deadline_ms=limit_ms, encoding=self._spec.encoding, state=state)
            guest = begin(data)
            living = self.residency.take(key)
        except EnvelopeError as error:
            return Failed(f"The job's variables could not be given to the worker: they {error}.")
        except StateError as error:
            return Failed(f"The state of the job's key {error}.")
        except NoRoom as error:
            return _later(str(error), job)
        outcome: Outcome | None = None
        try:
            outcome, kept = self._work(job, key, living, guest, data, blocked)
            if kept is not None:
                state = kept
            return outcome
        finally:
            self.residency.give_back(
                living,
                sound=outcome is not None and not isinstance(outcome, Failed),
                memory_bytes=guest.memory_bytes,
                has_state=bool(state),
            )

    def _work(
        self,
        job: Job,
        key: Key | None,
        living: Living,
        guest: Guest,
        data: bytes,
        blocked: Callable[[], AbstractContextManager[None]],
    ) -> tuple[Outcome, bytes | None]:
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
            with blocked():
                self._states.keep(key, job.ref.engine, job.ref.key, state, told)
        except StateError as error:
            return Failed(f"The state that the worker answered {error}."), None
        return outcome, state


def _later(sentence: str, job: Job) -> Failed:
    return Failed(sentence, retries=job.ref.retries, backoff_ms=AGAIN_MS)
