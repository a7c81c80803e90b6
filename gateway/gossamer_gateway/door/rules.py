"""Which role a request needs: one table. Pure.

A row has a method, a path and what it needs. In a path `{process}` is a process's id, which the
door then judges by itself; `{}` is any one segment, `**` what is left, if anything. What is in no
row needs `admin`, so that a new endpoint is closed until somebody has thought of it. HEAD is GET.
A path is taken as the application takes it, decoded; one with an empty segment, `.` or `..` is in
no row, so that no two readings of it can differ. Camunda 7's `/engine-rest/engine/{name}/…` is the
same without that.

`Reach` says what becomes of grants that are limited to processes. A handler of a row with `ASKED`
promises to ask `principal.may(role, process=…)` for what it reads or changes; from a handler that
did not, who is so limited gets no answer (`asgi`). Lists are of all processes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from gossamer_gateway.door.principals import Role


class Reach(Enum):
    """Which processes a request is about."""

    NONE = "none"
    """None: whoever has the role for one process may."""
    NAMED = "named"
    """The one in its path."""
    ASKED = "asked"
    """Some that its handler knows."""
    ALL = "all"
    """All of them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A row. `role` None: nobody needs to say who he is. `waits`: a long poll."""

    method: str
    path: str
    role: Role | None
    reach: Reach = Reach.ALL
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Need:
    """What a request needs.

    Attributes:
        process: the id in its path, where `reach` is NAMED.
        endpoint: method and path of the row; empty for none.
    """

    role: Role | None
    reach: Reach
    waits: bool = False
    process: str | None = None
    endpoint: str = ""


UNKNOWN = Need(Role.ADMIN, Reach.ALL)

_READ, _WORK, _START, _DEPLOY, _ADMIN = Role.READ, Role.WORK, Role.START, Role.DEPLOY, Role.ADMIN
_NONE, _NAMED, _ASKED, _ALL = Reach.NONE, Reach.NAMED, Reach.ASKED, Reach.ALL


def _rows(table: str, prefix: str = "") -> Iterator[Rule]:
    """The rows of a text: `METHODS path role reach`, and `waits`."""
    for line in table.strip().splitlines():
        methods, path, role, reach, *more = line.split()
        for method in methods.split(","):
            needed = None if role == "-" else Role(role)
            yield Rule(method, prefix + path, needed, Reach(reach), more == ["waits"])


HTTP = (
    *_rows(
        """
        GET / - none
        GET /page/** - none
        GET /favicon.ico - none
        """
    ),
    *_rows(
        """
        GET /version read none
        GET /engine read none
        GET /telemetry/data read none
        GET,POST /deployment read all
        GET,POST /deployment/count read all
        POST /deployment/create deploy asked
        GET /deployment/{} read asked
        GET /deployment/{}/** read asked
        DELETE /deployment/{} deploy asked
        GET,POST /process-definition read all
        GET,POST /process-definition/count read all
        GET /process-definition/key/{process} read named
        GET /process-definition/key/{process}/** read named
        POST /process-definition/key/{process}/start start named
        POST /process-definition/key/{process}/submit-form start named
        DELETE /process-definition/key/{process} deploy named
        GET /process-definition/{} read asked
        GET /process-definition/{}/** read asked
        POST /process-definition/{}/start start asked
        POST /process-definition/{}/submit-form start asked
        DELETE /process-definition/{} deploy asked
        POST /message start all
        POST /signal start all
        GET,POST /process-instance read all
        GET,POST /process-instance/count read all
        GET /process-instance/{} read asked
        GET /process-instance/{}/** read asked
        DELETE /process-instance/{} start asked
        POST /process-instance/{}/modification start asked
        POST /process-instance/{}/variables start asked
        PUT,POST,DELETE /process-instance/{}/variables/{} start asked
        PUT /process-instance/{}/suspended start asked
        GET,POST /execution read all
        GET,POST /execution/count read all
        GET /execution/{}/** read asked
        GET,POST /variable-instance read all
        GET,POST /variable-instance/count read all
        GET,POST /external-task read all
        GET,POST /external-task/count read all
        GET /external-task/topic-names read all
        POST /external-task/fetchAndLock work asked waits
        GET /external-task/{} read asked
        GET /external-task/{}/errorDetails read asked
        POST /external-task/{}/complete work asked
        POST /external-task/{}/bpmnError work asked
        POST /external-task/{}/failure work asked
        POST /external-task/{}/extendLock work asked
        POST /external-task/{}/lock work asked
        POST /external-task/{}/unlock work asked
        PUT /external-task/{}/retries work asked
        PUT /external-task/{}/priority work asked
        GET,POST /history/process-instance read all
        GET,POST /history/process-instance/count read all
        GET /history/process-instance/{} read asked
        GET,POST /history/activity-instance read all
        GET,POST /history/activity-instance/count read all
        GET,POST /history/variable-instance read all
        GET,POST /history/variable-instance/count read all
        GET,POST /history/incident read all
        GET,POST /history/incident/count read all
        GET /history/external-task-log read all
        GET,POST /incident read all
        GET,POST /incident/count read all
        GET /incident/{} read asked
        DELETE /incident/{} start asked
        PUT /job/{}/retries start asked
        GET,POST /job read all
        GET,POST /job/count read all
        """,
        "/engine-rest",
    ),
    *_rows(
        """
        GET /topology read none
        GET /status read none
        GET /license read none
        POST /deployments deploy asked
        POST /resources/{}/deletion deploy asked
        POST /process-instances start asked
        GET /process-instances/{} read asked
        GET /process-instances/{}/** read asked
        POST /process-instances/{}/cancellation start asked
        POST /process-instances/{}/modification start asked
        POST /process-instances/{}/migration start asked
        POST /process-instances/search read all
        POST /process-definitions/search read all
        GET /process-definitions/{} read asked
        GET /process-definitions/{}/xml read asked
        POST /element-instances/search read all
        GET /element-instances/{} read asked
        PUT /element-instances/{}/variables start asked
        POST /jobs/search read all
        POST /jobs/activation work asked waits
        POST /jobs/{}/completion work asked
        POST /jobs/{}/failure work asked
        POST /jobs/{}/error work asked
        PATCH /jobs/{} work asked
        POST /messages/publication start all
        POST /messages/correlation start all
        POST /message-subscriptions/search read all
        POST /signals/broadcast start all
        POST /variables/search read all
        GET /variables/{} read asked
        POST /incidents/search read all
        GET /incidents/{} read asked
        POST /incidents/{}/resolution start asked
        """,
        "/v2",
    ),
    *_rows(
        """
        GET /health - none
        GET /openapi.json - none
        GET /docs - none
        GET /metrics read none
        GET /whoami read none
        GET /engines read none
        GET /nodes read none
        GET /services read none
        GET /leases read all
        GET /events read all waits
        GET /processes read all
        GET /processes/{process} read named
        GET /processes/{process}/** read named
        GET /instances read all
        POST /instances start asked
        GET /instances/{} read asked
        GET /instances/{}/** read asked
        DELETE /instances/{} start asked
        GET /jobs read all
        GET /incidents read all
        POST /incidents/{}/resolution start asked
        GET /routes read none
        GET /routes/{} read none
        PUT,DELETE /routes/{} admin all
        GET /routes/{}/history read none
        GET /route-history read none
        GET /messages read none
        GET /messages/** read none
        PUT,DELETE /messages/** admin all
        GET /message-history read none
        GET /overrides read none
        GET /overrides/{} read none
        GET /overrides/{}/history read none
        GET /override-history read none
        PUT,DELETE /overrides/{} admin all
        POST /overrides/test admin all
        GET /keys admin all
        POST /keys admin all
        DELETE /keys/{} admin all
        """,
        "/v1",
    ),
)

SERVICE = "/gateway_protocol.Gateway/"

GRPC = {
    SERVICE + name: Need(role, reach, waits)
    for name, role, reach, waits in (
        ("Topology", _READ, _NONE, False),
        ("ActivateJobs", _WORK, _ASKED, True),
        ("StreamActivatedJobs", _WORK, _ASKED, True),
        ("CompleteJob", _WORK, _ASKED, False),
        ("FailJob", _WORK, _ASKED, False),
        ("ThrowError", _WORK, _ASKED, False),
        ("UpdateJobRetries", _WORK, _ASKED, False),
        ("UpdateJobTimeout", _WORK, _ASKED, False),
        ("CreateProcessInstance", _START, _ASKED, False),
        ("CreateProcessInstanceWithResult", _START, _ASKED, True),
        ("CancelProcessInstance", _START, _ASKED, False),
        ("ModifyProcessInstance", _START, _ASKED, False),
        ("MigrateProcessInstance", _START, _ASKED, False),
        ("SetVariables", _START, _ASKED, False),
        ("ResolveIncident", _START, _ASKED, False),
        ("PublishMessage", _START, _ALL, False),
        ("BroadcastSignal", _START, _ALL, False),
        ("EvaluateDecision", _START, _ALL, False),
        ("DeployProcess", _DEPLOY, _ASKED, False),
        ("DeployResource", _DEPLOY, _ASKED, False),
        ("DeleteResource", _DEPLOY, _ASKED, False),
    )
}


@dataclass(slots=True)
class _Node:
    """A segment of the table's paths, and what may follow."""

    below: dict[str, "_Node"] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    rest: dict[str, Rule] = field(default_factory=dict)


def _tree() -> _Node:
    root = _Node()
    for rule in HTTP:
        node = root
        *segments, last = rule.path.strip("/").split("/")
        for segment in segments + ([] if last == "**" else [last]):
            node = node.below.setdefault(segment, _Node())
        rules = node.rest if last == "**" else node.rules
        assert rule.method not in rules, f"{rule.method} {rule.path} is there twice"
        rules[rule.method] = rule
    return root


_ROOT = _tree()


def need_of(method: str, path: str) -> Need:
    """What an HTTP request needs."""
    segments = path[1:].split("/") if path.startswith("/") else ["."]
    if path != "/" and any(one in ("", ".", "..") for one in segments):
        return UNKNOWN
    if len(segments) > 3 and segments[:2] == ["engine-rest", "engine"]:
        del segments[1:3]
    if method == "HEAD":
        method = "GET"
    found = _find(_ROOT, segments, 0, method)
    if found is None:
        return UNKNOWN
    process = None
    if found.reach is Reach.NAMED:
        process = segments[found.path.strip("/").split("/").index("{process}")]
    endpoint = f"{found.method} {found.path}"
    return Need(found.role, found.reach, found.waits, process, endpoint)


def _find(node: _Node, segments: list[str], index: int, method: str) -> Rule | None:
    """The row: a segment's own name comes before any segment, and that before the rest."""
    if index == len(segments):
        return node.rules.get(method) or node.rest.get(method)
    for name in (segments[index], "{process}", "{}"):
        below = node.below.get(name)
        if below is not None:
            found = _find(below, segments, index + 1, method)
            if found is not None:
                return found
    return node.rest.get(method)
