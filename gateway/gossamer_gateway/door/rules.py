"""Which role a request needs: one table. Pure.

A row has a method, a path and what it needs. In a path `{process}` is a process's id, which the
door then judges by itself; `{}` is any one segment, `**` what is left, if anything. What is in no
row needs `admin`, so that a new endpoint is closed until somebody has thought of it. HEAD is GET.
A path is taken as the application takes it, decoded; one with an empty segment, `.` or `..` is in
no row, so that no two readings of it can differ (but for the last slash of `SLASHED`). Camunda 7's
`/engine-rest/engine/{name}/…` is the same without that.

`Reach` says what becomes of grants that are limited to processes. A handler of a row with `ASKED`
promises to ask (`asking`) before it reads or changes anything; from a handler that did not, who is
so limited gets no answer (`asgi`), but then it is done. So a row is `ALL` until its handler asks,
and who is limited is refused at the door. Lists are of all processes.
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
        GET /live/** - none
        GET /favicon.ico - none
        POST /_bulk admin all
        PUT /_index_template/{} admin all
        PUT /_component_template/{} admin all
        PUT /_ilm/policy/{} admin all
        PUT /{}/_settings admin all
        """
    ),
    *_rows(
        """
        GET /version read none
        GET /engine read none
        GET /telemetry/data read none
        GET,POST /deployment read all
        GET,POST /deployment/count read all
        POST /deployment/create deploy all
        GET /deployment/{} read all
        GET /deployment/{}/** read all
        DELETE /deployment/{} deploy all
        GET,POST /process-definition read all
        GET,POST /process-definition/count read all
        GET /process-definition/key/{process} read named
        GET /process-definition/key/{process}/** read named
        POST /process-definition/key/{process}/start start named
        POST /process-definition/key/{process}/tenant-id/{}/start start named
        POST /process-definition/key/{process}/submit-form start named
        DELETE /process-definition/key/{process} deploy named
        GET /process-definition/{} read all
        GET /process-definition/{}/** read all
        POST /process-definition/{}/start start asked
        POST /process-definition/{}/submit-form start all
        DELETE /process-definition/{} deploy all
        POST /message start all
        POST /signal start all
        GET,POST /process-instance read all
        GET,POST /process-instance/count read all
        GET /process-instance/{} read all
        GET /process-instance/{}/** read all
        DELETE /process-instance/{} start all
        POST /process-instance/{}/modification start all
        POST /process-instance/{}/variables start all
        PUT,POST,DELETE /process-instance/{}/variables/{} start all
        PUT /process-instance/{}/suspended start all
        GET,POST /execution read all
        GET,POST /execution/count read all
        GET /execution/{}/** read all
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
        GET /history/process-instance/{} read all
        GET,POST /history/activity-instance read all
        GET,POST /history/activity-instance/count read all
        GET,POST /history/variable-instance read all
        GET,POST /history/variable-instance/count read all
        GET,POST /history/incident read all
        GET,POST /history/incident/count read all
        GET,POST /history/external-task-log read all
        GET,POST /history/external-task-log/count read all
        GET,POST /history/detail read all
        GET,POST /history/detail/count read all
        GET,POST /history/job-log read all
        GET,POST /history/job-log/count read all
        GET,POST /history/task read all
        GET,POST /history/task/count read all
        GET /history/batch read all
        GET /history/batch/count read all
        GET /batch read all
        GET /batch/count read all
        GET /decision-definition read all
        GET /decision-definition/count read all
        GET /event-subscription read all
        GET /event-subscription/count read all
        GET /job-definition read all
        GET /job-definition/count read all
        GET,POST /task read all
        GET,POST /task/count read all
        GET,POST /incident read all
        GET,POST /incident/count read all
        GET /incident/{} read all
        DELETE /incident/{} start all
        PUT /job/{}/retries start all
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
        POST /deployments deploy all
        POST /resources/{}/deletion deploy all
        POST /process-instances start asked
        GET /process-instances/{} read all
        GET /process-instances/{}/** read all
        POST /process-instances/{}/cancellation start all
        POST /process-instances/{}/modification start all
        POST /process-instances/{}/migration start all
        POST /process-instances/search read all
        POST /process-definitions/search read all
        GET /process-definitions/{} read all
        GET /process-definitions/{}/xml read all
        POST /element-instances/search read all
        GET /element-instances/{} read all
        PUT /element-instances/{}/variables start all
        POST /jobs/search read all
        POST /jobs/activation work all waits
        POST /jobs/{}/completion work all
        POST /jobs/{}/failure work all
        POST /jobs/{}/error work all
        PATCH /jobs/{} work all
        POST /messages/publication start all
        POST /messages/correlation start all
        POST /message-subscriptions/search read all
        POST /signals/broadcast start all
        POST /variables/search read all
        GET /variables/{} read all
        POST /incidents/search read all
        GET /incidents/{} read all
        POST /incidents/{}/resolution start all
        POST /user-tasks/{}/completion start all
        POST /user-tasks/{}/assignment start all
        DELETE /user-tasks/{}/assignee start all
        PATCH /user-tasks/{} start all
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
        GET /nodes/{} read none
        GET /services read none
        GET /leases read all
        GET /events read all waits
        GET /progress read all
        GET /processes read all
        GET /processes/{process} read named
        GET /processes/{process}/** read named
        GET /instances read all
        POST /instances start all
        GET /instances/{} read all
        GET /instances/{}/** read all
        DELETE /instances/{} start all
        GET /jobs read all
        GET /incidents read all
        POST /incidents/{}/resolution start all
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
        GET /workflow/providers read none
        GET /keys admin all
        POST /keys admin all
        DELETE /keys/{} admin all
        """,
        "/v1",
    ),
    *_rows(
        """
        GET /workflow read all
        POST /workflow deploy asked
        GET /workflow/{process} read named
        GET /workflow/{process}/versions read named
        POST /workflow/{process}/trigger start named
        GET /workflow/events read asked waits
        GET /workflow/runs read asked
        GET /workflow/run/{} read asked
        GET /workflow/run/{}/events read asked
        POST /workflow/run/{}/cancel start asked
        POST /workflow/run/{}/retry start asked
        POST /workflow/jobs/fetch work all waits
        POST /workflow/jobs/results work all
        POST /workflow/jobs/extend work all
        GET /workflow/engine-rest/version read none
        GET /workflow/engine-rest/engine read none
        GET /workflow/engine-rest/telemetry/data read none
        POST /workflow/engine-rest/external-task work all
        POST /workflow/engine-rest/external-task/fetchAndLock work all waits
        GET /workflow/engine-rest/external-task/{} work all
        POST /workflow/engine-rest/external-task/{}/complete work all
        POST /workflow/engine-rest/external-task/{}/failure work all
        POST /workflow/engine-rest/external-task/{}/bpmnError work all
        POST /workflow/engine-rest/external-task/{}/extendLock work all
        POST /workflow/engine-rest/external-task/{}/unlock work all
        GET /executions read asked
        POST /executions deploy asked
        GET /executions/{} read asked
        POST /executions/{}/cancel start asked
        """
    ),
)

