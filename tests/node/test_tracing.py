"""A job's trace: where it comes from, what travels, and that nothing is spent where nobody asks."""

import argparse
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.collector import open_collector

from gossamer_node import config
from gossamer_node.errors import InputError
from gossamer_node.jobs import Job, JobRef
from gossamer_node.tracing import opening, traceparent
from gossamer_node.tracing.jobs import UNTRACED, JobTraces
from gossamer_node.tracing.opening import open_tracing
from gossamer_node.tracing.port import NOTHING, current, detach
from gossamer_node.tracing_config import TracingConfig
from gossamer_node.variables import Variables
from gossamer_node.work.wire import pack_receipt, unpack_receipt

NAME = "traceparent"
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NOT_KEPT = PARENT[:-1] + "0"


def a_job(**values: object) -> Job:
    types = {name: "String" for name in values}
    ref = JobRef("engine", "7", "topic", "w", types=types)
    return Job(ref, Variables(values, types), 1_000)  # type: ignore[arg-type]


def test_a_worker_sees_no_variable_of_ours_and_all_of_its_own() -> None:
    traces = JobTraces(variable=NAME)
    job = traces.claimed(a_job(**{NAME: PARENT, "a": "1"}))
    assert job == a_job(a="1")
    assert traces.claimed(a_job(a="1")) == a_job(a="1")
    assert UNTRACED.claimed(a_job(**{NAME: PARENT})) == a_job(**{NAME: PARENT})


def test_the_variable_is_asked_for_beside_those_that_a_worker_names() -> None:
    traces = JobTraces(variable=NAME)
    assert traces.wanted(["a"]) == ("a", NAME)
    assert traces.wanted([NAME]) == (NAME,)
    assert traces.wanted([]) == (NAME,)
    assert traces.wanted(None) is None
    assert UNTRACED.wanted(["a"]) == ("a",)


def test_a_receipt_carries_the_trace() -> None:
    ref = replace(a_job().ref, trace=PARENT)
    assert unpack_receipt(pack_receipt(ref)) == ref


async def test_a_trace_is_whole_or_is_not() -> None:
    async with (
        open_collector() as collector,
        open_tracing(TracingConfig(collector.url, 0), "node", "n", "1") as tracing,
    ):
        traces = JobTraces(tracing, NAME, "n")
        assert traces.claimed(a_job()).ref.trace is None  # 0 % of what begins here
        assert traces.claimed(a_job(**{NAME: NOT_KEPT})).ref.trace is None
        kept = traces.claimed(a_job(**{NAME: PARENT})).ref
        said = traceparent.read(kept.trace)
        assert said is not None and said.sampled and kept.trace != PARENT
        assert said.trace_id == int(PARENT[3:35], 16)
        assert traces.running(a_job().ref) is NOTHING  # nobody begins one in its middle
        with traces.running(kept) as span:
            assert current() is span and span.records
        assert current() is NOTHING
    assert traceparent.read(None) is None


@given(st.one_of(st.text(), st.integers(), st.none(), st.lists(st.text())))
def test_junk_in_the_variable_stops_no_job(junk: object) -> None:
    assert JobTraces(variable=NAME).claimed(a_job(**{NAME: junk})) == a_job()


async def test_spans_are_sent_at_the_end_and_bounded() -> None:
    async with open_collector() as collector:
        async with open_tracing(TracingConfig(collector.url), "node", "n", "1") as tracing:
            with tracing.begin("n" * 1_000, "server") as span:
                for number in range(20):
                    span.set(f"a{number}", "x" * 10_000)
                with pytest.raises(ZeroDivisionError), span.child("below"):
                    detach()
                    raise ZeroDivisionError
        below_told, told = collector.spans
    assert (below_told.name, below_told.parent, below_told.failed) == ("below", told.id, True)
    assert len(told.name) <= 256 and len(told.attributes) <= 16
    assert all(len(str(one)) <= 256 for one in told.attributes.values())


async def test_a_collector_that_is_away_stops_nothing(autojump_clock: object) -> None:
    async with open_tracing(TracingConfig("http://127.0.0.1:9"), "node", "n", "1") as tracing:
        tracing.begin("lost", "server").end()
    sending = [one for one in threading.enumerate() if one.name.startswith("Otel")]
    assert sending
    for one in sending:
        one.join()  # it draws its pauses by chance, which Hypothesis forbids beside later tests


async def test_without_the_extra_a_person_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gossamer_node.tracing.opentelemetry", None)
    with pytest.raises(InputError, match=r"gossamer\[otel\]"):
        async with open_tracing(TracingConfig("http://127.0.0.1:9"), "node", "n", "1"):
            raise AssertionError(opening.__name__)


def test_without_a_collector_nothing_of_it_is_imported() -> None:
    code = (
        "import sys, gossamer_node.supervisor, gossamer_gateway.server;"
        "sys.exit(any(one.startswith('opentelemetry') for one in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"VARIABLE": "traceparent"}, "endpoint"),
        ({"ENDPOINT": "localhost"}, "URL"),
        ({"ENDPOINT": "http://user:pw@localhost:4318"}, "credentials"),
        ({"ENDPOINT": "http://localhost:4318", "PERCENT": "101"}, "out of bounds"),
        ({"ENDPOINT": "http://localhost:4318", "VARIABLE": "a b"}, "a b"),
    ],
)
def test_what_is_wrong_is_said(settings: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        load(settings)


def test_a_collectors_url_is_taken_with_its_path_and_without() -> None:
    for url in (
        "http://localhost:4318",
        "http://localhost:4318/v1/traces",
        "http://localhost:4318/",
    ):
        assert load({"ENDPOINT": url}) == TracingConfig("http://localhost:4318")


def load(settings: dict[str, str]) -> TracingConfig:
    parser = argparse.ArgumentParser()
    config.add_flags(parser)
    environ = {f"GOSSAMER_TRACING_{name}": text for name, text in settings.items()}
    return config.load(parser.parse_args([]), {"HOME": "/ada", **environ}).tracing
