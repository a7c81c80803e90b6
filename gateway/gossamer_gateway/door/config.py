"""Settings of the door: who is let in, how much he may ask for, and from which web pages.

A part of the gateway's table, whose rules of reading are those of `gossamer_node.config`. The
section says nothing of where the gateway listens, so `exposed` is for whoever reads both.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gossamer_gateway.door import cors, key_sets, tokens
from gossamer_gateway.door.certificates import Subjects
from gossamer_gateway.door.cors import CorsRule
from gossamer_gateway.door.limits import Limit
from gossamer_gateway.door.principals import Grant, Role
from gossamer_gateway.door.tokens import Issuer
from gossamer_node.address import Address
from gossamer_node.schema import (
    Choice,
    Field,
    Flag,
    Form,
    JsonSchema,
    ListOf,
    MapOf,
    OneOf,
    Record,
    Text,
    Whole,
    duration,
    size,
)
from gossamer_node.schema.source import Node, Place, Scalar, Sequence, invalid
from gossamer_node.variables import JsonValue


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """API keys count, as `gossamer gateway key` makes them."""


Way = ApiKeys | Issuer | Subjects
"""To say who one is."""


@dataclass(frozen=True, slots=True)
class DoorConfig:
    """The door's settings, complete and checked. `DOOR` says what each one means.

    Attributes:
        authentication: None: nothing was said; empty: `none` was.
    """

    authentication: tuple[Way, ...] | None = None
    hosts: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    waiting_max: int = 4_000
    cors: tuple[CorsRule, ...] = ()
    body_bytes_max: int = 16 * 2**20
    body_ms_max: int = 30_000

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in."""
        return not self.authentication

    @property
    def takes_keys(self) -> bool:
        return any(isinstance(one, ApiKeys) for one in self.authentication or ())

    @property
    def issuer(self) -> Issuer | None:
        return next((one for one in self.authentication or () if isinstance(one, Issuer)), None)

    @property
    def subjects(self) -> Subjects | None:
        """What client certificates give; then TLS has to ask for one."""
        return next((one for one in self.authentication or () if isinstance(one, Subjects)), None)


def exposed(config: DoorConfig, listens: Iterable[Address]) -> str | None:
    """What to say of a gateway that would let in whoever reaches it; None where all is well."""
    far = next((one for one in listens if not one.is_loopback), None)
    if config.authentication is not None or far is None:
        return None
    return (
        f"whoever reaches {far} could do anything; name ways to say who one is, or write `none` "
        "if that is meant"
    )


class _Ways(ListOf[Way]):
    """`none`, or a list."""

    def read(self, node: Node, field: str) -> tuple[Way, ...]:
        if isinstance(node, Scalar) and node.text == "none":
            return ()
        if isinstance(node, Sequence) and node.items:
            return super().read(node, field)
        raise invalid(node.place, f"this won't do; write {self.words()}", field=field)

    def from_text(self, text: str, place: Place) -> Node:
        return Scalar(place, text)

    def words(self) -> str:
        return f"`none`, or {super().words()}"

    def json_schema(self) -> JsonSchema:
        return {"oneOf": [{"const": "none"}, super().json_schema()]}

    def plain(self, value: tuple[Way, ...]) -> JsonValue:
        return super().plain(value) if value else "none"


def _host(text: str) -> str:
    if not text or not all(part.replace("-", "a").isalnum() for part in text.split(".")):
        raise ValueError("is no name of a host")
    return text.lower()