SLASHED = ("/workflow/", "/executions/", "/live/")
"""Paths that mean the same without their last slash."""

SERVICE = "/gateway_protocol.Gateway/"

GRPC = {
    SERVICE + name: Need(role, reach, waits)
    for name, role, reach, waits in (
        ("Topology", _READ, _NONE, False),
        ("ActivateJobs", _WORK, _ALL, True),
        ("StreamActivatedJobs", _WORK, _ALL, True),
        ("CompleteJob", _WORK, _ALL, False),
        ("FailJob", _WORK, _ALL, False),
        ("ThrowError", _WORK, _ALL, False),
        ("UpdateJobRetries", _WORK, _ALL, False),
        ("UpdateJobTimeout", _WORK, _ALL, False),
        ("CreateProcessInstance", _START, _ASKED, False),
        ("CreateProcessInstanceWithResult", _START, _ASKED, True),
        ("CancelProcessInstance", _START, _ALL, False),
        ("ModifyProcessInstance", _START, _ALL, False),
        ("MigrateProcessInstance", _START, _ALL, False),
        ("SetVariables", _START, _ALL, False),
        ("ResolveIncident", _START, _ALL, False),
        ("PublishMessage", _START, _ALL, False),
        ("BroadcastSignal", _START, _ALL, False),
        ("EvaluateDecision", _START, _ALL, False),
        ("DeployProcess", _DEPLOY, _ALL, False),
        ("DeployResource", _DEPLOY, _ALL, False),
        ("DeleteResource", _DEPLOY, _ALL, False),
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
    if path in SLASHED:
        path = path[:-1]
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
