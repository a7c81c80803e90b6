"""What every provider does, whatever the network brings: an outcome or a failure with its blame.

The server is scripted, because no real runtime cuts a connection or sends junk on request; what
real runtimes answer is `test_real_functions`.
"""

import logging
import socket
import ssl
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from tests.certificates import self_signed
from tests.runs.providers.clouds import CLOUDS, KEY, Cloud
from tests.runs.providers.scripted import SILENCE, Asked, open_scripted, reply

from gossamer_gateway.runs.model.definition import Place
from gossamer_gateway.runs.model.events import RETRY_AFTER_MS_MAX, Failure
from gossamer_gateway.runs.providers.classifying import trips
from gossamer_gateway.runs.providers.exchange import Reply
from gossamer_gateway.runs.providers.port import REPLY_BYTES_MAX, Invocation, Outcome

PAYLOAD = {"who": "Zoë 💶", "amount": 12.5, "list": [None, True, "\u2028"]}


@pytest.fixture(params=CLOUDS, ids=lambda one: one.name)
def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> Cloud:
    made: Cloud = request.param(tmp_path)
    return made


def failure(found: Outcome | Failure, code: str, blame: str, *, retryable: bool) -> Failure:
    """Checks that it is this one."""
    assert isinstance(found, Failure)
    assert (found.code, found.blame, found.retryable) == (code, blame, retryable), found
    assert found.message and found.message.isprintable()
    return found


async def test_a_function_gets_the_payload_and_gives_its_output(cloud: Cloud) -> None:
    async with open_scripted(reply(PAYLOAD)) as server:
        found = await cloud.call(server.url, PAYLOAD)
    assert found == Outcome(PAYLOAD)
    (asked,) = server.asked
    assert asked.method == "POST" and cloud.credentials_in(asked)
    assert asked.body.decode().startswith('{"who":"Zoë 💶"') and cloud.key_in(asked) == KEY


@pytest.mark.parametrize("value", [None, 0, "", [], False, 2**60, "text"])
async def test_any_json_is_an_output(cloud: Cloud, value: object) -> None:
    async with open_scripted(reply(value if value != "" else '""')) as server:
        found = await cloud.call(server.url)
    expected = value if value != "text" else None
    if value == "text":  # no JSON, whatever it says of itself
        failure(found, "BadReply", "provider", retryable=True)
    else:
        assert found == Outcome(expected)


async def test_an_error_of_the_function_is_the_functions(cloud: Cloud) -> None:
    async with open_scripted(cloud.own_error()) as server:
        found = await cloud.call(server.url)
    assert isinstance(found, Failure)
    assert (found.blame, "no money" in found.message) == ("function", True)
    assert found.code == "CardDeclined" and not trips(found)


async def test_a_function_that_is_not_there(cloud: Cloud) -> None:
    async with open_scripted(cloud.refusal("404 Not Found", "ResourceNotFoundException")) as server:
        found = await cloud.call(server.url)
    assert not trips(failure(found, "FunctionNotFound", "provider", retryable=False))


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
async def test_credentials_that_are_refused(cloud: Cloud, status: str) -> None:
    async with open_scripted(cloud.refusal(status, "AccessDeniedException")) as server:
        found = await cloud.call(server.url)
    assert not trips(failure(found, "AccessDenied", "provider", retryable=False))
    assert len(server.asked) <= 2


async def test_a_provider_that_throttles_says_when(cloud: Cloud) -> None:
    said = cloud.refusal("429 Too Many Requests", "TooManyRequestsException", retry_after="7")
    async with open_scripted(said) as server:
        found = await cloud.call(server.url)
    throttled = failure(found, "Throttled", "provider", retryable=True)
    assert throttled.retry_after_ms == 7_000 and not trips(throttled)


@pytest.mark.parametrize(
    ("said", "ms"),
    [
        ("0", 0),
        ("90000000", RETRY_AFTER_MS_MAX),
        ("9" * 5_000, RETRY_AFTER_MS_MAX),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
        ("Fri, 31 Dec 2099 23:59:59 GMT", RETRY_AFTER_MS_MAX),
        ("soon", None),
        ("-5", None),
        ("٣", None),
    ],
)
def test_when_is_seconds_or_a_date(said: str, ms: int | None) -> None:
    assert Reply(429, {"retry-after": said}, b"").retry_after_ms(time.time()) == ms


