"""Credentials reach the engine, tokens are fetched once and renewed, secrets stay secret."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import pytest
import trio
import trio.testing
from tests.node.http_peer import Request, answer, serve

from gossamer_node.engines import auth as auth_module
from gossamer_node.engines.config import (
    Auth,
    BasicAuth,
    BearerAuth,
    EngineConfig,
    NoAuth,
    OAuth2Auth,
)
from gossamer_node.engines.factory import open_engine
from gossamer_node.engines.port import Engine
from gossamer_node.errors import EngineRefused, EngineUnavailable

SECRET = "s3cr3t-of-mine"
QUIET_S = 0.05


@dataclass
class Site:
    """An engine and its token endpoint, behind one address."""

    url: str = ""
    accepted: str | None = None
    """The Authorization header that the engine takes; None takes any."""
    token_answer: Callable[[int], bytes | None] = lambda n: answer(
        200, {"access_token": f"token{n}", "expires_in": 3600, "token_type": "Bearer"}
    )
    token_requests: list[dict[str, list[str]]] = field(default_factory=list)
    seen: list[str | None] = field(default_factory=list)

    def respond(self, request: Request) -> bytes | None:
        if request.target == "/token":
            self.token_requests.append(parse_qs(request.body.decode()))
            return self.token_answer(len(self.token_requests))
        header = request.headers.get("authorization")
        self.seen.append(header)
        if self.accepted is not None and header != self.accepted:
            return answer(401, {"message": "who are you?"})
        return answer(200, {"version": "7.24.0", "brokers": [], "gatewayVersion": "8.6.0"})

    def oauth2(self) -> OAuth2Auth:
        return OAuth2Auth(f"{self.url}/token", "me", SECRET, scope="jobs", audience="camunda")


@pytest.fixture
async def site(nursery: trio.Nursery) -> Site:
    site = Site()
    site.url = await serve(nursery, site.respond)
    return site


def engine_at(site: Site, auth: Auth) -> Engine:
    # Camunda 8 probes with a single call.
    return open_engine(EngineConfig("mine", "camunda8", site.url, auth=auth))


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        (NoAuth(), None),
        (BasicAuth("kermit", "pässword"), "Basic a2VybWl0OnDDpHNzd29yZA=="),
        (BearerAuth("abc.def"), "Bearer abc.def"),
    ],
)
async def test_header_of_each_kind(site: Site, auth: Auth, header: str | None) -> None:
    await engine_at(site, auth).probe()
    assert site.seen == [header]


@pytest.mark.parametrize("auth", [NoAuth(), BasicAuth("kermit", SECRET), BearerAuth(SECRET)])
async def test_refused_credentials_are_not_tried_again(site: Site, auth: Auth) -> None:
    site.accepted = "Bearer of another"
    with pytest.raises(EngineRefused, match=r"401.*auth") as refusal:
        await engine_at(site, auth).probe()
    assert len(site.seen) == 1
    assert SECRET not in str(refusal.value)
    assert site.url in str(refusal.value)


async def test_token_is_fetched_once_for_all_calls(site: Site) -> None:
    site.accepted = "Bearer token1"
    engine = engine_at(site, site.oauth2())
    async with trio.open_nursery() as calls:
        for _ in range(10):
            calls.start_soon(engine.probe)
    await engine.probe()
    assert site.token_requests == [
        {
            "grant_type": ["client_credentials"],
            "client_id": ["me"],
            "client_secret": [SECRET],
            "scope": ["jobs"],
            "audience": ["camunda"],
        }
    ]
    assert site.seen == ["Bearer token1"] * 11


async def test_scope_and_audience_may_be_left_out(site: Site) -> None:
    await engine_at(site, OAuth2Auth(f"{site.url}/token", "me", SECRET)).probe()
    assert set(site.token_requests[0]) == {"grant_type", "client_id", "client_secret"}


async def test_token_is_renewed_before_it_ends(
    site: Site, mock_clock: trio.testing.MockClock
) -> None:
    engine = engine_at(site, site.oauth2())
    await engine.probe()
    mock_clock.jump(3600 - auth_module.TOKEN_RENEWED_EARLY_S - 1)
    await engine.probe()
    mock_clock.jump(2)
    await engine.probe()
    assert site.seen == ["Bearer token1", "Bearer token1", "Bearer token2"]


async def test_token_of_a_short_life_is_used(
    site: Site, mock_clock: trio.testing.MockClock
) -> None:
    site.token_answer = lambda n: answer(200, {"access_token": f"t{n}", "expires_in": 10})
    engine = engine_at(site, site.oauth2())
    await engine.probe()
    await engine.probe()
    mock_clock.jump(9.5)
    await engine.probe()
    assert site.seen == ["Bearer t1", "Bearer t1", "Bearer t2"]


async def test_withdrawn_token_is_renewed_once(site: Site) -> None:
    engine = engine_at(site, site.oauth2())
    await engine.probe()
    site.accepted = "Bearer token2"
    await engine.probe()
    assert site.seen == ["Bearer token1", "Bearer token1", "Bearer token2"]


async def test_engine_that_refuses_every_token_is_asked_twice(site: Site) -> None:
    site.accepted = "never"
    with pytest.raises(EngineRefused, match="401"):
        await engine_at(site, site.oauth2()).probe()
    assert site.seen == ["Bearer token1", "Bearer token2"]


async def test_refused_client_is_told_by_name(site: Site) -> None:
    site.token_answer = lambda _: answer(
        401, {"error": "invalid_client", "error_description": "no such client"}
    )
    with pytest.raises(EngineRefused, match=r"'mine'.*'me'.*no such client") as refusal:
        await engine_at(site, site.oauth2()).probe()
    assert SECRET not in str(refusal.value)
    assert site.seen == []


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"junk\r\n\r\n",
        answer(200, b"<html>log in</html>"),
        answer(200, []),
        answer(200, {"access_token": 5}),
        answer(200, {"access_token": ""}),
        answer(200, {"access_token": "a\r\nx-evil: 1"}),
        answer(200, {"access_token": "a", "expires_in": "soon"}),
        answer(204),
        answer(302, location="http://127.0.0.1:1/"),
        answer(429, {"error": "slow_down"}, retry_after="7"),
        answer(503, b"busy"),
    ],
)
async def test_endpoint_that_gives_no_token_makes_the_engine_unavailable(
    site: Site, reply: bytes
) -> None:
    site.token_answer = lambda _: reply
    with pytest.raises(EngineUnavailable, match=f"{site.url}/token") as trouble:
        await engine_at(site, site.oauth2()).probe()
    assert trouble.value.retry_after_ms == (7_000 if b" 429 " in reply else None)
    assert site.seen == []


async def test_silent_endpoint_is_given_up(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    # What is on its way comes before the clock jumps.
    autojump_clock.autojump_threshold = QUIET_S
    site.token_answer = lambda _: None
    with pytest.raises(EngineUnavailable, match="no full answer"):
        await engine_at(site, site.oauth2()).probe()


async def test_next_call_fetches_again_after_a_failure(site: Site) -> None:
    replies = [answer(503), answer(200, {"access_token": "late"})]
    site.token_answer = lambda n: replies[n - 1]
    engine = engine_at(site, site.oauth2())
    call: Callable[[], Awaitable[object]] = engine.probe
    with pytest.raises(EngineUnavailable):
        await call()
    await call()
    assert site.seen == ["Bearer late"]


@pytest.mark.parametrize(
    "auth",
    [BasicAuth("me", SECRET), BearerAuth(SECRET), OAuth2Auth("http://id/token", "me", SECRET)],
)
def test_secrets_stay_out_of_reprs(auth: Auth) -> None:
    assert SECRET not in repr(EngineConfig("mine", "camunda7", "http://engine", auth=auth))
