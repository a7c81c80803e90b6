"""Deployed processes: each in versions, read from the store when needed and kept at hand.

A definition's BPMN is stored as it was deployed and parsed again after a restart; what the parser
made of it is never stored, so that a later Gossamer reads old files with its own eyes.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping

from gossamer_gateway.embedded.bpmn import parse_bpmn
from gossamer_gateway.embedded.flow import Flow
from gossamer_gateway.embedded.model import Definition, Deployment, Process
from gossamer_gateway.embedded.store import DefinitionRow, Store
from gossamer_gateway.errors import Problem, ProcessRefused, StepFailed, UnknownDefinition

CACHED_MAX = 256
"""Parsed processes kept at hand; reading one again costs about 2 ms."""

BPMN_SUFFIXES = (".bpmn", ".bpmn20.xml")


class Definitions:
    """The processes of one store."""

    def __init__(self, store: Store, new_id: Callable[[int], str]) -> None:
        self._store = store
        self._new_id = new_id
        self._flows: OrderedDict[str, tuple[Definition, Flow]] = OrderedDict()

    def deploy(
        self,
        files: Mapping[str, bytes],
        *,
        name: str | None,
        source: str | None,
        now_ms: int,
    ) -> Deployment:
        """Deploys all executable processes of all files, each in a new version.

        Raises: ProcessRefused with every problem of every file; nothing was deployed.
        """
        processes = _read_files(files)
        deployment_id = self._new_id(now_ms)
        self._store.add_deployment(deployment_id, name, source, now_ms, files)
        definitions = []
        for resource, process in processes:
            newest = self._store.newest_definition(process.id)
            version = newest.version + 1 if newest else 1
            definition = Definition(
                id=f"{process.id}:{version}:{self._new_id(now_ms)}",
                key=process.id,
                version=version,
                deployment_id=deployment_id,
                resource=resource,
                process=process,
            )
            self._store.add_definition(
                DefinitionRow(definition.id, definition.key, version, process.name,
                              process.version_tag, deployment_id, resource)
            )  # fmt: skip
            definitions.append(definition)
        return Deployment(deployment_id, name, source, now_ms, tuple(definitions))

    def get(self, definition_id: str) -> Definition:
        """Raises: UnknownDefinition."""
        return self._loaded(definition_id)[0]

    def newest(self, key: str) -> Definition:
        """The newest version of a process. Raises: UnknownDefinition."""
        row = self._store.newest_definition(key)
        if row is None:
            raise UnknownDefinition(
                f"No matching process definition with key: {key} and no tenant-id"
            )
        return self.get(row.id)

    def flow(self, definition_id: str) -> Flow:
        """The way through a definition. Raises: UnknownDefinition."""
        return self._loaded(definition_id)[1]

    def _loaded(self, definition_id: str) -> tuple[Definition, Flow]:
        found = self._flows.get(definition_id)
        if found is None:
            found = self._load(definition_id)
            self._flows[definition_id] = found
            if len(self._flows) > CACHED_MAX:
                self._flows.popitem(last=False)
        else:
            self._flows.move_to_end(definition_id)
        return found

    def _load(self, definition_id: str) -> tuple[Definition, Flow]:
        row = self._store.definition(definition_id)
        if row is None:
            raise UnknownDefinition(
                f"no deployed process definition found with id '{definition_id}'"
            )
        processes, problems = parse_bpmn(self._store.resource_data(row.deployment_id, row.resource))
        if problems:  # it was deployed to a Gossamer that knew more, or checked less
            raise StepFailed(f"{definition_id} is no longer run: {problems[0].message}")
        process = next(process for process in processes if process.id == row.key)
        definition = Definition(
            row.id, row.key, row.version, row.deployment_id, row.resource, process
        )
        return definition, Flow(process)


def _read_files(files: Mapping[str, bytes]) -> list[tuple[str, Process]]:
    found: list[tuple[str, Process]] = []
    problems: dict[str, list[Problem]] = {}
    for resource, data in files.items():
        if resource.endswith(BPMN_SUFFIXES):
            processes, wrong = parse_bpmn(data)
        else:
            suffixes = " or ".join(BPMN_SUFFIXES)
            processes, wrong = [], [Problem(f"{resource} is not deployed: only {suffixes} are")]
        known = {process.id for _, process in found}
        wrong += [
            Problem(f"another file has a process '{process.id}', too", process.id)
            for process in processes
            if process.id in known
        ]
        found += [(resource, process) for process in processes]
        if wrong:
            problems[resource] = wrong
    if problems:
        raise ProcessRefused(problems)
    return found
