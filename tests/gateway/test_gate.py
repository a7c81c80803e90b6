"""The gateway of the tests itself: it serves, and stops with nobody waiting."""

from tests.gateway.gate import open_gate


async def test_it_serves_and_stops() -> None:
    async with open_gate() as gate:
        assert (await gate.http.get("/engine-rest/nothing")).status_code == 404
