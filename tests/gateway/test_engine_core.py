"""The engine's decisions, on a store in memory and at times that the tests choose.

What Camunda 7 does where it is not obvious was measured on 7.24 and stands in the tests' names.
"""

from typing import Any

import pytest
from tests.gateway.bpmn_text import (
    bpmn,
    call,
    catch,
    chain,
    end,
    error,
    flow,
    gateway,
    one_task,
    start,
    task,
)
from tests.gateway.world import LOCK_MS, World, plain, variables

from gossamer_gateway.embedded import engine as engine_module
from gossamer_gateway.embedded import flow as flow_module
from gossamer_gateway.embedded import queries, walk
from gossamer_gateway.embedded.engine import TopicFetch
from gossamer_gateway.embedded.model import InstanceState
from gossamer_gateway.embedded.store import TaskFilter
from gossamer_gateway.errors import (
    BadRequest,
    NotLockedByWorker,
    ProcessRefused,
    StepFailed,
    UnknownDefinition,
    UnknownInstance,
    UnknownTask,
)


@pytest.fixture
def world() -> World:
    return World()


# --- tokens ---

CHOICE = bpmn(
    start(), task("t"), gateway("g", "g-no"), end("yes"), end("no"), chain("s", "t", "g"),
    flow("g", "yes", "${ok}"), flow("g", "no"),
)  # fmt: skip


def test_a_token_walks_from_task_to_end(world: World) -> None:
    world.deploy(p=CHOICE)
    instance = world.start(business_key="bk", a=1)
    assert world.way(instance.id) == [("s", "startEvent", False), ("t…", "serviceTask", False)]
    world.now_ms += 5
    world.complete("t", ok=True)
    ended = world.instance(instance.id)
    assert (ended.state, ended.end_ms) == (InstanceState.COMPLETED, world.now_ms)
    assert plain(ended.variables) == {"a": 1, "ok": True}
    assert world.way(instance.id)[2:] == [
        ("g", "exclusiveGateway", False),
        ("yes", "noneEndEvent", False),
    ]


def test_without_a_true_condition_the_default_is_taken(world: World) -> None:
    world.deploy(p=CHOICE)
    instance = world.start()
    world.complete("t", ok=False)
    assert world.way(instance.id)[-1][0] == "no"


@pytest.mark.parametrize("ok", [None, "yes", {"missing": True}])
def test_a_next_step_that_fails_leaves_the_task_locked_and_nothing_changed(
    world: World, ok: Any
) -> None:
    world.deploy(p=CHOICE)
    instance = world.start(a=1)
    with pytest.raises(StepFailed):
        world.complete("t", a=2, **({} if isinstance(ok, dict) else {"ok": ok}))
    assert plain(world.instance(instance.id).variables) == {"a": 1}
    assert world.way(instance.id)[-1] == ("t…", "serviceTask", False)
    (row,) = world.rows(queries.TASKS, locked=True)
    assert (row["worker_id"], row["retries"]) == ("w", None)
    task_id = row["id"]
    world.do(lambda: world.engine.complete(task_id, "w", variables(ok=True), now_ms=world.now_ms))
    assert world.instance(instance.id).state is InstanceState.COMPLETED


def test_a_start_that_fails_starts_nothing(world: World) -> None:
    process = bpmn(
        start(), gateway("g"), end("a"), end("b"), chain("s", "g"), flow("g", "a", "${x == 1}"),
        flow("g", "b", "${x == 2}"),
    )  # fmt: skip
    world.deploy(p=process)
    with pytest.raises(StepFailed, match=r"ENGINE-02004 .* id 'g'"):
        world.start(x=3)
    assert world.rows(queries.HISTORIC_INSTANCES) == []
    assert world.start(x=2).state is InstanceState.COMPLETED


