"""An issuer's keys over a real connection: turned over, kept while it is down, never hammered."""

from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest
import trio
from tests.gateway.door_world import (
    ISSUER,
    Clock,
    Keys,
    Signer,
    claims,
    http_answer,
    issuer,
    served,
    serving_keys,
)
from tests.patience import until

from gossamer_gateway.door import key_sets
from gossamer_gateway.door.config import DoorConfig
from gossamer_gateway.door.key_sets import AGAIN_MS, ANSWER_BYTES_MAX, KEPT_MS, KeySet, check_url
from gossamer_gateway.door.tokens import Refused

ONE, TWO = Signer("one"), Signer("two", "ES256")


class World:
    def __init__(self, keys: Keys, client: httpx.AsyncClient) -> None:
        self.keys, self.clock = keys, Clock()
        self.set = KeySet(issuer(keys.url), client, self.clock)

    async def name(self, signer: Signer, **more: object) -> str:
        text = signer.sign(claims(self.clock.ms, **more))
        return (await self.set.whose(text)).name


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with serving_keys() as keys, key_sets.open_client() as client:
        yield World(keys, client)


async def test_keys_are_fetched_once_and_turned_over(world: World) -> None:
    world.keys.show(ONE.public())
    assert [await world.name(ONE, sub=name) for name in "ab"] == ["a", "b"]
    assert world.keys.asked == 1
    world.clock.ms += AGAIN_MS
    world.keys.show(ONE.public(), TWO.public())
    assert await world.name(TWO) == "anna"
    assert world.keys.asked == 2
    # The first is gone from the issuer, and from here with the next look.
    world.clock.ms += AGAIN_MS
    world.keys.show(TWO.public())
    assert await world.name(ONE) == "anna"
    with pytest.raises(Refused):
        await world.name(Signer("unheard"))
    with pytest.raises(Refused, match="not one of the issuer's"):
        await world.name(ONE)


async def test_junk_does_not_make_us_attack_the_issuer(world: World) -> None:
    world.keys.show(ONE.public())
    assert await world.name(ONE) == "anna"
    for number in range(50):
        with pytest.raises(Refused):
            await world.name(Signer(str(number), "ES256"))
    assert world.keys.asked == 1
    world.clock.ms += AGAIN_MS
    for number in range(50):
        with pytest.raises(Refused):
            await world.name(Signer(str(number), "ES256"))
    assert world.keys.asked == 2


async def test_many_that_wait_are_one_fetch(world: World) -> None:
    world.keys.show(ONE.public())
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(partial(world.name, ONE, sub=str(number)))
    assert world.keys.asked == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        http_answer(b"no"),
        http_answer(b'{"keys": []}'),
        http_answer(b"{}", "500 Oops"),
        http_answer(b"", "302 Found", "location: http://127.0.0.1:1/\r\n"),
        http_answer(b" " * (ANSWER_BYTES_MAX + 1)),
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{",
        b"\x00\xff",
    ],
)  # fmt: skip
async def test_keys_stay_while_the_issuer_is_down(world: World, answer: bytes) -> None:
    world.keys.show(ONE.public())
    await world.name(ONE)
    world.keys.answer = answer
    world.clock.ms += 100 * KEPT_MS
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.set.run)
        assert await world.name(ONE) == "anna"
        await until(lambda: world.keys.asked == 2)
        assert await world.name(ONE) == "anna"
        nursery.cancel_scope.cancel()
    with pytest.raises(Refused):
        await world.name(TWO)


async def test_old_keys_are_renewed_behind_the_requests(world: World) -> None:
    world.keys.show(ONE.public())
    await world.name(ONE)
    world.keys.show(TWO.public())
    world.clock.ms += KEPT_MS
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.set.run)
        assert await world.name(ONE) == "anna", "it does not wait"
        await until(lambda: not world.set._is_old())
        assert await world.name(TWO) == "anna"
        with pytest.raises(Refused):
            await world.name(ONE)
        nursery.cancel_scope.cancel()


async def test_an_issuer_that_says_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_sets, "ANSWER_MS_MAX", 100)
    world.keys.answer = None
    with pytest.raises(Refused, match="could not be had"):
        await world.name(ONE)


async def test_an_issuer_that_is_not_there() -> None:
    async with key_sets.open_client() as client:
        absent = KeySet(issuer("http://127.0.0.1:1/keys"), client, Clock())
        for _ in range(3):
            with pytest.raises(Refused, match="could not be had"):
                await absent.whose(ONE.sign(claims()))
        assert absent.fetches == 1


async def test_a_token_opens_the_door(world: World) -> None:
    world.keys.show(ONE.public())
    config = DoorConfig((issuer(world.keys.url),))
    path = "/engine-rest/external-task/1/complete"
    async with served(config, key_set=world.set) as door, door.client() as client:
        for text, status in (
            (ONE.sign(claims()), 200),
            (ONE.sign(claims(roles=[])), 403),
            (ONE.sign(claims(iss=ISSUER + "x")), 401),
            ("gsk_0000000000000000_" + "A" * 43, 401),
        ):
            answer = await client.post(path, headers={"authorization": f"Bearer {text}"})
            assert answer.status_code == status, answer.text


@pytest.mark.parametrize("url", ["https://a.test/k", "http://127.0.0.1/k", "http://[::1]:1/k"])
def test_where_keys_may_be(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize("url", ["http://a.test/k", "ftp://a.test/k", "a", "", "https://"])
def test_where_keys_may_not_be(url: str) -> None:
    with pytest.raises(ValueError):
        check_url(url)
