"""How each worker SDK comes through closed doors, a gateway's and a Kafka's."""

from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
import trio
from tests.certificates import self_signed
from tests.gateway.whole_gateway import open_whole
from tests.sdk.secure_kafka import PLAIN_PASSWORD, PLAIN_USER, SecureKafka
from tests.sdk.worker_behaviour import JobsBus, a_thread, ended, prefix_of
from tests.sdk.worker_sdks import Sdk

from gossamer_gateway.door.principals import Grant, Role
from gossamer_gateway.door.tls import TlsConfig
from gossamer_gateway.runs.kafka.topics import make_topics, topics

__all__ = [
    "test_a_gateway_s_door_opens_to_a_token",
    "test_a_kafka_s_door_opens_to_a_password",
    "test_a_kafka_s_door_opens_to_a_plain_password",
]

KEYS = {"worker": [Grant(Role.WORK)], "reader": [Grant(Role.READ)], "boss": [Grant(Role.ADMIN)]}


async def test_a_gateway_s_door_opens_to_a_token(sdk: Sdk, tmp_path: Path) -> None:
    its = prefix_of(sdk)
    cert_file, key_file = self_signed(tmp_path)
    token_file = tmp_path / "token"
    command = (*sdk.conformance, its)
    async with open_whole(tmp_path, keys=KEYS, tls=TlsConfig(cert_file, key_file)) as whole:
        url = whole.gateway.url
        whole.http.headers["X-API-Key"] = whole.keys["boss"]
        token_file.write_text(whole.keys["reader"])
        given = {"GOSSAMER_URL": url, "GOSSAMER_TOKEN_FILE": str(token_file)}
        with sdk.started(command, **given) as worker:
            await a_thread(partial(worker.wait_said, "its certificate is not trusted"))
            assert await a_thread(worker.end) == sdk.ended
        with sdk.started(command, **given, GOSSAMER_CA_FILE=str(cert_file)) as worker:
            await a_thread(partial(worker.wait_said, "take jobs (403)"))
            token_file.write_text("gsk_of-nobody")
            await a_thread(partial(worker.wait_said, "does not know this worker's token (401)"))
            token_file.write_text(whole.keys["worker"] + "\n")
            await a_thread(partial(worker.wait_said, ": back"))
            await a_thread(partial(worker.wait_said, "ready: "))
            steps = [{"action": its + "echo"}, {"action": its + "kept"}]
            made = await whole.http.post("/workflow/", json={"id": its, "steps": steps})
            assert made.status_code == 201, made.text
            run = (await whole.http.post(f"/workflow/{its}/trigger", json={"input": 7})).text
            assert (await ended(whole, run))["finalOutput"] == 7
            assert await a_thread(worker.end) == sdk.ended
        said = "\n".join(worker.said)
        assert not [one for one in (*whole.keys.values(), "gsk_of-nobody") if one in said]
        with sdk.started(command, GOSSAMER_URL=url, GOSSAMER_CA_FILE=str(cert_file)) as worker:
            await a_thread(partial(worker.wait_said, "wants a token of this worker (401)"))
            assert await a_thread(worker.end) == sdk.ended


def secured(kafka: SecureKafka, mechanism: str, user: str, password: str) -> dict[str, str]:
    return {
        "GOSSAMER_KAFKA": kafka.secured, "KAFKA_CA_FILE": str(kafka.ca_file),
        "KAFKA_MECHANISM": mechanism, "KAFKA_USER": user, "KAFKA_PASSWORD": password,
    }  # fmt: skip


@pytest.mark.kafka
def test_a_kafka_s_door_opens_to_a_password(sdk: Sdk, secure_kafka: SecureKafka) -> None:
    trio.run(make_topics, secure_kafka.cluster, topics())
    bus = JobsBus(secure_kafka.address)
    user, password = f"{sdk.name}-{uuid4().hex[:8]}", uuid4().hex
    secure_kafka.allow(user)
    with sdk.started(sdk.secured, **secured(secure_kafka, "SCRAM-SHA-512", user, password)) as one:
        one.wait_said("it does not let this worker in")
        secure_kafka.know(user, password)
        one.wait_said("ready: step1 from Kafka")
        assert bus.result(bus.job("step1", "tea"))["output"] == sdk.says[0].format("tea")
        bus.message("step1", "junk", junk := uuid4().hex.encode())
        bus.wait(lambda: junk in [value for value, _ in bus.dead])
        assert one.end() == sdk.ended
    assert password not in "\n".join(one.said)
    bus.close()


@pytest.mark.kafka
def test_a_kafka_s_door_opens_to_a_plain_password(
    sdk: Sdk, secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    trio.run(make_topics, secure_kafka.cluster, topics())
    secure_kafka.allow(PLAIN_USER)
    given = secured(secure_kafka, "PLAIN", PLAIN_USER, PLAIN_PASSWORD)
    with sdk.started(sdk.secured, **given) as worker:
        worker.wait_said("ready: step1 from Kafka")
        assert worker.end() == sdk.ended
    # With another's authority it stays outside, and says why.
    given["KAFKA_CA_FILE"] = str(self_signed(tmp_path)[0])
    with sdk.started(sdk.secured, **given) as worker:
        worker.wait_said("TLS with it fails")
        assert worker.end() == sdk.ended