def test_conditions_are_read_in_the_order_of_the_file(world: World) -> None:
    process = bpmn(
        start(), gateway("g"), end("a"), end("b"), chain("s", "g"), flow("g", "b", "${x > 0}"),
        flow("g", "a", "${x > 1}"),
    )  # fmt: skip
    world.deploy(p=process)
    assert world.way(world.start(x=5).id)[-1][0] == "b"


def test_a_loop_keeps_the_same_cost_however_often_it_turns(world: World) -> None:
    process = bpmn(
        start(), task("t"), gateway("g", "g-e"), end(), chain("s", "t", "g", "e"),
        flow("g", "t", "${again}"),
    )  # fmt: skip
    world.deploy(p=process)
    instance = world.start()
    for _ in range(50):
        world.complete("t", again=True)
    world.complete("t", again=False)
    assert world.instance(instance.id).state is InstanceState.COMPLETED
    assert [node for node, _, _ in world.way(instance.id)].count("t") == 51


def test_names_of_the_library_are_no_special_names(world: World) -> None:
    world.deploy(p=bpmn(start("Start"), task("Root"), end("End"), chain("Start", "Root", "End")))
    instance = world.start()
    world.complete("Root")
    assert [node for node, _, _ in world.way(instance.id)] == ["Start", "Root", "End"]


def test_two_flows_to_one_node_are_two_choices(world: World) -> None:
    process = bpmn(
        start(), gateway("g", "d"), end(), chain("s", "g"), flow("g", "e", "${x}"),
        '<bpmn:sequenceFlow id="d" sourceRef="g" targetRef="e"/>',
    )  # fmt: skip
    world.deploy(p=process)
    for x in (True, False):
        assert world.way(world.start(x=x).id)[-1][0] == "e"


def test_a_long_row_of_gateways_is_cut_off(world: World) -> None:
    names = [f"g{number}" for number in range(flow_module.VISITS_MAX + 1)]
    world.deploy(
        p=bpmn(start(), *(gateway(name) for name in names), end(), chain("s", *names, "e"))
    )
    with pytest.raises(StepFailed, match="gateways"):
        world.start()


# --- calls ---

CHILD = bpmn(
    start(), task("ct"), end(), catch("cb", "ct", "E1"), end("ce", "E2"), chain("s", "ct", "e"),
    chain("cb", "ce"), process_id="C",
    outside=error("E1", "ONE") + error("E2", "TWO", 'camunda:errorMessage="second"'),
)  # fmt: skip

ALL = ('<camunda:in variables="all"/>', '<camunda:out variables="all"/>')


def parent(*mappings: str) -> bytes:
    return bpmn(
        start(), call("c", "C", *mappings), task("after"), end(), chain("s", "c", "after", "e"),
        catch("any", "c", None, 'camunda:errorCodeVariable="code" '
              'camunda:errorMessageVariable="msg"'),
        catch("two", "c", "E2", 'camunda:errorCodeVariable="code" '
              'camunda:errorMessageVariable="msg"'),
        end("end_any"), end("end_two"), chain("any", "end_any"), chain("two", "end_two"),
        outside=error("E2", "TWO"),
    )  # fmt: skip


def test_a_call_hands_variables_in_and_out(world: World) -> None:
    world.deploy(
        p=parent(
            '<camunda:in source="a" target="b"/>', '<camunda:in source="none" target="n"/>',
            '<camunda:in businessKey="#{execution.processBusinessKey}"/>',
            '<camunda:out source="r" target="result"/>', '<camunda:out source="q" target="p"/>',
        ),
        c=CHILD,
    )  # fmt: skip
    instance = world.start(business_key="bk", a=2**53 + 1)
    child = world.child(instance.id)
    assert (child.business_key, child.super_id, child.root_id) == ("bk", instance.id, instance.id)
    assert plain(child.variables) == {"b": 2**53 + 1, "n": None}
    assert child.variables["b"]["type"] == "Long"
    world.complete("ct", r="done", other=1)
    assert world.instance(child.id).state is InstanceState.COMPLETED
    assert plain(world.instance(instance.id).variables) == {
        "a": 2**53 + 1,
        "result": "done",
        "p": None,
    }
    (called,) = world.rows(queries.HISTORIC_ACTIVITIES, activityType="callActivity")
    assert called["called_instance_id"] == child.id
    world.complete("after")
    assert world.instance(instance.id).state is InstanceState.COMPLETED


