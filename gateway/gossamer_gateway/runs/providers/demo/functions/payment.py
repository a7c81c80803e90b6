"""What the functions of the demo do, whichever cloud runs them.

`charge` is the step that must not happen twice: it writes into a ledger under its idempotency key,
and one that finds its key there has nothing to do. It takes a while, so that an outage can meet it
in the middle.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Order = dict[str, Any]


def authorize(order: Order, _key: str, where: str) -> Order:
    """Asks the bank, as it were."""
    if order["amount"] <= 0:
        raise ValueError(f"{order['amount']} cannot be paid")
    return {**order, "authorizedBy": where}


def charge(order: Order, key: str, where: str) -> Order:
    """Takes the money, once for each key."""
    ledger = Path(os.environ["LEDGER"])
    _note(ledger, {"begun": key, "where": where})
    time.sleep(int(os.environ.get("CHARGE_MS", "1000")) / 1_000)
    if not any(one.get("charged") == key for one in entries(ledger)):
        _note(ledger, {"charged": key, "where": where, "amount": order["amount"]})
    return {**order, "chargedBy": where}


def receipt(order: Order, _key: str, where: str) -> Order:
    """Writes it."""
    return {**order, "receiptBy": where}


def entries(ledger: Path) -> list[Order]:
    """All lines of the ledger."""
    if not ledger.exists():
        return []
    return [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()]


def _note(ledger: Path, entry: Order) -> None:
    with ledger.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


FUNCTIONS: dict[str, Callable[[Order, str, str], Order]] = {
    "authorize": authorize,
    "charge": charge,
    "receipt": receipt,
}
