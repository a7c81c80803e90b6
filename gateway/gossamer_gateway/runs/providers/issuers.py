"""Asks who gives credentials: this machine's metadata, or a cloud's endpoint of tokens.

Bounded in time and size, and whatever comes of it is an answer or `NoCredentials` in a sentence.
"""

from collections.abc import Mapping

import httpx
import trio

from gossamer_gateway.runs.providers.exchange import NoReply, Reply, exchange
from gossamer_gateway.runs.providers.keeping import FETCH_S, NoCredentials, may_be_sent

METADATA_S = 2.0
"""For a question to the metadata of a machine, which may have to ask for a token itself."""


async def ask_metadata(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    query: Mapping[str, str] | None = None,
    within_s: float | None = None,
) -> Reply:
    """Asks this machine's metadata; what is not 200 is no answer.

    Args:
        client: goes through no proxy.
        within_s: None: `METADATA_S`.

    Raises: NoCredentials.
    """
    within_s = METADATA_S if within_s is None else within_s
    reply = await _ask(client, within_s, method, url, headers=headers, params=query)
    if reply.status != 200:
        raise NoCredentials(f"it answered {reply.status}")
    return reply


async def ask_for_token(client: httpx.AsyncClient, url: str, form: Mapping[str, str]) -> Reply:
    """Posts a form to an endpoint of tokens, whatever it answers. Raises: NoCredentials."""
    try:
        return await _ask(client, FETCH_S, "POST", url, data=form)
    except NoCredentials as error:
        raise NoCredentials(f"the token endpoint: {error}") from error


async def _ask(
    client: httpx.AsyncClient,
    within_s: float,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    data: Mapping[str, str] | None = None,
) -> Reply:
    if not all(may_be_sent(value) for value in (headers or {}).values()):
        raise NoCredentials("what it wants to see has a character that no header may have")
    try:
        request = client.build_request(method, url, headers=headers, params=params, data=data)
        with trio.fail_after(within_s):
            return await exchange(client, request)
    except trio.TooSlowError:
        raise NoCredentials(f"no answer within {within_s:g} s") from None
    except (NoReply, httpx.InvalidURL, UnicodeError) as error:
        raise NoCredentials(str(error)) from error
