"""External tasks: fetched, worked, settled, whichever engine has them.

A task of Camunda 7 goes on to its engine with the client's own bytes. A job of Camunda 8 is looked
up in `handed` first: Camunda 8 asks nobody who he is, so here it is decided whether this worker
still holds it. Its answers then are the ones that Camunda 7 would give.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from quart import Response

from gossamer_gateway import handed
from gossamer_gateway.desk import Desk
from gossamer_gateway.door.asking import check_process, is_limited
from gossamer_gateway.engine_rest import eight as eights
from gossamer_gateway.engine_rest.answers import NOTHING, CannotBe, passed
from gossamer_gateway.engine_rest.fetching import LOCK_MS_MAX, Locked, Refusal, read_fetch
from gossamer_gateway.engine_rest.ids import of_eight
from gossamer_gateway.engine_rest.reading import forward
from gossamer_gateway.errors import BadRequest, NotLockedByWorker, UnknownTask
from gossamer_gateway.fields import DETAILS_CHARS_MAX, Fields
from gossamer_gateway.handed import Handed
from gossamer_gateway.reading7 import read_body
from gossamer_gateway.upstreams.upstream import Upstream
from gossamer_gateway.wording7 import BPMN_ERROR, COMPLETE, EXTEND, FAILURE, LOCK, stamp
from gossamer_node.engines.camunda8 import RELEASE_MS
from gossamer_node.engines.exchange import Answer

RESOURCE = "external-task"

MESSAGE_CHARS_MAX = 666
"""Camunda 7 cuts an error message to its column's 4000 bytes, 666 characters."""


