"""The door in front of Quart, as the gateway has it: who it is, large bodies, slow ones."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import trio
from quart import request
from quart_trio import QuartTrio
from tests.gateway.door_world import (
    WITH_KEYS,
    Clock,
    MemoryStorage,
    Served,
    keyring_of,
    new_key,
    served,
)
from tests.patience import patience, until

from gossamer_gateway.door.asgi import PRINCIPAL
from gossamer_gateway.door.config import DoorConfig
from gossamer_gateway.door.principals import Grant, Role


@pytest.fixture
def body_ms_max() -> int:
    return 60_000


@pytest.fixture
async def door(body_ms_max: int) -> AsyncIterator[tuple[Served, str]]:
    app = QuartTrio(__name__)

    @app.post("/v1/routes/<process>")
    async def echo(process: str) -> tuple[str, int]:
        body = await request.get_data()
        who = cast("dict[str, Any]", request.scope)[PRINCIPAL]
        return f"{who.name} {process} {len(body)}", 200

    @app.put("/v1/routes/<process>")
    async def put(process: str) -> str:
        return f"{len(await request.get_data())}"

    storage = MemoryStorage(Clock())
    key = new_key(storage, "operator", Grant(Role.ADMIN))
    config = DoorConfig(WITH_KEYS, body_bytes_max=100_000, body_ms_max=body_ms_max)
    async with served(config, keyring=keyring_of(storage), app=app) as running:
        yield running, key


@pytest.mark.parametrize("http2", [False, True])
async def test_it_knows_who_asks(door: tuple[Served, str], http2: bool) -> None:
    it, key = door
    told = {"x-api-key": key}
    async with it.client(http1=not http2, http2=http2, headers=told) as client:
        for size in (0, 1, 100_000):
            answer = await client.put("/v1/routes/hotel", content=b"x" * size)
            assert (answer.status_code, answer.text) == (200, str(size))
        said = await client.post("/v1/routes/hotel", content=b"abc")
        assert said.text == "operator hotel 3"


@pytest.mark.parametrize("http2", [False, True])
async def test_a_body_without_length_is_bounded(door: tuple[Served, str], http2: bool) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 10_000

    it, key = door
    told = {"x-api-key": key}
    async with it.client(http1=not http2, http2=http2, headers=told) as client:
        for _ in range(2):
            answer = await client.put("/v1/routes/hotel", content=parts())
            assert answer.status_code == 413
            good = await client.put("/v1/routes/hotel", content=b"x")
            assert good.status_code == 200


@pytest.mark.parametrize("body_ms_max", [500])
async def test_a_slow_body_ends_with_408_and_leaves_no_task(door: tuple[Served, str]) -> None:
    it, key = door
    head = (
        f"PUT /v1/routes/hotel HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n"
        "content-length: 100\r\n\r\n"
    )
    with patience():
        # With the task of the patience itself, as below.
        before = trio.lowlevel.current_statistics().tasks_living
        async with await trio.open_tcp_stream("127.0.0.1", it.port) as stream:
            await stream.send_all(head.encode())
            with pytest.raises(trio.BrokenResourceError):
                while True:  # a byte now and then keeps nothing open
                    await stream.send_all(b"x")
                    await trio.sleep(0.02)
    await until(lambda: trio.lowlevel.current_statistics().tasks_living <= before)
    async with it.client() as client:
        assert (await client.get("/v1/health")).status_code == 404
