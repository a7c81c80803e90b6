"""Where a function is: from a `functionId` and a row of the configuration to a URL. Pure.

Credentials are sent to that URL, and a `functionId` comes from whoever may define a workflow. So a
name is put behind `base_url`, part by part and encoded, and a whole URL must be of an origin that
the configuration names. Plain http is for this machine alone.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import quote, urlsplit

from gossamer_gateway.runs.model.definition import Place

REGION = "{region}"

_REGION = re.compile(r"[a-z0-9-]{1,64}")
_PART = re.compile(r"[\w.~:@+-]{1,200}")


class BadFunctionId(Exception):
    """A functionId that names no function here, in a sentence."""


def is_loopback(url: str) -> bool:
    """Whether a URL is of this machine."""
    found = address_of(url)
    return host_of(url) == "localhost" if found is None else found.is_loopback


def address_of(url: str) -> IPv4Address | IPv6Address | None:
    """The address that a URL has in place of a name."""
    try:
        return ip_address(host_of(url))
    except ValueError:
        return None


def host_of(url: str) -> str:
    """A URL's host in small letters; empty for what is no URL."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def check_base(text: str) -> str:
    """Raises: ValueError, with a reason that reads on after the text."""
    parts = urlsplit(text.replace(REGION, "region"))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("is no http or https URL")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("has more than a host and a path")
    if parts.scheme == "http" and not is_loopback(text):
        raise ValueError("would send credentials in plain text")
    return text.rstrip("/")


def parse_origin(text: str) -> str:
    """An origin, in small letters. Raises: ValueError, with a reason."""
    check_base(text.replace("*", "x"))
    parts = urlsplit(text.lower())
    first, _, rest = parts.netloc.partition(".")
    if parts.path not in ("", "/"):
        raise ValueError("has a path; an origin has none")
    if "*" in rest or first.count("*") > 1 or ("*" in first and rest.count(".") < 1):
        raise ValueError("has a `*` elsewhere than in the first label of a long name")
    return f"{parts.scheme}://{parts.netloc}"


def http_function(place: Place, base_url: str | None, origins: tuple[str, ...], region: str) -> str:
    """The URL of an HTTP function.

    Args:
        region: of the place, or where it names none the configuration's; may be empty.

    Raises: BadFunctionId.
    """
    id = place.function_id
    if id.lower().startswith(("http://", "https://")):
        return _whole(id, base_url, origins, region)
    if base_url is None:
        raise BadFunctionId(f"{id[:200]!r} is a name, and {place.provider} has no base_url")
    path = id.strip("/").split("/")
    if not all(_PART.fullmatch(one) and set(one) != {"."} for one in path):
        raise BadFunctionId(f"{id[:200]!r} is neither a function's name nor a URL")
    return "/".join([filled(base_url, region, place), *(quote(one, safe="~") for one in path)])


def filled(base_url: str, region: str, place: Place) -> str:
    """A base URL with its region. Raises: BadFunctionId."""
    if REGION not in base_url:
        return base_url
    if not region:
        raise BadFunctionId(
            f"{place.function_id[:200]!r} needs a region: name one in the step or for "
            f"{place.provider} in the gateway's configuration"
        )
    return base_url.replace(REGION, checked_region(region))


def checked_region(region: str) -> str:
    """A region as it was written. Raises: BadFunctionId."""
    if not _REGION.fullmatch(region):
        raise BadFunctionId(f"{region[:64]!r} is no region's name")
    return region


def _whole(url: str, base_url: str | None, origins: tuple[str, ...], region: str) -> str:
    said = f"{url[:200]!r}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadFunctionId(f"{said} is no URL") from None
    good = parts.hostname and parts.username is None and url.isascii()
    if not good or not url.isprintable() or any(one in url for one in '\\ "<>'):
        raise BadFunctionId(f"{said} is no URL of a function")
    if parts.query or parts.fragment:
        raise BadFunctionId(f"{url.partition('?')[0][:200]!r} has a query; keys are configured")
    if parts.scheme == "http" and not is_loopback(url):
        raise BadFunctionId(f"{said} is not https: credentials would be sent in plain text")
    known = [*origins]
    if base_url is not None and (REGION not in base_url or _REGION.fullmatch(region)):
        known.append(_origin(base_url.replace(REGION, region)))
    host = (parts.hostname or "") if port is None else f"{parts.hostname}:{port}"
    if not any(_is_of(f"{parts.scheme}://{host}", one) for one in known):
        raise BadFunctionId(
            f"{said} is of no origin that the gateway's configuration names for this provider"
        )
    return url


def _origin(url: str) -> str:
    parts = urlsplit(url.lower())
    return f"{parts.scheme}://{parts.netloc}"


def _is_of(origin: str, pattern: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return origin == pattern
    if not origin.startswith(before) or not origin.endswith(after):
        return False
    between = origin[len(before) : len(origin) - len(after)]
    return (
        len(origin) > len(before) + len(after) and re.fullmatch(r"[a-z0-9-]+", between) is not None
    )