PATTERN = Text("a text, in which `*` stands for any characters", 500)
PATH = Text("a path, in which `*` stands for any characters", 500, r"[/*].*")
HEADER = Text("a header's name", 100, r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
CLAIM = Text("a claim's name", 200)
METHOD = Choice(cors.ALL_METHODS)


def _grant(*, role: str, processes: tuple[str, ...] = (), paths: tuple[str, ...] = ()) -> Grant:
    return Grant(Role(role), processes, paths)


GRANT = Record(
    "Role",
    "What somebody may do. `admin` may do everything; of the others none implies another.",
    _grant,
    (
        Field(
            "role",
            Choice(tuple(Role)),
            "role",
            "`read`: see processes, instances, jobs and variables. `work`: take jobs and settle "
            "them. `start`: start, change and end instances, send messages. `deploy`: deploy and "
            "delete. `admin`: all of it, and routes, overrides and keys.",
        ),
        Field(
            "processes",
            ListOf(PATTERN, "ids of processes, in which `*` stands for any characters", 100),
            "processes",
            "Only for these processes. Lists and messages are of all processes, and are refused "
            "to who is so limited.",
            "Most people and workers are trusted with a whole gateway.",
        ),
        Field(
            "paths",
            ListOf(PATH, "paths, in which `*` stands for any characters", 100),
            "paths",
            "Only on these paths, such as `/engine-rest/*`. A gRPC method's path is "
            "`/gateway_protocol.Gateway/ActivateJobs`.",
            "A role says enough for most.",
        ),
    ),
)

GRANTS = ListOf(GRANT, "roles", 100, items_min=1)


def _issuer_check(issuer: Issuer) -> Iterator[tuple[str, str]]:
    for value in issuer.grants:
        if not value.strip():
            yield "grants", "a value of the claim is empty; write one"


def _origin_check(rule: CorsRule) -> Iterator[tuple[str, str]]:
    if rule.credentials and "*" in rule.origins:
        yield (
            "credentials",
            "with `*` every page could ask as whoever sits before the browser; name the origins",
        )


WAY: OneOf[Way] = OneOf(
    "type",
    {
        "api_keys": Record(
            "API keys",
            "Made by `gossamer gateway key new`, kept as hashes in the gateway's storage. A client "
            "sends one as `Authorization: Bearer`, as `X-API-Key`, or as the password of Basic "
            "authentication, with any user name.",
            ApiKeys,
            (),
        ),
        "jwt": Record(
            "Signed tokens",
            "JSON Web Tokens of an issuer such as Keycloak, as `Authorization: Bearer`.",
            Issuer,
            (
                Field("issuer", Text("text", 1_000), "issuer", "What `iss` must say, exactly."),
                Field(
                    "audience", Text("text", 1_000), "audience", "What `aud` must be or contain."
                ),
                Field(
                    "jwks_url",
                    Form("an https URL", key_sets.check_url, str),
                    "jwks_url",
                    "Where the issuer's public keys are. They are fetched when they are needed, "
                    "again when a token names another, and kept while the issuer is down. "
                    "http only to this machine.",
                ),
                Field(
                    "grants",
                    MapOf(Text("a value of the claim", 500), GRANTS, "roles by value", 1_000),
                    "grants",
                    "The roles that a value of the claim `roles_claim` gives. A token with none "
                    "of them is known and may nothing.",
                ),
                Field(
                    "algorithms",
                    ListOf(Choice(tuple(tokens.ALGORITHMS)), "algorithms", 10, items_min=1),
                    "algorithms",
                    "With which tokens may be signed; what a token says of itself counts for "
                    "nothing.",
                    "Issuers use RS256, and ES256 where they care for size.",
                ),
                Field(
                    "name_claim",
                    CLAIM,
                    "name_claim",
                    "Under which name logs and limits know somebody.",
                    "`sub` is the one that never changes.",
                ),
                Field(
                    "roles_claim",
                    CLAIM,
                    "roles_claim",
                    "Where roles are: a list of texts, or one text with spaces such as `scope`. "
                    "Dots lead inside: `realm_access.roles`.",
                    "What several issuers call it.",
                ),
                Field(
                    "leeway",
                    duration("0ms", "5m"),
                    "leeway_ms",
                    "By how much the issuer's clock may differ.",
                    "Clocks that are kept at all differ by less.",
                ),
            ),
            check=_issuer_check,
        ),
        "certificates": Record(
            "Client certificates",
            "Of the authority that the gateway's TLS names for its clients.",
            Subjects,
            (
                Field(
                    "grants",
                    MapOf(
                        Text(
                            "`dns:NAME`, `uri:URI`, `email:ADDRESS` or `cn:NAME`",
                            500,
                            r"(?:dns|uri|email|cn):.+",
                        ),
                        GRANTS,
                        "roles by name",
                        1_000,
                    ),
                    "grants",
                    "The roles by a name in the certificate: an alternative name (`dns:`, `uri:`, "
                    "`email:`) or the subject's common name (`cn:`). The first that is known "
                    "counts, alternative names first.",
                ),
            ),
        ),
    },
)

LIMIT = Record(
    "Limit",
    "So many requests in so much time. They come back evenly, so a client that used them all has "
    "the next one after `window` / `requests`. Long polls are not counted here, see "
    "`waiting_max`. A gateway counts for itself: with three of them, three times as many.",
    Limit,
    (
        Field(
            "name",
            Text("a name of letters, digits and `-`", 50, r"[A-Za-z][A-Za-z0-9-]*"),
            "name",
            "As the headers `RateLimit` and `RateLimit-Policy` tell it to clients.",
        ),
        Field("requests", Whole(1, 1_000_000), "requests", "How many requests."),
        Field("window", duration("1s", "24h"), "window_ms", "In how much time."),
        Field(
            "by",
            Choice(("principal", "address", "everybody")),
            "by",
            "Whether each who is known has so many, each address, or all together. Behind a proxy "
            "all clients have its address. For gRPC, `principal` alone.",
            "One client's haste is not another's fault.",
        ),
        Field(
            "methods",
            ListOf(METHOD, "methods", len(cors.ALL_METHODS)),
            "methods",
            "Only requests with these methods.",
            "A path says enough for most.",
        ),
        Field(
            "paths",
            ListOf(PATH, "paths, in which `*` stands for any characters", 100),
            "paths",
            "Only requests of these paths.",
            "A limit for all of them is the one that is needed most.",
        ),
    ),
)

CORS = Record(
    "Pages",
    "Web pages of other origins that may ask this gateway. The first entry that names path and "
    "origin counts. What no entry allows, a page cannot read, and whatever may change something "
    "is refused.",
    CorsRule,
    (
        Field(
            "origins",
            ListOf(
                Form("an origin such as `https://app.example.org`, or `*`", cors.parse_origin, str),
                "origins",
                100,
                items_min=1,
            ),
            "origins",
            "Of these pages.",
        ),
        Field(
            "paths",
            ListOf(PATH, "paths, in which `*` stands for any characters", 100),
            "paths",
            "What they may ask for.",
            "An application's page mostly needs a dialect as a whole.",
        ),
        Field(
            "methods",
            ListOf(METHOD, "methods", len(cors.ALL_METHODS), items_min=1),
            "methods",
            "With which methods.",
            "All; what somebody may is a matter of his roles.",
        ),
        Field(
            "headers",
            ListOf(HEADER, "names of headers", 50),
            "headers",
            "Which headers they may send, beside those that every page may.",
            "Credentials, JSON, and what makes a repetition harmless.",
        ),
        Field(
            "exposed",
            ListOf(HEADER, "names of headers", 50),
            "exposed",
            "Which headers of the answer they may read, beside those that every page may.",
            "What a client needs to keep to the limits.",
        ),
        Field(
            "credentials",
            Flag(),
            "credentials",
            "Whether the browser may send what it has by itself: client certificates and Basic "
            "authentication. Not with the origin `*`.",
            "A page that has a key sends it itself.",
        ),
        Field(
            "max_age",
            duration("0ms", "24h"),
            "max_age_ms",
            "How long a browser may remember what was allowed.",
            "Ten minutes: a rule that is taken back should not count much longer.",
        ),
    ),
    check=_origin_check,
)


DOOR = Record(
    "Door",
    "Who is let in to the gateway, how much he may ask for, and from which web pages.",
    DoorConfig,
    (
        Field(
            "authentication",
            _Ways(WAY, "ways to say who one is", 3, unique=type),
            "authentication",
            "How clients say who they are; each way once. `none` lets in everybody who reaches the "
            "gateway.",
            "Nobody from other machines gets in unless that is written down.",
            default_words="none on 127.0.0.1; anywhere else it must be said",
        ),
        Field(
            "hosts",
            ListOf(Form("a host's name", _host, str), "names", 100),
            "hosts",
            "Without authentication: names under which clients reach the gateway, beside addresses "
            "and `localhost`.",
            "A web page could make any other name mean this machine (DNS rebinding).",
        ),
        Field(
            "limits",
            ListOf(LIMIT, "limits", 100, unique=lambda one: one.name),
            "limits",
            "How many requests are answered; more get 429 and `Retry-After`.",
            "Only you know what is much.",
        ),
        Field(
            "waiting_max",
            Whole(1, 100_000),
            "waiting_max",
            "Long polls, streams and WebSockets that one client may have open at a time.",
            "Four hundred workers under one key, with ten topics each, and half of all "
            "connections.",
        ),
        Field(
            "cors",
            ListOf(CORS, "entries", 100),
            "cors",
            "Which web pages of other origins may ask.",
            "None: most clients are no pages, and the gateway's own page is of its own origin.",
        ),
        Field(
            "body",
            size("1KiB", "1GiB"),
            "body_bytes_max",
            "The largest body of a request; a larger one gets 413.",
            "Four times what Camunda 8 takes in one message.",
        ),
        Field(
            "body_time",
            duration("1s", "10m"),
            "body_ms_max",
            "How long a request's body may take to come; a slower one gets 408.",
            "The largest body over a line of 5 Mbit/s.",
        ),
    ),
)
