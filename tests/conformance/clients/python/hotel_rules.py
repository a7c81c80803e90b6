"""What the hotel's six workers do, for the two programs in Python.

A rule takes a job's variables and gives what to write; what is wrong is a `TaskError`.
"""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

Inputs = Mapping[str, Any]
Rule = Callable[[Inputs], dict[str, Any]]


class TaskError(Exception):
    """The BPMN error TASK_ERROR, with the variables that go with it."""

    code = "TASK_ERROR"

    def __init__(self, message: str, variables: dict[str, Any]) -> None:
        super().__init__(message)
        self.message = message
        self.variables = variables | {"error_message": message}


def validate_input(inputs: Inputs) -> dict[str, Any]:
    if inputs["guests"] < 1:
        raise TaskError("guests must be 1 to 8", {"valid": False, "status": "invalid"})
    stay = date.fromisoformat(inputs["check_out"]) - date.fromisoformat(inputs["check_in"])
    return {"valid": True, "nights": stay.days}


def search_client(inputs: Inputs) -> dict[str, Any]:
    if inputs["email"].startswith("regular"):
        return {"clientFound": True, "client_id": "C-regular"}
    return {"clientFound": False}


def create_client(inputs: Inputs) -> dict[str, Any]:
    return {"client_id": f"C-{inputs['reservation_id']}"}


def check_room_availability(inputs: Inputs) -> dict[str, Any]:
    if inputs["room_type"] == "penthouse":
        return {"roomAvailable": False, "status": "rejected"}
    return {
        "roomAvailable": True,
        "selected_room_id": "301",
        "price": 120.5,
        "rate_code": 2**53 + 1,
        "room": {"floor": 3, "beds": ["queen", "sofa"], "view": None},
        "discount": None,
    }


def block_room(inputs: Inputs) -> dict[str, Any]:
    if inputs["room_type"] == "suite":
        raise TaskError(
            "the last suite went to somebody else meanwhile",
            {"room_blocked": False, "status": "rejected"},
        )
    return {
        "room_blocked": True,
        "room_id": inputs["selected_room_id"],
        "blocked_until": "2030-01-01T00:00:00Z",
    }


def create_booking(inputs: Inputs) -> dict[str, Any]:
    return {
        "booking_id": f"B-{inputs['reservation_id']}",
        "total": inputs["price"] * inputs["nights"],
        "status": "confirmed",
    }


RULES: dict[str, Rule] = {
    "validate-input": validate_input,
    "search-client": search_client,
    "create-client": create_client,
    "check-room-availability": check_room_availability,
    "block-room": block_room,
    "create-booking": create_booking,
}
