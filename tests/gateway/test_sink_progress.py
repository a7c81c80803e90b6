"""How many instances live, began and ended on each side, and who says so."""

import secrets
from collections.abc import Awaitable, Callable, Mapping

import httpx
import pytest
import trio
from tests.gateway.sink_world import ENGINE as NEW
from tests.gateway.sink_world import ZeebeWithSink, driving
from tests.patience import seen

from gossamer_gateway.sink import counting
from gossamer_gateway.sink.counting import Camunda7Source, SinkSource, gather
from gossamer_gateway.sink.freshness import Watch
from gossamer_gateway.sink.progress import (
    ENGINE,
    EXPORTER,
    GATEWAY,
    Figures,
    Told,
    combine,
    from_json,
    to_json,
    to_table,
)


def get_from(url: str, client: httpx.AsyncClient) -> counting.Get:
    async def get(path: str, parameters: Mapping[str, str]) -> int | None:
        try:
            answer = await client.get(url + path, params=dict(parameters))
            return int(answer.json()["count"]) if answer.is_success else None
        except httpx.HTTPError:
            return None

    return get


def test_each_figure_is_of_the_best_that_knows_it() -> None:
    engine = Told(ENGINE, Figures(live=3, failed=0), 900)
    exporter = Told(EXPORTER, Figures(4, 10, 6, 1), 800, since_ms=100)
    gateway = Told(GATEWAY, Figures(live=2, started=2), 1_000, since_ms=500)
    both = combine("hotel", "old", [gateway, None, engine])
    assert both.figures == Figures(live=3, started=2, failed=0)
    assert both.sources == {"live": ENGINE, "started": GATEWAY, "failed": ENGINE}
    assert (both.as_of_ms, both.since_ms) == (900, 500)
    assert combine("hotel", "new", [gateway, exporter]).figures == exporter.figures
    nobody = combine("hotel", "new", [None])
    assert (nobody.figures, nobody.sources, nobody.as_of_ms) == (Figures(), {}, None)


def test_unknown_is_never_shown_as_zero() -> None:
    progress = [
        combine("hotel", "old", [Told(ENGINE, Figures(3, 10, 7, 0), 99_000)]),
        combine("hotel", "new", [Told(EXPORTER, Figures(1, 12, 11, 0), 90_000, since_ms=5)]),
        combine("a-longer-name", "new", [Told(GATEWAY, Figures(started=2), 100_000)]),
        combine("a-longer-name", "old", []),
    ]
    assert to_table(progress, 100_500) == "\n".join(
        [
            "process        engine  live  started  finished  failed  as of",
            "a-longer-name  new        ?       2*         ?       ?  now",
            "a-longer-name  old        ?        ?         ?       ?  -",
            "hotel          new       1~      12~       11~      0~  10 s ago",
            "hotel          old        3       10         7       0  now",
            "",
            "~ as the engine's exporter told, since it was first heard",
            "* as the gateways saw; what was started past them is not in it",
            "? unknown",
        ]
    )
    told = to_json(progress)
    first, second = told["processes"]
    assert (first["process"], second["process"]) == ("a-longer-name", "hotel")
    assert first["engines"][1] == {
        "engine": "old", "live": None, "started": None, "finished": None, "failed": None,
        "sources": {}, "asOf": None, "since": None,
    }  # fmt: skip
    assert second["engines"][0]["sources"] == dict.fromkeys(
        ("live", "started", "finished", "failed"), EXPORTER
    )
    assert to_table(from_json(told), 100_500) == to_table(progress, 100_500)


def counts_of(answers: Mapping[str, int | None]) -> counting.Get:
    async def get(path: str, parameters: Mapping[str, str]) -> int | None:
        return answers[" ".join([path, *sorted(parameters)])]

    return get


LIVE, HISTORY = "/process-instance/count", "/history/process-instance/count"
KEY = " processDefinitionKey"


@pytest.mark.parametrize(
    ("answers", "figures"),
    [
        ({LIVE + KEY: None}, None),
        # It refuses a filter that it doesn't know.
        ({LIVE + KEY: 2, LIVE + KEY + " withIncident": None, HISTORY + KEY: 5,
          HISTORY + " finished" + KEY: 3}, Figures(2, 5, 3, None)),
        # It keeps no history, or has lost some of it.
        ({LIVE + KEY: 2, LIVE + KEY + " withIncident": 1, HISTORY + KEY: 0},
         Figures(2, None, None, 1)),
        ({LIVE + KEY: 0, HISTORY + KEY: 0, HISTORY: 0, LIVE: 9}, Figures(0, None, None, 0)),
        # Nothing of this process, but of others; nothing of any.
        ({LIVE + KEY: 0, HISTORY + KEY: 0, HISTORY: 4, HISTORY + " finished" + KEY: 0},
         Figures(0, 0, 0, 0)),
        ({LIVE + KEY: 0, HISTORY + KEY: 0, HISTORY: 0, LIVE: 0, HISTORY + " finished" + KEY: 0},
         Figures(0, 0, 0, 0)),
    ],
)  # fmt: skip
async def test_what_a_camunda7_cannot_tell_is_unknown(
    answers: Mapping[str, int | None], figures: Figures | None
) -> None:
    told = await Camunda7Source(counts_of(answers), lambda: 7).tell("P")
    assert (None if told is None else told.figures) == figures


