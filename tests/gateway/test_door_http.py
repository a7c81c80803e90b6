"""The door in front of a real Hypercorn, asked by real clients: who gets in, and how it is told."""

import base64
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from tests.gateway.door_world import (
    WITH_KEYS,
    App,
    Clock,
    MemoryStorage,
    Served,
    keyring_of,
    new_key,
    served,
)
from tests.patience import patience, until

from gossamer_gateway.door.config import DoorConfig
from gossamer_gateway.door.cors import CorsRule
from gossamer_gateway.door.limits import Limit
from gossamer_gateway.door.principals import Grant, Role

PAGE = "https://app.test"
CONFIG = DoorConfig(
    WITH_KEYS,
    limits=(Limit("starts", 2, 60_000, paths=("*/start",)),),
    waiting_max=2,
    cors=(CorsRule((PAGE,), ("/engine-rest/*",)),),
    body_bytes_max=100_000,
)
FETCH = "/engine-rest/external-task/fetchAndLock"
VERSION = "/engine-rest/version"


class World:
    def __init__(self) -> None:
        self.storage = MemoryStorage(Clock())
        self.admin = new_key(self.storage, "admin", Grant(Role.ADMIN))
        self.reader = new_key(self.storage, "reader", Grant(Role.READ))
        self.starter = new_key(self.storage, "starter", Grant(Role.START, ("hotel", "pay*")))
        self.worker = new_key(self.storage, "worker", Grant(Role.WORK, (), ("/engine-rest/*",)))
        self.ring = keyring_of(self.storage)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture
async def door(world: World) -> AsyncIterator[Served]:
    async with served(CONFIG, keyring=world.ring) as running:
        yield running


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("http2", [False, True])
async def test_a_key_opens_in_each_of_its_forms(door: Served, world: World, http2: bool) -> None:
    basic = base64.b64encode(f"demo:{world.reader}".encode()).decode()
    forms = (
        bearer(world.reader),
        {"x-api-key": world.reader},
        {"authorization": f"Basic {basic}"},
    )
    async with door.client(http1=not http2, http2=http2) as client:
        for headers in forms:
            answer = await client.get(VERSION, headers=headers)
            assert answer.status_code == 200, answer.text
            assert answer.json() == {"path": VERSION, "who": "reader"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer gsk_0000000000000000_" + "A" * 43},
        {"authorization": "Bearer gsk_x"},
        {"authorization": "Bearer a.b.c"},
        {"authorization": "Bearer"},
        {"authorization": "Digest x"},
        {"authorization": "Basic !!"},
        {"authorization": "Basic " + base64.b64encode(b"demo:demo").decode()},
        {"x-api-key": ""},
    ],
)  # fmt: skip
async def test_who_says_nothing_true_stays_outside(door: Served, headers: dict[str, str]) -> None:
    async with door.client() as client:
        answer = await client.get(VERSION, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["type"] == "AuthorizationException"
        other = await client.get("/v2/topology", headers=headers)
        assert other.status_code == 401
        assert other.headers["content-type"] == "application/problem+json"
        assert other.json()["status"] == 401
    assert door.app.seen == []


async def test_a_right_key_beside_another_credential_is_refused(door: Served, world: World) -> None:
    async with door.client() as client:
        both = bearer(world.reader) | {"x-api-key": world.admin}
        assert (await client.get(VERSION, headers=both)).status_code == 401


async def test_a_role_is_not_another(door: Served, world: World) -> None:
    async with door.client() as client:
        refused = await client.post(FETCH, headers=bearer(world.reader), json={})
        assert refused.status_code == 403
        assert "api key reader does not have the role work" in refused.json()["message"]
        on_path = await client.post("/v2/jobs/1/completion", headers=bearer(world.worker))
        assert on_path.status_code == 403
        taken = await client.post(
            "/engine-rest/external-task/1/complete", headers=bearer(world.worker)
        )
        assert taken.status_code == 200


async def test_a_role_for_some_processes(door: Served, world: World) -> None:
    start = "/engine-rest/process-definition/key/{}/submit-form"
    async with door.client() as client:
        for process, status in (("hotel", 200), ("payment", 200), ("tax", 403)):
            answer = await client.post(start.format(process), headers=bearer(world.starter))
            assert answer.status_code == status, process


async def test_who_did_not_ask_about_processes_answers_nobody_limited(
    door: Served, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with door.client() as client:
        silent = await client.post("/v2/process-instances", headers=bearer(world.starter))
        assert silent.status_code == 403
        assert any("did not ask" in one.message for one in caplog.records)
        door.app.asks = "hotel"
        asked = await client.post("/v2/process-instances", headers=bearer(world.starter))
        assert asked.status_code == 200
        all_of_them = await client.post("/v2/process-instances", headers=bearer(world.admin))
        assert all_of_them.status_code == 200


async def test_what_needs_no_role_is_for_anybody(door: Served) -> None:
    async with door.client() as client:
        assert (await client.get("/v1/health")).json()["who"] == "anybody"
        assert (await client.get("/v1/unheard-of")).status_code == 401


async def test_limits_are_told_and_kept(world: World) -> None:
    clock = Clock()
    start = "/engine-rest/process-definition/key/hotel/start"
    async with served(CONFIG, keyring=world.ring, clock=clock) as door, door.client() as client:
        first = await client.post(start, headers=bearer(world.starter))
        assert first.headers["ratelimit-policy"] == '"starts";q=2;w=60'
        assert first.headers["ratelimit"] == '"starts";r=1;t=30'
        await client.post(start, headers=bearer(world.starter))
        third = await client.post(start, headers=bearer(world.starter))
        assert third.status_code == 429
        assert third.headers["retry-after"] == "30"
        assert third.json()["type"] == "RestException"
        assert (await client.post(start, headers=bearer(world.admin))).status_code == 200
        clock.ms += 30_000
        assert (await client.post(start, headers=bearer(world.starter))).status_code == 200


async def test_an_address_is_counted_before_anybody_says_who_he_is(world: World) -> None:
    config = replace(CONFIG, limits=(Limit("all", 1, 60_000, "address"),))
    async with served(config, keyring=world.ring) as door, door.client() as client:
        assert (await client.get(VERSION)).status_code == 401
        assert (await client.get(VERSION, headers=bearer(world.reader))).status_code == 429


async def test_polls_that_wait_are_places(door: Served, world: World) -> None:
    headers = bearer(world.worker)
    async with door.client() as client, trio.open_nursery() as nursery:

        async def poll() -> None:
            await client.post(FETCH, headers=headers, json={})

        for _ in range(2):
            nursery.start_soon(poll)
        await until(lambda: len(door.app.seen) == 2)
        refused = await client.post(FETCH, headers=headers, json={})
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        # Another's places are his own, and those of who left are free.
        other = await client.get(VERSION, headers=bearer(world.reader))
        assert other.status_code == 200
        nursery.cancel_scope.cancel()
    await until(lambda: door.gate._places.taken("api key:worker") == 0)


async def test_a_body_that_is_too_large(door: Served, world: World) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 10_000

    async with door.client() as client:
        for content in (b"x" * 100_001, parts()):
            answer = await client.post("/v1/routes", content=content, headers=bearer(world.admin))
            assert answer.status_code == 413
            assert answer.json()["title"]
        kept = await client.post("/v1/routes", content=b"x" * 100_000, headers=bearer(world.admin))
        assert kept.status_code == 200
    assert len(door.app.body) == 100_000


async def test_a_body_that_does_not_come(world: World) -> None:
    config = replace(CONFIG, body_ms_max=500)
    head = (
        f"POST /v1/routes HTTP/1.1\r\nhost: x\r\nx-api-key: {world.admin}\r\n"
        "content-length: 10\r\n\r\nabc"
    )
    async with served(config, keyring=world.ring) as door:
        with patience():
            async with await trio.open_tcp_stream("127.0.0.1", door.port) as stream:
                await stream.send_all(head.encode())
                answer = b"".join([part async for part in stream])
            await door.app.left.wait()
    assert answer.startswith(b"HTTP/1.1 408"), answer


async def test_a_flood_without_key_is_read_no_further_than_its_bound(door: Served) -> None:
    """A length that nobody will send is refused at once, and the connection ends."""
    head = f"POST /v1/routes HTTP/1.1\r\nhost: x\r\ncontent-length: {10**15}\r\n\r\n"
    with patience():
        async with await trio.open_tcp_stream("127.0.0.1", door.port) as stream:
            with pytest.raises((trio.BrokenResourceError, StopAsyncIteration)):
                await stream.send_all(head.encode())
                while True:
                    await stream.send_all(b"x" * 65_536)
    async with door.client() as client:
        assert (await client.get("/v1/health")).status_code == 200


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: " + b"b" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 5_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: " + b"9" * 9_000 + b"\r\n\r\n",
        b"GET http://127.0.0.1/v1/health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"\x00\xff\r\n\r\n",
    ],
)  # fmt: skip
async def test_junk_ends_its_connection_alone(door: Served, junk: bytes) -> None:
    with patience():
        async with await trio.open_tcp_stream("127.0.0.1", door.port) as stream:
            await stream.send_all(junk)
            head = await stream.receive_some(65_536)
            assert head == b"" or head.split()[1] in (b"400", b"413", b"431"), head
    async with door.client() as client:
        assert (await client.get("/v1/health")).status_code == 200
    assert all(one.name == "anybody" for one in door.app.seen)