def test_without_a_mapping_a_callee_has_no_business_key(world: World) -> None:
    world.deploy(p=parent(*ALL), c=CHILD)
    instance = world.start(business_key="bk", a=1)
    child = world.child(instance.id)
    assert (child.business_key, plain(child.variables)) == (None, {"a": 1})


def test_a_call_takes_the_newest_version(world: World) -> None:
    world.deploy(p=parent(*ALL), c=CHILD)
    world.deploy(c=one_task("C", topic="newer"))
    world.start()
    assert world.fetch("ct") == []
    world.complete("newer")
    assert len(world.fetch("after")) == 1


def test_a_call_of_what_is_not_deployed_fails_the_step(world: World) -> None:
    world.deploy(p=parent())
    with pytest.raises(StepFailed, match="calls 'C', which is not deployed"):
        world.start()


def test_calls_in_a_circle_are_cut_off_and_leave_nothing(world: World) -> None:
    circle = bpmn(start(), call("c", "P"), end(), chain("s", "c", "e"))
    world.deploy(p=circle)
    with pytest.raises(StepFailed, match=str(walk.VISITS_MAX)):
        world.start()
    assert world.rows(queries.HISTORIC_INSTANCES) == []


def test_a_callee_that_never_waits_returns_at_once(world: World) -> None:
    world.deploy(p=parent(*ALL), c=bpmn(start(), end(), chain("s", "e"), process_id="C"))
    world.start(a=1)
    assert len(world.fetch("after")) == 1


# --- errors ---


def test_an_error_reaches_the_boundary_event_of_its_task(world: World) -> None:
    world.deploy(
        p=bpmn(
            start(), task("t"), end(), catch("b", "t", "E1", 'camunda:errorCodeVariable="code" '
                                             'camunda:errorMessageVariable="msg"'),
            task("mend"), chain("s", "t", "e"), chain("b", "mend", "e"),
            outside=error("E1", "ONE"),
        )
    )  # fmt: skip
    instance = world.start()
    world.throw("t", "ONE", "broke", extra=1)
    assert world.way(instance.id)[1:] == [
        ("t", "serviceTask", True),
        ("b", "boundaryError", False),
        ("mend…", "serviceTask", False),
    ]
    assert plain(world.instance(instance.id).variables) == {
        "extra": 1,
        "code": "ONE",
        "msg": "broke",
    }


def test_an_error_without_a_code_in_the_model_catches_any(world: World) -> None:
    world.deploy(
        p=bpmn(start(), task("t"), end(), catch("b", "t", "E0"), end("other"),
               chain("s", "t", "e"), chain("b", "other"), outside=error("E0"))
    )  # fmt: skip
    instance = world.start()
    world.throw("t", "WHATEVER")
    assert world.way(instance.id)[-1][0] == "other"


