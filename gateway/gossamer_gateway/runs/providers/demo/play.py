"""What happens in the demo: payments, and outages that meet them in the middle.

A payment is three steps, each at AWS first, then at Google, then at Azure. AWS is killed while it
takes the money of the first; Google while it takes that of the second. It is all told from the
run's events, as anybody can read them.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio

from gossamer_gateway.runs.providers.demo.stage import NAMES, Stage

ORDER = ("AWS", "GCP", "AZURE")
LOOK_S = 0.05
RUN_S = 120.0
"""For one payment; it takes some seconds."""

Event = Mapping[str, Any]
Tell = Callable[[float, Event], None]
"""Takes the time since the demo began, in seconds, and an event of a run, or one of `killed`."""

WORKFLOW = {
    "id": "payment",
    "startAt": NAMES[0],
    "steps": [
        {
            "id": name,
            "type": "TASK",
            "provider": ORDER[0],
            "functionId": name,
            "fallbackProvider": list(ORDER[1:]),
            "retry": {"maxAttempts": 2, "initialDelayMs": 400, "jitter": 0.5},
            "timeoutMs": 20_000,
            "deadlineMs": 60_000,
            **({"next": next} if next else {}),
        }
        for name, next in zip(NAMES, (*NAMES[1:], None), strict=True)
    ],
}


@dataclass
class Payment:
    """A run, as it went.

    Attributes:
        killed: the cloud that was killed while it took the money.
        charged: how often the money was taken.
    """

    run: str
    killed: str
    status: str = "Running"
    output: dict[str, Any] = field(default_factory=dict)
    attempts: int = 0
    failovers: int = 0
    charged: int = 0
    seconds: float = 0.0


async def play(stage: Stage, client: httpx.AsyncClient, tell: Tell) -> list[Payment]:
    """Two payments, one after the other.

    Raises: httpx.HTTPError, trio.TooSlowError: the gateway does not do its part.
    """
    began_s = trio.current_time()
    (await client.post("/workflow/", json=WORKFLOW)).raise_for_status()
    payments = []
    for number, victim in enumerate(ORDER[:2], 1):
        given = {"input": {"order": f"order-{number}", "amount": 40 + number}}
        told = await client.post("/workflow/payment/trigger", json=given)
        told.raise_for_status()
        payment = Payment(told.text, victim)
        payments.append(payment)
        started_s = trio.current_time()
        with trio.fail_after(RUN_S):
            await _follow(stage, client, payment, lambda event: tell(_since(began_s), event))
        payment.seconds = _since(started_s)
    for payment in payments:
        key = f"{payment.run}:charge"
        payment.charged = sum(one.get("charged") == key for one in _ledger(stage))
    return payments


async def _follow(
    stage: Stage, client: httpx.AsyncClient, payment: Payment, tell: Callable[[Event], None]
) -> None:
    """Tells a payment to its end; kills the victim once it has begun to take the money."""
    is_killed = False
    key = f"{payment.run}:charge"
    async for event in _events(client, payment.run):
        if event is not None:
            tell(event)
            payment.attempts += event["kind"] == "attempt.started"
            payment.failovers += event["kind"] == "step.failover"
            if event["kind"] in ("run.completed", "run.failed", "run.cancelled"):
                payment.status = event["kind"].removeprefix("run.").capitalize()
                payment.output = event.get("output") or {}
                return
        begun = any(
            one.get("begun") == key and one["where"] == payment.killed for one in _ledger(stage)
        )
        if begun and not is_killed:
            is_killed = True
            stage.clouds[payment.killed].kill()
            tell({"kind": "killed", "provider": payment.killed})


async def _events(client: httpx.AsyncClient, run: str) -> AsyncIterator[Event | None]:
    """Events of a run, in order; None while there is nothing new."""
    after = 0
    while True:
        told = await client.get(f"/workflow/run/{run}/events", params={"after": str(after)})
        told.raise_for_status()
        events = told.json()["events"]
        for one in events:
            after = one["seq"]
            yield one
        if not events:
            yield None
            await trio.sleep(LOOK_S)


def _ledger(stage: Stage) -> list[dict[str, Any]]:
    if not stage.ledger.exists():
        return []
    lines = stage.ledger.read_text(encoding="utf-8").splitlines()
    return [json.loads(one) for one in lines if one.endswith("}")]


def _since(began_s: float) -> float:
    return trio.current_time() - began_s