# --- pages


async def test_a_page_that_is_named_may_ask(door: Served, world: World) -> None:
    preflight = {
        "origin": PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    async with door.client() as client:
        asked = await client.options(FETCH, headers=preflight)
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == PAGE
        assert asked.headers["vary"] == "Origin"
        answer = await client.get(VERSION, headers=bearer(world.reader) | {"origin": PAGE})
        assert answer.headers["access-control-allow-origin"] == PAGE
        refused = await client.get(VERSION, headers={"origin": PAGE})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)


async def test_a_page_that_is_not_named_changes_nothing(door: Served, world: World) -> None:
    foreign = bearer(world.admin) | {"origin": "https://evil.test"}
    async with door.client() as client:
        for origin in ("https://evil.test", "null", f"{PAGE}.evil.test", PAGE.upper()):
            refused = await client.post(FETCH, headers=foreign | {"origin": origin}, json={})
            assert refused.status_code == 403, origin
            read = await client.get(VERSION, headers=foreign | {"origin": origin})
            assert read.status_code == 200
            assert "access-control-allow-origin" not in read.headers
        own = bearer(world.admin) | {"origin": door.url}
        assert (await client.post("/v1/overrides", headers=own)).status_code == 200
    assert [one.name for one in door.app.seen] == ["admin"] * 5


@pytest.mark.parametrize(
    ("host", "status"),
    [("evil.test", 403), ("evil.test:80", 403), ("localhost", 200), ("127.0.0.1:8080", 200),
     ("[::1]:8080", 200), ("127.0.0.1.evil.test", 403), ("gateway.test", 200), ("", 403)],
)  # fmt: skip
async def test_without_authentication_the_host_must_be_known(host: str, status: int) -> None:
    config = DoorConfig((), hosts=("gateway.test",))
    async with served(config) as door, door.client() as client:
        answer = await client.get(VERSION, headers={"host": host})
        assert answer.status_code == status
        if status == 200:
            assert answer.json()["who"] == "everybody"


async def test_each_request_is_one_record(
    door: Served, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gossamer.access")
    async with door.client() as client:
        answer = await client.get(f"{VERSION}?token=secret", headers=bearer(world.reader))
    await until(lambda: len(caplog.records) == 1)
    told = vars(caplog.records[0])["fields"]
    assert told.pop("ms") >= 0
    assert told == {
        "principal": "reader",
        "method": "GET",
        "path": VERSION,
        "status": 200,
        "bytes": len(answer.content),
    }


async def test_an_application_that_breaks_is_not_the_doors(world: World) -> None:
    class Breaks(App):
        async def __call__(self, scope: object, receive: object, send: object) -> None:
            raise ValueError("its mistake")

    async with served(CONFIG, keyring=world.ring, app=Breaks()) as door, door.client() as client:
        assert (await client.get("/v1/health")).status_code == 500


async def test_a_refusal_leaves_the_connection_usable(door: Served, world: World) -> None:
    async with door.client() as client:
        for _ in range(3):
            answer = await client.post("/v1/overrides", json={"a": 1})
            assert answer.status_code == 401
            assert json.loads(answer.content)["detail"]
            good = await client.get(VERSION, headers=bearer(world.reader))
            assert good.status_code == 200


async def test_a_path_that_is_no_text_ends_its_connection_alone(door: Served) -> None:
    """Hypercorn raises out of such a connection, and would take the others with it."""
    peer = H2Connection(H2Configuration(validate_outbound_headers=False, header_encoding=None))
    peer.initiate_connection()
    pseudo = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"x")]
    peer.send_headers(1, [*pseudo, (b":path", b"/\xff\xfe")], end_stream=True)
    with patience():
        async with await trio.open_tcp_stream("127.0.0.1", door.port) as stream:
            await stream.send_all(peer.data_to_send())
            while await stream.receive_some(65_536):
                pass
    async with door.client() as client:
        assert (await client.get("/v1/health")).status_code == 200
