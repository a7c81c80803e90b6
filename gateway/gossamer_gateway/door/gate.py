"""What HTTP and gRPC ask alike: whose a request is, whether he may, whether it is not too much.

A request passes the host and the page it comes from (`cors`), the limits by address, the question
who it is, the limits by principal, the question whether he may, and, if it waits, the places; the
first that says no is what the client hears. Who brings nothing is told to (401) only where that
would help: what needs no role is for anybody.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from gossamer_gateway.door import certificates, tokens
from gossamer_gateway.door.api_keys import Keyring
from gossamer_gateway.door.certificates import Certificates
from gossamer_gateway.door.config import DoorConfig
from gossamer_gateway.door.credentials import ApiKey, Token, Unreadable, read_credential
from gossamer_gateway.door.forms import Denied
from gossamer_gateway.door.key_sets import KeySet
from gossamer_gateway.door.limits import FREE, Limit, Limits, Places, Taken
from gossamer_gateway.door.principals import ANYBODY, EVERYBODY, Principal
from gossamer_gateway.door.rules import Need, Reach

CHALLENGE = ((b"www-authenticate", b'Bearer realm="gossamer"'),)
"""Not Basic: browsers would ask for a password, and then send it along with what any page asks."""

Headers = tuple[tuple[bytes, bytes], ...]


class Gate:
    """Decides.

    Args:
        keyring: the API keys, where the configuration has them count.
        key_set: the issuer of tokens, where it names one.
        now_ms: the time since 1970.

    Attributes:
        refused: what it, or who stands at it, has refused, by the status of HTTP.
    """

    def __init__(
        self,
        config: DoorConfig,
        *,
        keyring: Keyring | None = None,
        key_set: KeySet | None = None,
        now_ms: Callable[[], int],
    ) -> None:
        self.config = config
        self.refused: Counter[int] = Counter()
        self._keyring = keyring
        self._key_set = key_set
        self._now_ms = now_ms
        subjects = config.subjects
        self._certificates = None if subjects is None else Certificates(subjects)
        self._limits = Limits(config.limits)
        self._of_principals = [one for one in config.limits if one.by == "principal"]
        self._of_others = [one for one in config.limits if one.by != "principal"]
        self._places = Places(config.waiting_max)

    async def whose(
        self, headers: Iterable[tuple[bytes, bytes]], certificate: bytes | None
    ) -> Principal:
        """Whose a request is. Raises: Denied (401)."""
        if self.config.is_open:
            return EVERYBODY
        try:
            credential = read_credential(headers)
        except Unreadable as error:
            raise _unknown(f"The request can't be let in: {error}") from None
        if isinstance(credential, ApiKey):
            keyring = self._keyring
            found = None if keyring is None else keyring.whose(credential.text, self._now_ms())
            if found is None:
                raise _unknown("The API key is unknown, revoked or expired")
            return found
        if isinstance(credential, Token):
            if self._key_set is None:
                raise _unknown("Tokens are not taken here")
            try:
                return await self._key_set.whose(credential.text)
            except tokens.Refused as error:
                raise _unknown(f"The request can't be let in: {error}") from None
        if certificate is not None and self._certificates is not None:
            try:
                return self._certificates.whose(certificate, self._now_ms()) or ANYBODY
            except certificates.Refused as error:
                raise _unknown(f"The request can't be let in: {error}") from None
        return ANYBODY

    def take_by_address(self, method: str, path: str, address: str) -> Taken:
        """Counts a request before anybody asks whose it is."""
        return self._take(self._of_others, method, path, address)

    def take_by_principal(self, method: str, path: str, principal: Principal) -> Taken:
        return self._take(self._of_principals, method, path, _counted(principal))

    def limits_hit(self) -> Mapping[str, int]:
        """Requests that found a limit's bucket empty, by the limit's name."""
        return self._limits.hits

    def _take(self, limits: Sequence[Limit], method: str, path: str, whose: str) -> Taken:
        if not limits:
            return FREE
        named = [
            (one, "" if one.by == "everybody" else whose)
            for one in limits
            if one.names(method, path)
        ]
        return self._limits.take(named, self._now_ms())

    def allow(self, principal: Principal, need: Need, path: str) -> Principal:
        """Who goes in, with what he may on this path. Raises: Denied (401, 403)."""
        principal = principal.on_path(path)
        role = need.role
        if role is None:
            return principal
        if need.reach in (Reach.NONE, Reach.ASKED):
            may = principal.may_for_some(role)
        else:
            may = principal.may(role, process=need.process)
        if not may and principal.known_by == "nothing":
            raise _unknown("This needs an API key, a token or a client certificate")
        if not may:
            whom = f"{principal.known_by} {principal.name}"
            what = "for this process" if need.process else "here"
            raise Denied(403, f"The {whom} does not have the role {role} {what}")
        principal.was_asked = False
        return principal

    @contextmanager
    def place(self, principal: Principal, need: Need) -> Iterator[None]:
        """A place for a request that waits, for the length of a block. Raises: Denied (429)."""
        if not need.waits:
            yield
            return
        whose = _counted(principal)
        if not self._places.enter(whose):
            raise Denied(
                429,
                f"{self.config.waiting_max} requests of this client wait already",
                ((b"retry-after", b"1"),),
            )
        try:
            yield
        finally:
            self._places.leave(whose)


def told(taken: Taken) -> Headers:
    """What is left, for every answer."""
    if not taken.policy:
        return ()
    return (
        (b"ratelimit-policy", taken.policy.encode()),
        (b"ratelimit", taken.left.encode()),
    )


def check(taken: Taken) -> None:
    """Raises: Denied (429), when nothing is left."""
    if not taken.allowed:
        raise Denied(
            429,
            f"Too many requests; try again in {taken.retry_s} s",
            ((b"retry-after", b"%d" % taken.retry_s),),
        )


def owes_a_question(principal: Principal, need: Need) -> bool:
    """Whether a handler had to ask about processes, and did not."""
    return (
        need.reach is Reach.ASKED
        and need.role is not None
        and not principal.was_asked
        and any(one.processes for one in principal.grants)
        and not Principal("", "", principal.grants).may(need.role)
    )


def _counted(principal: Principal) -> str:
    return f"{principal.known_by}:{principal.name}"


def _unknown(said: str) -> Denied:
    return Denied(401, said, CHALLENGE)
