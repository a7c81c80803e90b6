"""The doors to workflows by their OpenAPI: the document is right, and nothing that it allows or
forbids is a server error."""

import sys
from pathlib import Path

import openapi_spec_validator
import trio
from tests.gateway.test_v1_api import CHECKS
from tests.runs.worlds import World


async def test_the_document_has_the_doors(world: World) -> None:
    told = (await world.http.get("/v1/openapi.json")).json()
    openapi_spec_validator.validate(told)
    assert {
        "/workflow/", "/workflow/{id}", "/workflow/{id}/trigger", "/workflow/run/{run}",
        "/workflow/jobs/fetch", "/executions", "/executions/{run}",
    } <= set(told["paths"])  # fmt: skip
    made = told["paths"]["/workflow/"]["post"]
    assert set(made["responses"]["201"]["content"]) == {"application/json", "text/plain"}
    assert set(made["requestBody"]["content"]) == {"application/json", "application/yaml"}


async def test_no_request_by_the_document_is_a_server_error(world: World, tmp_path: Path) -> None:
    """schemathesis makes them up, right ones and wrong ones; its report names the seed.

    A fetch is left out: one that is right waits, and `test_runs_api_bad` has the wrong ones.
    """
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run",
        f"{world.whole.gateway.url}/v1/openapi.json", f"--checks={CHECKS}", "--max-examples=15",
        "--include-path-regex=^/(workflow|executions)", "--exclude-path=/workflow/jobs/fetch",
        "--phases=examples,coverage,fuzzing", "--generation-database=none", "--request-timeout=30",
    ]  # fmt: skip
    done = await trio.run_process(
        command, capture_stdout=True, capture_stderr=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout.decode()[-8_000:] + done.stderr.decode()[-2_000:]
