"""How steps may hang together: shapes that are right, and each way to get them wrong."""

from typing import Any

import pytest

from gossamer_gateway.runs.model.flow import Flow
from gossamer_gateway.runs.model.problems import DefinitionRefused
from gossamer_gateway.runs.model.reading import read_object


def task(id: str, next: str | None = None, **fields: Any) -> dict[str, Any]:
    made = {"id": id, "action": id} | fields
    return made if next is None else made | {"next": next}


def choice(id: str, *nexts: str, default: str | None = None) -> dict[str, Any]:
    ways = [{"when": {"path": "$.input", "equals": n}, "next": one} for n, one in enumerate(nexts)]
    made: dict[str, Any] = {"id": id, "type": "CHOICE", "choices": ways}
    return made if default is None else made | {"default": default}


def fork(id: str, *branches: str, join: str) -> dict[str, Any]:
    return {"id": id, "type": "PARALLEL", "branches": list(branches), "next": join}


def join(id: str, next: str | None = None) -> dict[str, Any]:
    return {"id": id, "type": "JOIN"} | ({} if next is None else {"next": next})


def graph(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"id": "w", "startAt": steps[0]["id"], "steps": list(steps)}


RIGHT: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "a chain": (graph(task("a", "b"), task("b")), {}),
    "ways that meet again": (
        graph(choice("c", "a", "b", default="d"), task("a", "b"), task("b", "d"), task("d")),
        {},
    ),
    "two ways of a choice to one step": (graph(choice("c", "a", "a", default="a"), task("a")), {}),
    "a parallel, its join last": (
        graph(fork("f", "a", "b", join="j"), task("a", "j"), task("b", "j"), join("j")),
        {"a": "a", "b": "b"},
    ),
    "a parallel of one branch": (graph(fork("f", "a", join="j"), task("a", "j"), join("j")),
                                 {"a": "a"}),
    "a parallel right after a parallel": (
        graph(
            fork("f", "a", "b", join="j"), task("a", "j"), task("b", "j"), join("j", "g"),
            fork("g", "c", "d", join="k"), task("c", "k"), task("d", "k"), join("k", "z"),
            task("z"),
        ),
        {"a": "a", "b": "b", "c": "c", "d": "d"},
    ),
    "a parallel as the first step of a branch": (
        graph(
            fork("f", "g", "b", join="j"), fork("g", "c", "d", join="k"), task("c", "k"),
            task("d", "k"), join("k", "j"), task("b", "j"), join("j"),
        ),
        {"g": "g", "c": "c", "d": "d", "k": "g", "b": "b"},
    ),
    "a parallel within a branch": (
        graph(
            fork("f", "a", "b", join="j"), task("a", "g"), fork("g", "c", "d", join="k"),
            task("c", "k"), task("d", "k"), join("k", "e"), task("e", "j"), task("b", "j"),
            join("j"),
        ),
        {"a": "a", "g": "a", "c": "c", "d": "d", "k": "a", "e": "a", "b": "b"},
    ),
    "a choice as a branch, straight to the join or around": (
        graph(
            fork("f", "c", "b", join="j"), choice("c", "j", "x", default="y"), task("x", "y"),
            task("y", "j"), task("b", "j"), join("j"),
        ),
        {"c": "c", "x": "c", "y": "c", "b": "b"},
    ),
    "a choice between parallels": (
        graph(
            choice("c", "f", default="g"), fork("f", "a", join="j"), task("a", "j"),
            join("j", "z"), fork("g", "b", join="k"), task("b", "k"), join("k", "z"), task("z"),
        ),
        {"a": "a", "b": "b"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_right_shapes_are_taken_and_know_their_branches(name: str) -> None:
    written, heads = RIGHT[name]
    made = read_object(written)
    assert Flow(made).heads == heads
    # The order in which an author writes the steps means nothing in a graph.
    turned = read_object(written | {"steps": written["steps"][::-1]})
    assert Flow(turned).heads == heads


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no such start": ({"id": "w", "startAt": "b", "steps": [task("a")]}, "startAt", "no step 'b'"),
    "no such next": (graph(task("abc", "abd"), task("abe")), "steps[0].next", "did you mean ab"),
    "no such way": (graph(choice("c", "x", default="c2")), "steps[0].choices[0].next", "no step"),
    "no such default": (graph(choice("c", "a", default="x"), task("a")), "steps[0].default",
                        "no step 'x'"),
    "no such branch": (graph(fork("f", "a", "x", join="j"), task("a", "j"), join("j")),
                       "steps[0].branches[1]", "no step 'x'"),
    "no such join": (graph(fork("f", "a", join="x"), task("a")), "steps[0].next", "no step 'x'"),
    "a step after itself": (graph(task("a", "a")), "steps[0].next", "a → a"),
    "a cycle": (graph(task("a", "b"), task("b", "c"), task("c", "b")), "steps[2].next",
                "b → c → b"),
    "a cycle by a choice": (graph(task("a", "c"), choice("c", "a", default="z"), task("z")),
                            "steps[1].choices[0].next", "a → c → a"),
    "a cycle by a join": (graph(fork("f", "a", join="j"), task("a", "j"), join("j", "f")),
                          "steps[2].next", "f → a → j → f"),
    "a cycle that nothing leads to": (graph(task("a"), task("b", "c"), task("c", "b")),
                                      "steps[2].next", "b → c → b"),
    "a step that nothing leads to": (graph(task("a"), task("b")), "steps[1]", "no way leads"),
    "a parallel without a join": (graph({"id": "f", "type": "PARALLEL", "branches": ["a"]},
                                        task("a")), "steps[0]", "`next` is missing"),
    "a parallel without branches": (graph({"id": "f", "type": "PARALLEL", "next": "j"}, join("j")),
                                    "steps[0]", "`branches` is missing"),
    "a parallel joined at a task": (graph(fork("f", "a", join="b"), task("a", "b"), task("b")),
                                    "steps[0].next", "no JOIN"),
    "one join for two": (
        graph(fork("f", "a", join="j"), fork("a", "b", join="j"), task("b", "j"), join("j")),
        "steps[1].next", "joins f"),
    "a join of nothing": (graph(task("a", "j"), join("j")), "steps[1]", "no parallel is joined"),
    "a join at the start": (graph(join("j")), "steps[0]", "no parallel is joined"),
    "a branch twice": (graph(fork("f", "a", "a", join="j"), task("a", "j"), join("j")),
                       "steps[0].branches[1]", "twice"),
    "a branch of nothing": (graph(fork("f", "a", "j", join="j"), task("a", "j"), join("j")),
                            "steps[0].branches[1]", "not a JOIN"),
    "a branch that ends": (
        graph(fork("f", "a", "b", join="j"), task("a", "j"), task("b"), join("j")),
        "steps[2]", "lead it to its join, j"),
    "a branch that ends at an inner join": (
        graph(fork("f", "g", join="j"), fork("g", "a", join="k"), task("a", "k"), join("k"),
              join("j")),
        "steps[3]", "lead it to its join, j"),
    "a branch that leaves to a step": (
        graph(fork("f", "a", "b", join="j"), task("a", "z"), task("b", "j"), join("j", "z"),
              task("z")),
        "", "in the branch of a"),
    "a branch that jumps to the outer join": (
        graph(fork("f", "g", "x", join="j"), fork("g", "a", "b", join="k"), task("a", "k"),
              task("b", "j"), join("k", "j"), task("x", "j"), join("j")),
        "steps[3].next", "joined at k, not here"),
    "two branches that share a step": (
        graph(fork("f", "a", "b", join="j"), task("a", "c"), task("b", "c"), task("c", "j"),
              join("j")),
        "", "in the branch of"),
    "a branch that begins in the middle of another": (
        graph(fork("f", "a", "b", join="j"), task("a", "b"), task("b", "j"), join("j")),
        "", "in the branch of"),
    "a way into a branch from outside": (
        graph(choice("c", "f", default="a"), fork("f", "a", join="j"), task("a", "j"), join("j")),
        "", "outside of all branches"),
    "a way to a join from outside": (
        graph(choice("c", "f", default="j"), fork("f", "a", join="j"), task("a", "j"), join("j")),
        "steps[0].default", "this is in none"),
    "a choice that may lead out of its branch": (
        graph(fork("f", "c", join="j"), choice("c", "j", default="z"), join("j", "z"), task("z")),
        "", "branch"),
    "a list that runs on into the next branch": (
        {"id": "w", "steps": [fork("f", "a", "b", join="j"), task("a"), task("b"), join("j")]},
        "", "in the branch of"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_shapes_are_refused_at_the_field_that_is_wrong(name: str) -> None:
    written, field, words = WRONG[name]
    with pytest.raises(DefinitionRefused) as caught:
        read_object(written)
    found = [(one.field, one.message) for one in caught.value.problems]
    assert [one for one in found if (not field or one[0] == field) and words in one[1]], found


FORK = (fork("f", "a", "c", join="j"), task("a", "j"), choice("c", "j", default="b"),
        task("b", "j"), join("j", "z"))  # fmt: skip

TEMPLATES: list[tuple[tuple[dict[str, Any], ...], bool]] = [
    ((task("a", "b"), task("b", input="$.steps.a")), True),
    ((task("a", "b"), task("b", input='$.steps["a"].x')), True),
    ((task("a", "b", input="$.steps.b"), task("b")), False),
    ((choice("c", "a", default="b"), task("a", "b"), task("b", input="$.steps.a")), False),
    ((choice("c", "a", default="b"), task("a", "z"), task("b", "z"),
      task("z", input="$.steps.c")), True),
    ((choice("c", "a", default="b"), task("a", "z"), task("b", "z"),
      task("z", input="$.steps.b")), False),
    ((choice("c", "a"), task("a", "z"), task("z", input="$.steps.a")), True),
    ((*FORK, task("z", input="$.steps.a")), True),
    ((*FORK, task("z", input="$.steps.c")), True),
    ((*FORK, task("z", input="$.steps.j")), True),
    ((*FORK, task("z", input="$.steps.f")), True),
    ((*FORK, task("z", input="$.steps.b")), False),
    ((fork("f", "a", "b", join="j"), task("a", "j"), task("b", "j", input="$.steps.a"), join("j")),
     False),
    ((task("s", "f"), fork("f", "a", "b", join="j"), task("a", "j", input="$.steps.s"),
      task("b", "j", output="$.steps.f"), join("j")), True),
    ((task("s", "c"), choice("c", "f", default="g"), fork("f", "a", join="j"), task("a", "j"),
      join("j", "z"), fork("g", "b", join="k"), task("b", "k"), join("k", "z"),
      task("z", input=["$.steps.s", "$.steps.c"])), True),
    ((choice("c", "f", default="g"), fork("f", "a", join="j"), task("a", "j"),
      join("j", "z"), fork("g", "b", join="k"), task("b", "k"), join("k", "z"),
      task("z", input="$.steps.a")), False),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "is_right"), TEMPLATES)
def test_a_template_names_only_steps_that_have_run_for_certain(
    steps: tuple[dict[str, Any], ...], is_right: bool
) -> None:
    if is_right:
        read_object(graph(*steps))
        return
    with pytest.raises(DefinitionRefused, match="may not have run"):
        read_object(graph(*steps))


def test_a_condition_may_ask_for_a_step_that_may_have_run() -> None:
    asks = {"id": "d", "type": "CHOICE", "default": "b",
            "choices": [{"when": {"path": "$.steps.a", "exists": True}, "next": "y"}]}  # fmt: skip
    steps = (choice("c", "a", default="d"), task("a", "d"), asks, task("b"), task("y"))
    read_object(graph(*steps))
    asks["choices"][0]["when"]["path"] = "$.steps.b"  # type: ignore[index]
    with pytest.raises(DefinitionRefused, match="may not have run"):
        read_object(graph(*steps))


def test_large_definitions_are_read_and_refused_in_no_time() -> None:
    """They are not timed here; a quadratic way would take minutes."""
    many = [task(f"s{n}", f"s{n + 1}") for n in range(999)] + [task("s999")]
    read_object(graph(*many))
    with pytest.raises(DefinitionRefused, match=r"s0 → s1 → .* → …"):
        read_object(graph(*many[:-1], task("s999", "s0")))
    wide = [f"b{n}" for n in range(100)]
    rows = [fork("f0", *wide, join="j0")]
    for n in range(9):
        rows += [task(f"{one}-{n}" if n else one, f"{one}-{n + 1}") for one in wide]
    rows += [task(f"{one}-9", "j0") for one in wide[:98]]
    with pytest.raises(DefinitionRefused):
        read_object(graph(*rows))
    deep: list[dict[str, Any]] = [fork(f"f{n}", f"f{n + 1}", join=f"j{n}") for n in range(333)]
    deep += [task("f333", "j332")] + [join(f"j{n}", f"j{n - 1}" if n else None) for n in range(333)]
    assert Flow(read_object(graph(*deep))).heads["f333"] == "f333"
    choices = [choice(f"c{n}", f"c{n + 1}", default=f"c{min(n + 2, 999)}") for n in range(999)]
    read_object(graph(*choices, task("c999")))