async def test_a_region_that_is_none(cloud: Cloud) -> None:
    async with open_scripted(reply(1)) as server, cloud.open(server.url) as provider:
        place = Place(cloud.name, "pay", "evil\r\nheader: x")
        found = await provider.invoke(Invocation(place, None, KEY, 20_000))
    if cloud.name == "AWS":
        failure(found, "BadFunctionId", "provider", retryable=False)
    else:  # it goes nowhere
        assert found == Outcome(1)


@pytest.mark.parametrize(
    "status",
    ["500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable", "599 What"],
)
async def test_a_provider_that_is_unwell(cloud: Cloud, status: str) -> None:
    async with open_scripted(cloud.refusal(status, "ServiceException")) as server:
        found = await cloud.call(server.url)
    assert trips(failure(found, "Unavailable", "provider", retryable=True))


async def test_a_gateway_of_the_provider_that_is_too_slow(cloud: Cloud) -> None:
    async with open_scripted(reply("", "504 Gateway Timeout", "text/html")) as server:
        found = await cloud.call(server.url)
    assert trips(failure(found, "Timeout", "provider", retryable=True))


async def test_a_redirect_is_not_followed(cloud: Cloud) -> None:
    async with open_scripted(reply(1)) as other:
        said = reply("", "307 Temporary Redirect", location=other.url)
        async with open_scripted(said) as server:
            found = await cloud.call(server.url)
    failure(found, "BadReply", "provider", retryable=True)
    assert other.asked == []


def _unused() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


async def test_nobody_listens(cloud: Cloud) -> None:
    async with open_scripted(b"") as tokens:
        found = await cloud.call(_unused(), tokens_url=tokens.url)
    assert trips(failure(found, "ConnectRefused", "provider", retryable=True))