class Tasks:
    """The handlers of `/external-task`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def table(self) -> list[tuple[str, str, Any]]:
        task = "/external-task/<id>"
        return [
            ("POST", "/external-task/fetchAndLock", self.fetch),
            ("POST", f"{task}/complete", self.complete),
            ("POST", f"{task}/bpmnError", self.bpmn_error),
            ("POST", f"{task}/failure", self.failure),
            ("POST", f"{task}/extendLock", self.extend_lock),
            ("POST", f"{task}/lock", self.lock),
            ("POST", f"{task}/unlock", self.unlock),
            ("PUT", f"{task}/retries", self.retries),
            ("PUT", f"{task}/priority", self.priority),
            ("GET", task, self.get),
            ("GET", f"{task}/errorDetails", self.error_details),
        ]

    async def fetch(self) -> Any:
        desk = self._desk
        fetch = read_fetch(await read_body(), desk)
        if fetch is None:
            return []
        found = await desk.polling.fetch(
            fetch.shape,
            fetch.engines,
            wanted=fetch.tasks_max,
            wait_ms=fetch.wait_ms,
            parts=fetch.parts,
        )
        refusal = next((one for _, one in found if isinstance(one, Refusal)), None)
        if refusal is not None:
            desk.polling.hand_back(fetch.shape, found)
            return passed(refusal.answer)
        tasks = []
        for engine, one in found:
            assert isinstance(one, Locked)
            if one.row is None:
                desk.whereabouts.seen(RESOURCE, str(one.task.get("id")), engine)
                instance = str(one.task.get("processInstanceId"))
                desk.whereabouts.seen("process-instance", instance, engine)
            desk.hand_outs.task(engine.name, one.task)
            tasks.append(one.task)
        return tasks

    # --- settling

    async def complete(self, id: str) -> Any:
        job = await self._job(id)
        if job is None:
            return await self._forward(id)
        fields = await read_body()
        eights.variables(fields, "localVariables")  # they end with their task
        said = {"variables": eights.variables(fields)}
        held = await self._held(id, job, fields.text("workerId"), COMPLETE)
        return await self._settle(id, held, "completion", said)

    async def bpmn_error(self, id: str) -> Any:
        job = await self._job(id)
        if job is None:
            return await self._forward(id)
        fields = await read_body()
        said = {
            "errorCode": fields.text("errorCode"),
            "errorMessage": fields.maybe_text("errorMessage") or "",
            "variables": eights.variables(fields),
        }
        held = await self._held(id, job, fields.text("workerId"), BPMN_ERROR)
        return await self._settle(id, held, "error", said)

    async def failure(self, id: str) -> Any:
        job = await self._job(id)
        if job is None:
            return await self._forward(id)
        fields = await read_body()
        retries, back_off_ms = fields.number("retries"), fields.number("retryTimeout")
        if retries < 0 or not 0 <= back_off_ms <= LOCK_MS_MAX:
            raise BadRequest("retries and retryTimeout must not be negative")
        message = fields.maybe_text("errorMessage", DETAILS_CHARS_MAX) or ""
        details = fields.maybe_text("errorDetails", DETAILS_CHARS_MAX)
        outer = eights.variables(fields)
        said = {
            "retries": retries,
            "retryBackOff": back_off_ms,
            "errorMessage": eights.cut(f"{message}\n{details}" if details else message),
            "variables": eights.variables(fields, "localVariables"),
        }
        held = await self._held(id, job, fields.text("workerId"), FAILURE)
        if outer:
            path = f"/v2/element-instances/{held.task['elementInstance']}/variables"
            told = {"variables": outer, "local": False}
            if await eights.ask(self._eight(), "PUT", path, told, "set variables") is None:
                await self._gone(id, held)
        changes = {
            "retries": retries,
            "errorMessage": message[:MESSAGE_CHARS_MAX] or None,
            "errorDetails": details,
        }
        return await self._settle(id, held, "failure", said, changes)

    async def extend_lock(self, id: str) -> Any:
        job = await self._job(id)
        if job is None:
            return await self._forward(id)
        fields = await read_body()
        lock_ms = _lock_ms(fields, "newDuration")
        held = await self._held(id, job, fields.text("workerId"), EXTEND)
        return await self._prolong(id, held, lock_ms)

    async def lock(self, id: str) -> Any:
        job = await self._job(id)
        if job is None:
            return await self._forward(id)
        fields = await read_body()
        worker, lock_ms = fields.text("workerId"), _lock_ms(fields, "lockDuration")
        now_ms, held = await self._found(id, job)
        if held.until_ms <= now_ms or not held.worker:
            raise CannotBe(
                f"External Task {id} lives in Camunda 8, which hands out jobs by topic alone; "
                "get it with fetchAndLock."
            )
        if held.worker != worker:
            raise NotLockedByWorker(
                f"{LOCK.format(id)} worker '{worker}'. It is locked by worker '{held.worker}'."
            )
        return await self._prolong(id, held, lock_ms)

    async def unlock(self, id: str) -> Any:
        job = await self._job(id)
        if job is None:
            return await self._forward(id)
        now_ms, held = await self._found(id, job)
        if held.worker and held.until_ms > now_ms:
            await self._change(id, held, {"timeout": RELEASE_MS}, "unlock a job")
            await self._desk.storage.submit(lambda rows, now: handed.let_go(rows, held, now))
        return NOTHING

    async def retries(self, id: str) -> Any:
        job = await self._job(id)
        if job is None:
            return await self._forward(id)
        fields = await read_body()
        if fields.get("retries") is None:
            raise BadRequest("The number of retries cannot be null.")
        retries = fields.number("retries")
        if retries < 0:
            raise BadRequest(
                "The number of retries cannot be negative: retries is not greater than or equal "
                "to 0"
            )
        if retries == 0:
            raise CannotBe(
                f"External Task {id} lives in Camunda 8, where retries become 0 by a failure alone."
            )
        held = Handed(self._eight().name, str(job), "", 0)
        await self._change(id, held, {"retries": retries}, "set retries")
        await self._desk.storage.submit(
            lambda rows, _: handed.told(rows, held.engine, held.job, retries=retries)
        )
        return NOTHING

    async def priority(self, id: str) -> Any:
        job = await self._job(id)
        if job is None:
            return await self._forward(id)
        raise CannotBe(f"External Task {id} lives in Camunda 8, whose jobs have no priority.")

    # --- looking

    async def get(self, id: str) -> Any:
        job = await self._job(id)
        if job is None:
            return await self._forward(id)
        _, found = await self._found(id, job)
        return task_row(found)

    async def error_details(self, id: str) -> Any:
        job = await self._job(id)
        if job is None:
            return await self._forward(id)
        _, found = await self._found(id, job)
        details = found.task.get("errorDetails")
        return NOTHING if not details else Response(details, mimetype="text/plain")

    # --- inside

    def _eight(self) -> Upstream:
        eight = self._desk.engines.eight
        assert eight is not None, "a number of an engine that is not here"
        return eight

    async def _job(self, id: str) -> int | None:
        """Camunda 8's number; None for a task of Camunda 7. Raises: UnknownTask."""
        number = of_eight(self._desk.engines, id)
        if number is not None and number < 0:
            raise UnknownTask(id)
        if number is not None and is_limited():
            _, found = await self._found(id, number)
            _check(found.task)
        return number

    async def _forward(self, id: str) -> Response:
        """The request as it is, to the engine of Camunda 7's dialect that has the task."""
        engine = await self._desk.whereabouts.seven_of(RESOURCE, id)
        if engine is None:
            raise UnknownTask(id)
        if is_limited():
            answer = await engine.ask("GET", task_path(id))
            if answer.status == 404:
                raise UnknownTask(id)
            if answer.status != 200:
                raise engine.error(answer, "tell whose a task is")
            _check(answer.json_object())
        return passed(await forward(engine))

    async def _found(self, id: str, job: int) -> tuple[int, Handed]:
        engine = self._eight().name
        now_ms, found = await self._desk.storage.submit(
            lambda rows, now: (now, handed.find(rows, engine, str(job)))
        )
        if found is None:
            raise UnknownTask(id)
        return now_ms, found

    async def _held(self, id: str, job: int, worker: str, doing: str) -> Handed:
        engine = self._eight().name
        return await self._desk.storage.submit(
            lambda rows, now: handed.held(
                rows, engine, str(job), worker, told=id, now_ms=now, doing=doing
            )
        )

    async def _settle(
        self,
        id: str,
        held: Handed,
        verb: str,
        said: dict[str, Any],
        changes: dict[str, Any] | None = None,
    ) -> tuple[str, int]:
        """Tells Camunda 8 an outcome.

        Args:
            changes: of what is told of a job that stays; None for one that is done.
        """
        answer = await self._asked(id, held, "POST", f"/v2/jobs/{held.job}/{verb}", said, verb)
        assert answer.status in (200, 204)
        if changes is None:
            await self._forget(held)
        else:
            await self._desk.storage.submit(
                lambda rows, now: handed.let_go(rows, held, now, **changes)
            )
        return NOTHING

    async def _prolong(self, id: str, held: Handed, lock_ms: int) -> tuple[str, int]:
        await self._change(id, held, {"timeout": lock_ms}, "extend a lock")

        def prolong(rows: Any, now_ms: int) -> None:
            handed.prolong(rows, held, now_ms + lock_ms)

        await self._desk.storage.submit(prolong)
        return NOTHING

    async def _change(self, id: str, held: Handed, changes: dict[str, Any], doing: str) -> None:
        body = {"changeset": changes}
        await self._asked(id, held, "PATCH", f"/v2/jobs/{held.job}", body, doing)

    async def _asked(
        self, id: str, held: Handed, method: str, path: str, said: dict[str, Any], doing: str
    ) -> Answer:
        answer = await eights.ask(self._eight(), method, path, said, f"take {doing}")
        if answer is None:
            await self._gone(id, held)
            raise UnknownTask(id)
        return answer

    async def _gone(self, id: str, held: Handed) -> None:
        await self._forget(held)
        raise UnknownTask(id)

    async def _forget(self, held: Handed) -> None:
        await self._desk.storage.submit(lambda rows, _: handed.settled(rows, held.engine, held.job))


def _check(task: Mapping[str, Any]) -> None:
    """Whether who asks may touch a task of this process. Raises: Forbidden."""
    process = task.get("processDefinitionKey")
    check_process(process if isinstance(process, str) else None)


def task_row(found: Handed) -> dict[str, Any]:
    """A job that was handed out, as lists and single requests answer it."""
    left_out = ("elementInstance", "errorDetails", "extensionProperties")
    row = {name: value for name, value in found.task.items() if name not in left_out}
    row["workerId"] = found.worker or None
    row["lockExpirationTime"] = stamp(found.until_ms) if found.worker else None
    return row


def _lock_ms(fields: Fields, name: str) -> int:
    lock_ms = fields.number(name)
    if not 0 < lock_ms <= LOCK_MS_MAX:
        raise BadRequest("lockTime is not greater than 0")
    return lock_ms


def task_path(id: str) -> str:
    """The path of a task at its engine."""
    return f"/external-task/{quote(id, safe='')}"
