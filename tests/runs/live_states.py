"""Runs in every state that a live page has to show well: at work, failed, moved, late, cancelled,
of very long names, of other scripts.
"""

from typing import Any

from tests.runs.live_world import DOWN, HARM, LiveWorld

from gossamer_gateway.runs.model.definition import Definition, Place, Retry, Step
from gossamer_gateway.runs.model.events import Failure

QUICK = Retry(max_attempts=2, initial_delay_ms=200, jitter=0)

LONG = ("the-workflow-that-somebody-named-as-if-names-were-free-of-charge-" * 2)[:100]
LONG_STEP = "a-step-whose-name-says-everything-that-it-does-and-then-some-more"

PAYMENT = Definition(
    "payment",
    "authorize",
    {
        "authorize": Step(
            "authorize", places=(Place("AWS", "authorize", "eu-west-1"),), next="charge"
        ),
        "charge": Step(
            "charge",
            places=(
                Place("AWS", "charge", "eu-west-1"),
                Place("GCP", "charge", "europe-west4"),
                Place("AZURE", "charge"),
            ),
            retry=QUICK,
            timeout_ms=400,
            next="receipt",
        ),
        "receipt": Step("receipt", places=(Place("AWS", "receipt", "eu-west-1"),)),
    },
)

WORDY = Definition(
    LONG,
    LONG_STEP,
    {
        LONG_STEP: Step(LONG_STEP, action=LONG_STEP, retry=QUICK, next="then"),
        "then": Step("then", action="then", retry=QUICK),
    },
)

SCRIPTS = {
    "اسم": "مرحبا بالعالم، هذا نص من اليمين إلى اليسار",
    "שם": "שלום עולם (123)",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 🇺🇳 e\u0301",
    "turned": "invoice\u202efdp.exe",
    "नाम": "नमस्ते दुनिया",
    "名前": "長い日本語の文字列は空白なしで続きます" * 4,
}
"""Texts that go from right to left, that join, and one that would turn what stands behind it."""


async def a_failover(world: LiveWorld) -> str:
    """A payment that goes from cloud to cloud, with an answer that comes too late."""
    run = await world.trigger("payment", {"amount": 4200, "currency": "EUR"})
    await world.done(run, "authorize", {"authorized": True})
    await world.fails(
        run, "charge", Failure("ConnectionLost", "the function's end is not known", "provider")
    )
    await world.begun(run, "charge", 3)  # the second was not answered in time
    await world.late(run, "charge", 2)
    await world.fails(run, "charge", DOWN)
    await world.begun(run, "charge", 5)  # at Azure; at Google the last was not answered
    await world.done(run, "charge", {"chargedBy": "AZURE"})
    await world.done(run, "receipt", {"number": 17})
    return run


async def a_failure(world: LiveWorld, given: Any = None) -> str:
    """An order that failed at its last step, after retries."""
    run = await world.an_order({"customer": HARM, "given": given})
    broken = Failure(
        "CarrierDown", "the carrier's system refuses parcels", details=f"at 14:03\n{HARM}"
    )
    await world.fails(run, "ship", broken)
    await world.begun(run, "ship", 2)
    await world.fails(run, "ship", broken)
    return run


async def a_cancelled_one(world: LiveWorld) -> str:
    """An order that somebody ended."""
    run = await world.an_order()
    await world.engine.cancel(run, reason="the customer changed her mind", who="service-desk")
    return run


async def a_long_one(world: LiveWorld) -> str:
    """Long names, a large value and a message without a space."""
    run = await world.trigger(LONG, {"list": ["x" * 900 for _ in range(60)], "text": "y" * 30_000})
    await world.fails(run, LONG_STEP, Failure("Code" * 20, "w" * 1_500, details="line\n" * 300))
    await world.begun(run, LONG_STEP, 2)
    await world.done(run, LONG_STEP, {"answer": "z" * 50_000})
    return run


async def of_other_scripts(world: LiveWorld) -> str:
    """Values and messages in them."""
    run = await world.trigger("hello", SCRIPTS)
    for text in (SCRIPTS["اسم"], SCRIPTS["turned"]):
        await world.fails(run, "greet", Failure("Fehler", text, details=SCRIPTS["שם"]))
        if text is SCRIPTS["اسم"]:
            await world.begun(run, "greet", 2)
    return run


async def define_all(world: LiveWorld) -> None:
    """Defines what the others trigger."""
    for one in (PAYMENT, WORDY):
        await world.engine.define(one)