async def test_a_name_without_address(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_scripted(b"") as tokens:
        found = await cloud.call("https://nowhere.invalid", tokens_url=tokens.url)
    assert trips(failure(found, "NameNotFound", "provider", retryable=True))


async def test_a_certificate_that_is_not_trusted(cloud: Cloud, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with open_scripted(reply({}), tls=context) as server, open_scripted(b"") as tokens:
        found = await cloud.call(server.url, tokens_url=tokens.url)
        assert trips(failure(found, "TlsFailed", "provider", retryable=True))
        trusted = await cloud.call(server.url, tokens_url=tokens.url, ca_file=certificate)
        assert trusted == Outcome({})


async def test_one_that_is_too_slow_is_left_at_the_deadline(cloud: Cloud) -> None:
    async with open_scripted(SILENCE) as server:
        found = await cloud.call(server.url, deadline_ms=150)
    assert trips(failure(found, "Timeout", "provider", retryable=True))
    assert isinstance(found, Failure) and "150 ms" in found.message


async def test_a_token_endpoint_that_is_too_slow_counts_as_well(cloud: Cloud) -> None:
    if cloud.name == "AWS":
        return  # nothing is fetched
    async with open_scripted(reply(1)) as server:
        server.token_says = SILENCE
        found = await cloud.call(server.url, deadline_ms=150)
    failure(found, "Timeout", "provider", retryable=True)


@pytest.mark.parametrize("cuts", [1, 60])
async def test_a_connection_that_is_cut_in_the_middle(cloud: Cloud, cuts: int) -> None:
    async with open_scripted(reply("x" * 50)) as server:
        server.cuts = cuts
        found = await cloud.call(server.url)
    # Tokens are cut as well, where there are any.
    assert isinstance(found, Failure) and found.blame == "provider" and found.retryable
    if cloud.name == "AWS":
        assert found.code == "ConnectionLost"


@pytest.mark.parametrize(
    "junk",
    [
        b"\x00\x01\x02 what\r\n\r\n",
        b"HTTP/1.1 999999\r\n\r\n",
        reply(b"{]"),
        reply(b"NaN"),
        reply(b'"\\ud800"'),
        reply(b"[" * 100_000),
        reply(b"\xff\xfe", media="text/plain"),
        reply(b"\x89PNG", media="image/png"),
    ],
)
async def test_junk_is_a_failure_of_the_provider(cloud: Cloud, junk: bytes) -> None:
    async with open_scripted(junk) as server:
        found = await cloud.call(server.url)
    assert isinstance(found, Failure) and found.blame == "provider" and found.retryable
    assert found.code in ("BadReply", "ConnectionLost")


async def test_a_huge_reply_is_not_read(cloud: Cloud) -> None:
    async with open_scripted(reply("x" * REPLY_BYTES_MAX)) as server:
        server.says = [reply(f'"{"x" * (REPLY_BYTES_MAX - 2)}"')]
        assert isinstance(await cloud.call(server.url), Outcome)
        server.says = [reply(f'"{"x" * REPLY_BYTES_MAX}"')]
        async with cloud.open(server.url) as provider:
            place = Place(cloud.name, "pay", "eu-central-1")
            for _ in range(3):  # and leaves nothing behind that the next call trips over
                found = await provider.invoke(Invocation(place, None, KEY, 20_000))
                failure(found, "ReplyTooLarge", "function", retryable=False)


async def test_a_place_that_is_none(cloud: Cloud) -> None:
    async with open_scripted(reply(1)) as server, cloud.open(server.url) as provider:
        for id in ("../admin", "a b", "", "https://elsewhere.example/pay", "\x00", "ü" * 3_000):
            place = Place(cloud.name, id, "eu-central-1")
            found = await provider.invoke(Invocation(place, None, KEY, 20_000))
            failure(found, "BadFunctionId", "provider", retryable=False)
    assert server.asked == []


async def test_no_secret_is_told(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    """Not even if the provider repeats what it was sent, as AWS does with a wrong signature."""
    caplog.set_level(logging.DEBUG, "gossamer")
    sent: list[str] = []
    cut = 0

    def words(asked: Asked) -> str:
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        sent[:] = [*cloud.secrets, *([] if cloud.name == "AWS" else [token])]
        return "The Canonical String" + "-" * cut + " ".join(sent)

    said: list[Callable[[Asked], bytes]] = [
        lambda asked: reply({"message": words(asked)}, "403 No", x_amzn_errortype=sent[-1]),
        lambda asked: reply({"message": words(asked)}, "500 No"),
        lambda asked: reply(
            {"errorMessage": words(asked), "errorType": sent[-1], "stackTrace": [words(asked)]},
            "200 OK" if cloud.name == "AWS" else "400 No",
            x_amz_function_error="Unhandled",
        ),
        lambda asked: reply({"message": words(asked), "code": sent[-1]}, "422 No"),
        lambda asked: reply(words(asked), "503 No", "text/plain"),
    ]
    for one, dashes in product(said, (1, 450)):  # whole, or where a message is cut short
        cut = dashes
        async with open_scripted(one) as server, cloud.open(server.url) as provider:
            place = Place(cloud.name, "pay", "eu-central-1")
            found = await provider.invoke(Invocation(place, None, KEY, 20_000))
            told = f"{found!r} {provider!r} {cloud.config(server.url)!r} {caplog.text}"
        assert isinstance(found, Failure) and "The Canonical" in found.message
        assert sent and not [secret for secret in sent if secret[:20] in told]


async def test_two_calls_share_a_token(cloud: Cloud) -> None:
    async with open_scripted(reply(1)) as server, cloud.open(server.url) as provider:
        place = Place(cloud.name, "pay", "eu-central-1")
        for _ in range(3):
            assert await provider.invoke(Invocation(place, None, KEY, 20_000)) == Outcome(1)
    assert len(server.asked) == 3 and len(server.tokens) == (0 if cloud.name == "AWS" else 1)


async def test_a_token_that_is_refused_is_fetched_anew_once(cloud: Cloud) -> None:
    no = cloud.refusal("401 Unauthorized", "ExpiredTokenException")
    async with open_scripted(no, reply(1)) as server:
        found = await cloud.call(server.url)
    if cloud.name == "AWS":  # keys of the environment are what they are
        failure(found, "AccessDenied", "provider", retryable=False)
        assert len(server.asked) == 1
    else:
        assert found == Outcome(1) and (len(server.asked), len(server.tokens)) == (2, 2)
