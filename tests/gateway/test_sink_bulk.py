"""What the exporter asks of an Elasticsearch is answered, and nothing of it is lost."""

import gzip
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import trio
from tests.gateway.sink_world import Sink, recorded, sinking
from tests.patience import until

from gossamer_gateway.sink import bulk
from gossamer_gateway.sink.bulk import BULKS_MAX, engine_of
from gossamer_gateway.sink.freshness import DEAF_MS, Watch
from gossamer_gateway.sink.reading import look
from gossamer_gateway.sink.records import KEY_BITS
from gossamer_gateway.storage import Storage

LINES = recorded()[1]
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
async def sink(storage: Storage) -> AsyncIterator[Sink]:
    async with sinking(storage) as opened:
        yield opened


@pytest.fixture
async def client(sink: Sink) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sink.url, trust_env=False, timeout=60) as opened:
        yield opened


async def test_a_bulk_is_kept_before_it_is_answered(sink: Sink, client: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:  # chunked, as the exporter sends
        for begin in range(0, len(LINES), 10_000):
            yield LINES[begin : begin + 10_000]

    answer = await client.post("/_bulk", content=pieces(), headers=NDJSON)
    assert (answer.status_code, answer.json()["errors"], answer.json()["items"]) == (200, False, [])
    assert answer.headers["X-Elastic-Product"] == "Elasticsearch"
    assert [one.applied > 100 for one in sink.taken] == [True]
    again = await client.post("/_bulk", content=LINES, headers=NDJSON)
    assert again.status_code == 200
    assert sink.taken[1].applied == 0


async def test_while_the_storage_is_away_the_exporter_is_told_to_come_again(
    sink: Sink, client: httpx.AsyncClient
) -> None:
    sink.away = True
    answer = await client.post("/_bulk", content=LINES, headers=NDJSON)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["error"]["reason"] == "The file could not be written: it is away"
    sink.away = False
    assert (await client.post("/_bulk", content=LINES, headers=NDJSON)).status_code == 200
    assert [one.repeated for one in sink.taken] == [0]


async def test_a_bulk_that_is_too_large_says_what_to_set(
    sink: Sink, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BODY_BYTES_MAX", len(LINES) - 1)
    answer = await client.post("/_bulk", content=LINES, headers=NDJSON)
    assert answer.status_code == 413
    assert "bulk.memoryLimit" in answer.json()["error"]["reason"]
    assert sink.taken == []


async def test_a_bulk_that_trickles_in_is_given_up(
    sink: Sink, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "READ_S_MAX", 0.01)
    ended = trio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield LINES[:1_000]
        await ended.wait()

    async with trio.open_nursery() as nursery:

        async def send() -> None:
            with pytest.raises(httpx.HTTPError):  # it is answered before it has sent all
                answer = await client.post("/_bulk", content=pieces(), headers=NDJSON)
                answer.raise_for_status()
            assert sink.taken == []

        nursery.start_soon(send)
        await until(lambda: sink.answered > 0)
        ended.set()


async def test_a_bulk_of_nobody_is_refused_with_the_names_there_are(storage: Storage) -> None:
    async with sinking(storage, "new", "other") as sink, httpx.AsyncClient(timeout=60) as client:
        answer = await client.post(f"{sink.url}/_bulk", content=LINES, headers=NDJSON)
        assert answer.status_code == 400
        assert answer.json()["error"]["reason"] == (
            "no engine is called zeebe-record; set the exporter's index.prefix to one of new, other"
        )
        lines = LINES.replace(b"zeebe-record_", b"other_")
        assert (await client.post(f"{sink.url}/_bulk", content=lines)).status_code == 200
    assert await storage.submit(lambda rows, now_ms: look(rows, "new", now_ms)) is None
    assert await storage.submit(lambda rows, now_ms: look(rows, "other", now_ms)) is not None


def test_which_engine_an_exporter_belongs_to() -> None:
    assert engine_of("new", ["new"]) == "new"
    assert engine_of("zeebe-record", ["new"]) == "new"
    assert engine_of(None, ["new"]) == "new"
    assert engine_of("elsewhere", ["new"]) is None
    assert engine_of("zeebe-record", ["new", "other"]) is None
    assert engine_of("new", []) is None


async def test_templates_policies_and_settings_are_acknowledged(client: httpx.AsyncClient) -> None:
    for path in ("/_index_template/zeebe-record_job_8.6.0", "/_component_template/zeebe-record",
                 "/_ilm/policy/zeebe-record-retention-policy",
                 "/zeebe-record*/_settings?allow_no_indices=true"):  # fmt: skip
        answer = await client.put(path, json={"template": {"settings": {}}})
        assert (answer.status_code, answer.json()) == (200, {"acknowledged": True}), path
    assert (await client.get("/_cat/indices")).status_code == 404


async def test_junk_is_no_reason_to_refuse_a_bulk(sink: Sink, client: httpx.AsyncClient) -> None:
    for body in (b"", b"\xff\n" * 100, gzip.compress(LINES), json.dumps([1]).encode()):
        assert (await client.post("/_bulk", content=body)).status_code == 200
    assert [one.applied for one in sink.taken] == [0] * 4
    assert [one.junk > 0 for one in sink.taken] == [False, True, True, True]


async def test_bulks_that_hang_hold_up_nobody_for_ever(
    sink: Sink, client: httpx.AsyncClient
) -> None:
    """A sender that goes away in the middle of a bulk gives its place back."""
    async with trio.open_nursery() as nursery:
        sent = 0

        async def hang() -> None:
            async def pieces() -> AsyncIterator[bytes]:
                nonlocal sent
                yield LINES[:100]
                sent += 1
                await trio.sleep_forever()

            async with httpx.AsyncClient(base_url=sink.url, timeout=60, trust_env=False) as other:
                await other.post("/_bulk", content=pieces())

        for _ in range(BULKS_MAX):
            nursery.start_soon(hang)
        await until(lambda: sent == BULKS_MAX)
        nursery.cancel_scope.cancel()
    assert (await client.post("/_bulk", content=LINES)).status_code == 200
    assert len(sink.taken) == 1


# --- freshness ---


def key(partition: int, count: int) -> int:
    return (partition << KEY_BITS) + count


def test_silence_is_no_deafness() -> None:
    watch = Watch()
    assert watch.behind_ms("new", {}, 10**9) == 0
    watch.noticed("new", key(1, 5), 100)
    assert watch.behind_ms("new", {1: key(1, 5)}, 10**9) == 0
    assert watch.behind_ms("new", {1: key(1, 4)}, 10**9) == 0  # it was caught up with


def test_a_key_that_the_sink_does_not_come_to_makes_it_deaf() -> None:
    watch = Watch()
    watch.noticed("new", key(1, 5), 100)
    watch.noticed("new", key(1, 9), 700)
    watch.noticed("new", key(1, 7), 900)
    watch.noticed("new", key(2, 3), 800)
    watch.noticed("other", key(1, 50), 0)
    assert watch.behind_ms("new", {1: key(1, 4)}, 1_000) == 900
    assert watch.behind_ms("new", {1: key(1, 5)}, 1_000) == 300  # that of the later one
    assert watch.behind_ms("new", {1: key(1, 9)}, 1_000) == 200  # the other partition's
    assert watch.behind_ms("new", {1: key(1, 9), 2: key(2, 3)}, 1_000) == 0
    assert watch.behind_ms("other", {}, 1_000) == 1_000


def test_what_is_watched_is_bounded() -> None:
    watch = Watch()
    for partition in range(1, 2_000):
        watch.noticed("new", key(partition, 1), 0)
    assert watch.behind_ms("new", {part: key(part, 1) for part in range(1, 1_001)}, 99) == 0
    watch.noticed("new", key(1_500, 2), 0)
    assert watch.behind_ms("new", {}, 99) == 99


async def test_a_sink_that_is_deaf_or_was_never_told_knows_nothing(
    storage: Storage, sink: Sink, client: httpx.AsyncClient
) -> None:
    watch = Watch()

    async def known(now_ms: int) -> bool:
        view = await storage.submit(lambda rows, _now: look(rows, "new", now_ms, watch))
        return view is not None

    assert not await known(0)
    await client.post("/_bulk", content=LINES)
    assert await known(10**15)
    watch.noticed("new", key(1, 10**6), 0)
    assert await known(DEAF_MS)
    assert not await known(DEAF_MS + 1)