@pytest.mark.parametrize(
    ("thrown", "caught", "code", "message"),
    [("TWO", "two", "TWO", "mm"), ("ONE", "two", "TWO", "second"), ("ELSE", "any", "ELSE", "mm")],
    ids=["thrown by the task", "thrown by the callee's end event", "caught by any"],
)
def test_an_error_goes_outwards_from_the_callee(
    world: World, thrown: str, caught: str, code: str, message: str
) -> None:
    world.deploy(p=parent('<camunda:out source="o" target="oo"/>'), c=CHILD)
    instance = world.start()
    child = world.child(instance.id)
    world.throw("ct", thrown, "mm", o=7)
    ended = world.instance(child.id)
    assert ended.state is InstanceState.INTERNALLY_TERMINATED
    assert ended.delete_reason == f"Cancel scope activity Activity({caught}) executed."
    assert world.way(child.id)[1] == ("ct", "serviceTask", True)
    assert world.way(instance.id)[1:] == [
        ("c", "callActivity", True),
        (caught, "boundaryError", False),
        (f"end_{caught}", "noneEndEvent", False),
    ]
    # The outputs are handed over even then.
    assert plain(world.instance(instance.id).variables) == {
        "oo": 7,
        "code": code,
        "msg": message,
    }
    if thrown == "ONE":
        assert world.way(child.id)[-1] == ("ce", "errorEndEvent", True)


def test_an_error_passes_callers_that_do_not_catch_it(world: World) -> None:
    middle = bpmn(start(), call("m", "C", *ALL), end(), chain("s", "m", "e"), process_id="M")
    outer = parent(*ALL).replace(b'calledElement="C"', b'calledElement="M"')
    world.deploy(p=outer, m=middle, c=CHILD)
    instance = world.start(a=1)
    between = world.child(instance.id)
    inner = world.child(between.id)
    world.throw("ct", "ELSE", deep=1)
    states = [world.instance(one.id).state for one in (instance, between, inner)]
    assert states == [
        InstanceState.COMPLETED,
        InstanceState.INTERNALLY_TERMINATED,
        InstanceState.INTERNALLY_TERMINATED,
    ]
    assert plain(world.instance(instance.id).variables)["deep"] == 1
    assert world.rows(queries.TASKS) == []


def test_an_uncaught_error_ends_the_token_and_its_caller_goes_on(world: World) -> None:
    outer = bpmn(start(), call("c", "C"), task("after"), end(), chain("s", "c", "after", "e"))
    world.deploy(p=outer, c=CHILD)
    instance = world.start()
    child = world.child(instance.id)
    world.throw("ct", "NOBODY")
    assert world.instance(child.id).state is InstanceState.COMPLETED
    assert world.way(child.id)[-1] == ("ct", "serviceTask", False)
    assert world.way(instance.id)[-1] == ("after…", "serviceTask", False)


def test_an_uncaught_error_end_event_ends_the_instance(world: World) -> None:
    world.deploy(p=bpmn(start(), end("e", "E"), chain("s", "e"), outside=error("E", "X")))
    instance = world.start()
    assert instance.state is InstanceState.COMPLETED
    assert world.way(instance.id)[-1] == ("e", "errorEndEvent", False)


# --- tasks ---


def test_tasks_come_by_priority_then_by_age_over_all_topics(world: World) -> None:
    world.deploy(
        a=one_task("A", "a"),
        b=bpmn(start(), task("t", 'camunda:taskPriority="5"', topic="b"), end(),
               chain("s", "t", "e"), process_id="B"),
    )  # fmt: skip
    first, urgent, last = (world.start(key).id for key in ("A", "B", "A"))
    one, two = world.fetch("a", "b", tasks_max=2)
    assert [one.instance.id, two.instance.id] == [urgent, first]
    assert [locked.instance.id for locked in world.fetch("a", "b")] == [last]


def test_a_lock_keeps_others_away_until_it_runs_out(world: World) -> None:
    world.deploy(p=one_task())
    world.start()
    (locked,) = world.fetch("t")
    world.now_ms += LOCK_MS - 1
    assert world.fetch("t", worker="v") == []
    assert world.engine.next_unlock_ms([TopicFetch("t", 1)], world.now_ms) == world.now_ms + 1
    world.now_ms += 1
    (again,) = world.fetch("t", worker="v")
    assert again.task.id == locked.task.id
    with pytest.raises(NotLockedByWorker, match="cannot be completed by worker 'w'"):
        world.do(lambda: world.engine.complete(again.task.id, "w", {}, now_ms=world.now_ms))


