"""A real engine process is killed again and again in the middle of work: nothing that it had
answered is lost, and nothing is half there.

`GOSSAMER_RECOVERY_SEED` repeats a run; a failing test's message holds its seed.
"""

import gc
import os
import random
import secrets
import sqlite3
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from tests.embedded_fixture import EmbeddedEngine
from tests.gateway.bpmn_text import bpmn, call, chain, end, one_task, start, task

from gossamer_gateway.embedded.store import Store
from gossamer_gateway.errors import InputError

pytestmark = pytest.mark.processes

KILLS = 5
CLIENTS = 12
ANSWERS_BETWEEN_KILLS = (20, 400)
"""Each is a commit, or part of one that it shares."""

PROCESS = bpmn(
    start(), task("a"), call("c", "C", '<camunda:in variables="all"/>',
                             '<camunda:out variables="all"/>'),
    task("b"), end(), chain("s", "a", "c", "b", "e"),
)  # fmt: skip
TOPICS = ("a", "t", "b")
"""In the order in which an instance passes them; `t` is the callee's."""


@dataclass
class Acknowledged:
    """What the engine has answered, as its clients know it.

    Attributes:
        started: instance ids by business key.
        done: topics that were completed, by business key.
        answers: counts them.
    """

    started: dict[str, str] = field(default_factory=dict)
    done: dict[str, set[str]] = field(default_factory=dict)
    answers: trio.Semaphore = field(default_factory=lambda: trio.Semaphore(0))


async def client(
    number: int, http: httpx.AsyncClient, known: Acknowledged, seed: random.Random
) -> None:
    """Starts instances and works on whatever it gets, until the engine is gone."""
    worker = f"w{number}"
    while True:
        if seed.random() < 0.5:
            key = f"{number}-{seed.getrandbits(48):012x}"
            body = {"businessKey": key, "variables": {"key": {"value": key}}}
            answer = await post(http, "/process-definition/key/P/start", body)
            known.started[key] = answer.json()["id"]
            known.answers.release()
        answer = await post(
            http, "/external-task/fetchAndLock",
            {"workerId": worker, "maxTasks": 3,
             "topics": [{"topicName": topic, "lockDuration": 1_000} for topic in TOPICS]},
        )  # fmt: skip
        known.answers.release()
        for locked in answer.json():
            key, topic = locked["variables"]["key"]["value"], locked["topicName"]
            for before in TOPICS[: TOPICS.index(topic)]:
                assert locked["variables"][f"by_{before}"]["value"] == f"{before} of {key}"
            body = {
                "workerId": worker,
                "variables": {f"by_{topic}": {"value": f"{topic} of {key}"}},
            }
            answer = await http.post(f"/external-task/{locked['id']}/complete", json=body)
            # A lock of one second may have gone to another in the meantime.
            assert answer.status_code in (204, 400, 404), answer.text
            if answer.status_code == 204:
                known.done.setdefault(key, set()).add(topic)
                known.answers.release()


def open_http(url: str) -> httpx.AsyncClient:
    # Without TLS there is nothing to verify, and reading the authorities takes longer than a test.
    return httpx.AsyncClient(base_url=url, timeout=60, verify=False)


