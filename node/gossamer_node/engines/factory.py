"""From an engine's configuration to its adapter: the only place that knows every kind."""

from gossamer_node.engines.camunda7 import Camunda7
from gossamer_node.engines.camunda8 import Camunda8
from gossamer_node.engines.camunda8_either import Camunda8Either
from gossamer_node.engines.config import EngineConfig
from gossamer_node.engines.port import Engine


def open_engine(config: EngineConfig) -> Engine:
    """The adapter for `config`. It connects with the first call, not before.

    Raises:
        InputError: the CA file can't be used.
    """
    match config.kind:
        case "camunda7":
            return Camunda7(config)
        case "camunda8":
            return Camunda8(config) if config.grpc is None else Camunda8Either(config)