def test_a_lock_that_ran_out_is_still_its_workers_until_another_takes_it(world: World) -> None:
    world.deploy(p=one_task())
    instance = world.start()
    task_id = world.fetch_id("t")
    world.now_ms += LOCK_MS * 2
    with pytest.raises(NotLockedByWorker, match="expired"):
        world.do(lambda: world.engine.extend_lock(task_id, "w", 5, now_ms=world.now_ms))
    world.do(lambda: world.engine.complete(task_id, "w", {}, now_ms=world.now_ms))
    assert world.instance(instance.id).state is InstanceState.COMPLETED
    with pytest.raises(UnknownTask):
        world.do(lambda: world.engine.complete(task_id, "w", {}, now_ms=world.now_ms))


def test_locks_are_extended_given_back_and_taken(world: World) -> None:
    world.deploy(p=one_task())
    world.start()
    task_id = world.fetch_id("t")
    world.do(lambda: world.engine.extend_lock(task_id, "w", 9_000, now_ms=world.now_ms))
    with pytest.raises(NotLockedByWorker, match="cannot be locked"):
        world.do(lambda: world.engine.lock(task_id, "v", 5, now_ms=world.now_ms))
    world.now_ms += LOCK_MS
    assert world.fetch("t", worker="v") == []
    world.engine.take_awakened()
    world.do(lambda: world.engine.unlock(task_id))
    assert world.engine.take_awakened() == {"t"}
    with pytest.raises(NotLockedByWorker, match="locked by worker 'null'"):
        world.do(lambda: world.engine.complete(task_id, "w", {}, now_ms=world.now_ms))
    world.do(lambda: world.engine.lock(task_id, "v", 5, now_ms=world.now_ms))
    assert world.engine.task(task_id).worker_id == "v"


@pytest.mark.parametrize("lock_ms", [0, -1, 10**15])
def test_a_lock_has_a_sensible_length(world: World, lock_ms: int) -> None:
    with pytest.raises(BadRequest):
        world.engine.fetch_and_lock("w", [TopicFetch("t", lock_ms)], tasks_max=1, now_ms=0)


def test_a_failure_is_tried_again_after_its_time(world: World) -> None:
    world.deploy(p=one_task())
    world.start(a=1)
    task_id = world.fetch_id("t")
    world.fail(task_id, retries=2, retry_ms=500, mine=1)
    assert world.fetch("t") == []
    world.now_ms += 500
    (again,) = world.fetch("t")
    task = again.task
    assert (task.retries, task.error_message, task.error_details) == (2, "why", "where")
    assert plain(task.local_variables) == {"mine": 1}
    assert plain(again.instance.variables) == {"a": 1}


def test_without_retries_there_is_an_incident_until_there_are_some(world: World) -> None:
    world.deploy(p=one_task())
    instance = world.start()
    task_id = world.fetch_id("t")
    world.fail(task_id, retries=0)
    (incident,) = world.rows(queries.INCIDENTS, processInstanceId=instance.id)
    assert (incident["task_id"], incident["error_message"]) == (task_id, "why")
    world.now_ms += 10
    assert world.fetch("t") == []
    world.engine.take_awakened()
    world.do(lambda: world.engine.set_retries(task_id, 1, now_ms=world.now_ms))
    assert world.engine.take_awakened() == {"t"}
    assert world.rows(queries.INCIDENTS) == []
    assert world.fetch_id("t") == task_id


@pytest.mark.parametrize(("retries", "retry_ms"), [(-1, 0), (2**31, 0), (1, -1), (1, 10**15)])
def test_a_senseless_failure_is_refused(world: World, retries: int, retry_ms: int) -> None:
    world.deploy(p=one_task())
    world.start()
    task_id = world.fetch_id("t")
    with pytest.raises(BadRequest):
        world.fail(task_id, retries=retries, retry_ms=retry_ms)
    assert world.engine.task(task_id).retries is None