async def post(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> httpx.Response:
    answer = await http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer


async def work_until_killed(
    engine: EmbeddedEngine, url: str, known: Acknowledged, seed: random.Random
) -> None:
    async def until_it_is_gone(number: int, http: httpx.AsyncClient) -> None:
        with suppress(httpx.TransportError):
            await client(number, http, known, random.Random(seed.getrandbits(64)))

    async with open_http(url) as http, trio.open_nursery() as clients:
        for number in range(CLIENTS):
            clients.start_soon(until_it_is_gone, number, http)
        for _ in range(seed.randint(*ANSWERS_BETWEEN_KILLS)):
            await known.answers.acquire()
        await trio.to_thread.run_sync(engine.kill)


def check(path: Path, known: Acknowledged, hint: str) -> None:
    """Every acknowledged operation is in the file, and the records fit together."""
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)], hint
        rows = file.execute(
            "SELECT id, business_key, state, variables, super_id FROM instance"
        ).fetchall()
        keys = {row[1]: row for row in rows if row[4] is None}
        for key, instance_id in known.started.items():
            assert keys[key][0] == instance_id, hint
        for key, topics in known.done.items():
            for topic in topics:
                called = topic == "t"
                (found,) = file.execute(
                    "SELECT count(*) FROM activity a JOIN instance i ON i.id = a.instance_id "
                    "WHERE a.node_id = ? AND a.end_ms IS NOT NULL AND ? IN (i.id, i.super_id)",
                    ("t" if called else topic, keys[key][0]),
                ).fetchone()
                assert found == 1, (hint, key, topic)
        # Every running instance waits at exactly one place: a task, or a callee.
        odd = file.execute(
            "SELECT i.id FROM instance i WHERE (end_ms IS NULL) <> "
            "((SELECT count(*) FROM task WHERE instance_id = i.id) + (SELECT count(*) FROM "
            "instance c WHERE c.super_id = i.id AND c.end_ms IS NULL) = 1)"
        ).fetchall()
        assert odd == [], hint
        open_activities = file.execute(
            "SELECT count(*) FROM activity a JOIN instance i ON i.id = a.instance_id "
            "WHERE a.end_ms IS NULL AND i.end_ms IS NOT NULL"
        ).fetchone()
        assert open_activities == (0,), hint
    file.close()


async def drain(url: str, hint: str) -> None:
    """Works off everything that is left."""
    async with open_http(url) as http:
        while True:
            count = (await http.get("/process-instance/count")).json()["count"]
            if count == 0:
                return
            locked = await post(
                http, "/external-task/fetchAndLock",
                {"workerId": "drain", "maxTasks": 100, "asyncResponseTimeout": 5_000,
                 "topics": [{"topicName": topic, "lockDuration": 60_000} for topic in TOPICS]},
            )  # fmt: skip
            assert locked.json(), (hint, count)
            for entry in locked.json():
                path = f"/external-task/{entry['id']}/complete"
                answer = await http.post(path, json={"workerId": "drain"})
                assert answer.status_code == 204, (hint, answer.text)


async def test_kills_at_any_moment_lose_nothing_that_was_answered(
    embedded_engine: EmbeddedEngine,
) -> None:
    seed_text = os.environ.get("GOSSAMER_RECOVERY_SEED") or secrets.token_hex(4)
    hint = f"GOSSAMER_RECOVERY_SEED={seed_text}"
    seed = random.Random(seed_text)
    known = Acknowledged()
    url = embedded_engine.start()
    files = {"p.bpmn": PROCESS, "c.bpmn": one_task("C")}
    async with open_http(url) as http:
        deployed = await http.post(
            "/deployment/create", files={name: (name, data) for name, data in files.items()}
        )
    assert deployed.status_code == 200, deployed.text
    for _ in range(KILLS):
        await work_until_killed(embedded_engine, url, known, seed)
        check(embedded_engine.data, known, hint)
        url = embedded_engine.start()
    await drain(url, hint)
    assert embedded_engine.stop() == 0
    check(embedded_engine.data, known, hint)
    with sqlite3.connect(embedded_engine.data) as file:
        states = file.execute("SELECT DISTINCT state FROM instance").fetchall()
    file.close()
    assert states == [("COMPLETED",)], hint
    assert embedded_engine.log() == "", hint
    gc.collect()  # so that what httpx left is found here, and not in another test


def test_one_file_has_one_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossamer_gateway.storage.file.LOCKED_WAIT_S", 0.01)
    first = Store(tmp_path / "engine.sqlite")
    with pytest.raises(InputError, match="another process has it open"):
        Store(tmp_path / "engine.sqlite")
    assert (tmp_path / "engine.sqlite").stat().st_mode & 0o077 == 0
    first.close()
    Store(tmp_path / "engine.sqlite").close()


def test_a_foreign_file_is_left_alone(tmp_path: Path) -> None:
    text, foreign = tmp_path / "text", tmp_path / "foreign.sqlite"
    text.write_text("not a database, and longer than one would think" * 10)
    with sqlite3.connect(foreign) as file:
        file.execute("CREATE TABLE mine (x)")
    file.close()
    for path in (text, foreign, tmp_path / "no folder" / "file"):
        with pytest.raises(InputError, match="--data"):
            Store(path)


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "engine.sqlite"
    Store(path).close()
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(InputError, match="version 99"):
        Store(path)
