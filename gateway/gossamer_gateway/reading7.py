"""The body of a request in Camunda 7's dialect, whoever answers in it."""

from quart import request
from werkzeug.exceptions import UnsupportedMediaType

from gossamer_gateway.fields import Fields, parse_object


async def read_body() -> Fields:
    """As a JSON object; none is an empty one. Raises: BadRequest; 415."""
    data = await read_content()
    if data and request.mimetype != "application/json":
        raise UnsupportedMediaType
    return parse_object(data)


async def read_content() -> bytes:
    """Its bytes, as many as the application takes."""
    data = await request.get_data(as_text=False)
    assert isinstance(data, bytes)
    return data