def test_a_fetch_hands_out_no_more_than_can_be_carried(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "FETCH_BYTES_MAX", 2_500)
    world.deploy(p=one_task())
    for _ in range(3):
        world.start(text="x" * 1_000)
    world.start(text="x" * 9_000)
    assert [len(world.fetch("t")) for _ in range(4)] == [2, 1, 1, 0]


def test_a_fetch_may_want_some_tasks_only(world: World) -> None:
    world.deploy(a=one_task("A"), b=one_task("B"))
    a, b = world.start("A", business_key="one"), world.start("B", business_key="two")
    for wanted, found in (
        (TaskFilter(business_key="two"), [b.id]),
        (TaskFilter(definition_keys=("A", "X")), [a.id]),
        (TaskFilter(definition_ids=(b.definition_id,)), [b.id]),
        (TaskFilter(business_key="one", definition_keys=("B",)), []),
    ):
        locked = world.fetch("t", wanted=wanted)
        assert [entry.instance.id for entry in locked] == found
        for entry in locked:
            world.do(lambda entry=entry: world.engine.unlock(entry.task.id))  # type: ignore[misc]


# --- instances and definitions ---


@pytest.mark.parametrize("which", ["caller", "callee"])
def test_deleting_one_of_a_family_ends_them_all(world: World, which: str) -> None:
    world.deploy(p=parent(*ALL), c=CHILD)
    instance = world.start()
    child = world.child(instance.id)
    target = (instance if which == "caller" else child).id
    world.do(lambda: world.engine.delete_instance(target, now_ms=world.now_ms))
    for one in (instance, child):
        assert world.instance(one.id).state is InstanceState.EXTERNALLY_TERMINATED
        assert world.way(one.id)[-1][2] is True
    assert world.rows(queries.TASKS) == []
    with pytest.raises(UnknownInstance):
        world.do(lambda: world.engine.delete_instance(target, now_ms=world.now_ms))


def test_variables_are_set_and_removed_while_an_instance_runs(world: World) -> None:
    world.deploy(p=one_task())
    instance = world.start(a=1, b=2)
    world.do(lambda: world.engine.set_variables(instance.id, variables(a=3), ["b", "none"]))
    assert plain(world.instance(instance.id).variables) == {"a": 3}
    world.complete("t")
    with pytest.raises(UnknownInstance):
        world.do(lambda: world.engine.set_variables(instance.id, variables(a=4), []))


def test_running_instances_keep_their_version(world: World) -> None:
    world.deploy(p=one_task(topic="old"))
    before = world.start()
    world.deploy(p=one_task(topic="new"))
    after = world.start()
    versions = [definition_id.split(":")[1] for definition_id in
                (before.definition_id, after.definition_id)]  # fmt: skip
    assert versions == ["1", "2"]
    world.complete("old")
    assert world.instance(before.id).state is InstanceState.COMPLETED
    assert len(world.rows(queries.DEFINITIONS, latestVersion=True)) == 1


def test_a_refused_file_deploys_none_of_the_others(world: World) -> None:
    with pytest.raises(ProcessRefused) as refused:
        world.deploy(good=one_task(), bad=b"<x/>", same=one_task())
    assert set(refused.value.problems) == {"bad.bpmn", "same.bpmn"}
    with pytest.raises(UnknownDefinition):
        world.engine.definitions.newest("P")
    with pytest.raises(ProcessRefused, match=r"only \.bpmn"):
        world.do(
            lambda: world.engine.definitions.deploy(
                {"form.html": b""}, name=None, source=None, now_ms=0
            )
        )


def test_too_many_variables_are_refused(world: World) -> None:
    world.deploy(p=one_task())
    instance = world.start()
    with pytest.raises(BadRequest, match="reference to large data"):
        world.complete("t", large="x" * 5_000_000)
    assert world.instance(instance.id).state is InstanceState.ACTIVE
