"""The README's program joins a mesh as it stands."""

import base64
import re
from pathlib import Path

import pytest
import trio
from tests.patience import patience

from gossamer_mesh.drivers import MeshConfig, open_mesh
from gossamer_mesh.identity import Identity
from gossamer_mesh.keyring import Keyring

README = Path(__file__).parents[2] / "mesh" / "README.md"
KEY = bytes(range(32))


async def test_the_program_of_the_readme_joins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert code is not None
    (tmp_path / "mesh.key").write_bytes(base64.b64encode(KEY))
    (tmp_path / "mesh.key").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    async with open_mesh(MeshConfig(identity=Identity.generate(), keyring=Keyring((KEY,)))) as mesh:
        here = code[1].replace('"10.0.0.1", 7946', f'"127.0.0.1", {mesh.address[1]}')
        here = here.replace('"0.0.0.0"', '"127.0.0.1"').replace("port=7946", "port=0")
        names: dict[str, object] = {}
        exec(compile(here.replace("trio.run(main)", ""), str(README), "exec"), names)
        main = names["main"]
        assert callable(main)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(main)
            with patience():
                event = await mesh.next_event()
            assert (event.kind, event.member.tags) == ("joined", {"role": "worker"})
            nursery.cancel_scope.cancel()
