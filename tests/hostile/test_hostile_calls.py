"""Every host function, asked with every argument at and beyond the ends of memory."""

import itertools
import random
from collections.abc import Callable

import pytest
from tests.hostile.attacks import COMPLETED, Attack
from tests.hostile.services import DONE, GOOD, run

from gossamer_node.jobs import Failed
from gossamer_node.service.spec import Limits, Profile
from gossamer_node.wasm import Worker
from gossamer_node.wasm.loading.module import IMPORTS

Load = Callable[..., Worker]

EDGES = (0, 1, 3, 65_528, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 8, 2**32 - 1)
LIMITS = Limits(time_ms_max=200)
"""Some of them ask to wait."""

TRIES = 6
SEED = 20_261_121


def tries(name: str, count: int) -> list[tuple[int, ...]]:
    """All ends at once, each of them alone, and a few drawn ones."""
    drawn = random.Random(f"{SEED} {name}")
    found = [(edge,) * count for edge in (2**32 - 1, 65_535)]
    found += [tuple(drawn.choice(EDGES) for _ in range(count)) for _ in range(TRIES)]
    return list(dict.fromkeys(found)) if count else [()]


@pytest.mark.parametrize("key", IMPORTS, ids=lambda key: f"{key[0]}.{key[1]}")
def test_no_argument_harms_the_host(
    key: tuple[str, str],
    profile: Profile,
    load: Load,
    caplog: pytest.LogCaptureFixture,
) -> None:
    function = IMPORTS[key]
    kinds = function.parameters
    typed = f"(param {' '.join(kinds)})" + (
        f"(result {function.result})" if function.result else ""
    )
    declared = f'(import "{key[0]}" "{key[1]}" (func $f {typed}))'
    good = load(GOOD.module(), profile)
    for arguments in tries(function.name, len(kinds)):
        pushed = " ".join(
            f"({kind}.const {value})" for kind, value in zip(kinds, arguments, strict=True)
        )
        called = f"(call $f {pushed})"
        attack = Attack(
            None,
            (f"(drop {called})" if function.result else called) + COMPLETED,
            imports=declared,
        )
        outcome = run(load(attack.module(), profile, LIMITS))
        if outcome != DONE:
            assert isinstance(outcome, Failed), arguments
            assert outcome.message.startswith("The worker "), (arguments, outcome)
            assert "the host failed" not in outcome.message, (arguments, outcome)
        assert not caplog.records, arguments
    assert run(good) == DONE


def test_the_edges_are_what_they_are_called() -> None:
    # Ends of a page, of signed and of unsigned numbers, each from both sides.
    assert all(0 <= edge < 2**32 for edge in EDGES)
    assert {65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1} <= set(EDGES)
    assert len({name for _, name in IMPORTS}) == len(list(itertools.chain(IMPORTS)))
