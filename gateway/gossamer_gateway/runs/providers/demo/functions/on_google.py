"""The payment as a service of Google's Cloud Run: one function, its paths."""

from typing import Any

import payment


def pay(request: Any) -> tuple[Any, int]:
    """Takes a request of Flask's."""
    function = payment.FUNCTIONS.get(request.path.strip("/"))
    if function is None:
        return {"message": "There is no such function."}, 404
    return function(request.get_json(), request.headers["idempotency-key"], "GCP"), 200