class Slow:
    async def tell(self, process: str) -> Told | None:
        await trio.sleep_forever()
        return None


class Fixed:
    def __init__(self, live: int) -> None:
        self._live = live

    async def tell(self, process: str) -> Told | None:
        return Told(GATEWAY, Figures(self._live), 1)


async def test_an_engine_that_does_not_answer_leaves_the_others_as_they_are(
    autojump_clock: trio.testing.MockClock,
) -> None:
    found = await gather(["P"], {"down": [Slow()], "up": [Fixed(4)], "half": [Slow(), Fixed(2)]})
    assert {one.engine: one.figures.live for one in found} == {"down": None, "up": 4, "half": 2}


BPMN7 = """<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"
  xmlns:camunda="http://camunda.org/schema/1.0/bpmn" targetNamespace="t">
  <process id="{name}" isExecutable="true" camunda:historyTimeToLive="P1D">
    <startEvent id="s"/><sequenceFlow id="f" sourceRef="s" targetRef="t"/>
    <serviceTask id="t" camunda:type="external" camunda:topic="{name}"/>
    <sequenceFlow id="g" sourceRef="t" targetRef="e"/><endEvent id="e"/>
  </process></definitions>"""


async def work7(client: httpx.AsyncClient, name: str, starts: int) -> None:
    """Starts some; one is finished, one has an incident."""

    async def post(path: str, body: object) -> httpx.Response:
        answer = await client.post(path, json=body)
        assert answer.is_success, answer.text
        return answer

    files = {"model": (f"{name}.bpmn", BPMN7.format(name=name).encode())}
    assert (await client.post("/deployment/create", files=files)).is_success
    for _ in range(starts):
        await post(f"/process-definition/key/{name}/start", {})
    fetch = {"workerId": "ada", "maxTasks": 2,
             "topics": [{"topicName": name, "lockDuration": 600_000}]}  # fmt: skip
    first, second = (await post("/external-task/fetchAndLock", fetch)).json()
    await post(f"/external-task/{first['id']}/complete", {"workerId": "ada"})
    await post(
        f"/external-task/{second['id']}/failure",
        {"workerId": "ada", "retries": 0, "errorMessage": "no"},
    )


@pytest.mark.camunda7
@pytest.mark.zeebe
async def test_both_sides_of_a_move_are_seen(
    camunda7_url: str, zeebe_with_sink: ZeebeWithSink
) -> None:
    mark = f"t{secrets.token_hex(4)}-"
    process, watch = f"{mark}order", Watch()
    async with (
        httpx.AsyncClient(base_url=camunda7_url, trust_env=False, timeout=60) as client,
        driving(zeebe_with_sink.zeebe, mark) as driver,
    ):
        await work7(client, process, 4)
        await driver.deploy()
        orders = [await driver.start(order=str(number)) for number in range(3)]
        for order in orders:
            watch.noticed(NEW, order, 0)
        await driver.cancel(orders[0])
        await driver.fail("reserve", retries=0, message="no")
        submit = zeebe_with_sink.sink.storage.submit
        sink = SinkSource(submit, NEW, watch)
        here = Camunda7Source(get_from(camunda7_url, client), lambda: 0)

        async def new_side(process: str) -> Told | None:
            return await zeebe_with_sink.there(lambda: sink.tell(process))

        async def settled() -> bool:
            told = await new_side(process)
            return told is not None and told.figures == Figures(2, 3, 1, 1)

        await seen(settled)
        found = await gather([process, f"{mark}other"], {"old": [here], NEW: [Calling(new_side)]})
    told = {(one.process, one.engine): one for one in found}
    assert told[process, "old"].figures == Figures(live=3, started=4, finished=1, failed=1)
    assert told[process, NEW].figures == Figures(live=2, started=3, finished=1, failed=1)
    assert set(told[process, NEW].sources.values()) == {EXPORTER}
    assert told[f"{mark}other", "old"].figures == Figures(0, 0, 0, 0)
    assert told[f"{mark}other", NEW].figures == Figures()


class Calling:
    def __init__(self, tell: Callable[[str], Awaitable[Told | None]]) -> None:
        self._tell = tell

    async def tell(self, process: str) -> Told | None:
        return await self._tell(process)


async def test_the_embedded_engine_is_counted_like_a_camunda7(embedded_url: str) -> None:
    process = f"t{secrets.token_hex(4)}"
    async with httpx.AsyncClient(base_url=embedded_url, trust_env=False, timeout=60) as client:
        await work7(client, process, 3)
        told = await Camunda7Source(get_from(embedded_url, client), lambda: 5).tell(process)
    assert told is not None
    assert (told.figures.live, told.figures.started, told.figures.finished) == (2, 3, 1)
