"""The door as a running gateway has it: its keys and tokens kept new, in front of both servers."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import trio

from gossamer_gateway.door.api_keys import Keyring
from gossamer_gateway.door.calls import admit_call
from gossamer_gateway.door.config import DoorConfig
from gossamer_gateway.door.gate import Gate
from gossamer_gateway.door.key_desk import KeyDesk
from gossamer_gateway.door.key_sets import KeySet, open_client
from gossamer_gateway.grpc import Asked, Handler
from gossamer_gateway.storage import Storage


@dataclass(frozen=True, slots=True)
class Opened:
    """What a running gateway has of its door."""

    gate: Gate
    keys: KeyDesk

    def guarded(self, methods: Mapping[str, Handler]) -> dict[str, Handler]:
        """gRPC methods behind the door."""
        return {path: self._guarded(handler) for path, handler in methods.items()}

    def _guarded(self, handler: Handler) -> Handler:
        async def admitted(asked: Asked) -> None:
            async with admit_call(self.gate, asked.metadata, asked.certificate, asked.path):
                await handler(asked)

        return admitted


@asynccontextmanager
async def open_door(config: DoorConfig, storage: Storage) -> AsyncIterator[Opened]:
    """Reads the API keys, and keeps all that says who somebody is new until the block ends.

    Raises: StorageFailed.
    """
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        keyring = Keyring()
        keys = KeyDesk(storage, keyring)
        await keys.look()
        key_set = None
        if config.issuer is not None:
            client = await stack.enter_async_context(open_client())
            key_set = KeySet(config.issuer, client, _now_ms)
            nursery.start_soon(key_set.run)
        if config.takes_keys:
            nursery.start_soon(keys.run)
        gate = Gate(
            config,
            keyring=keyring if config.takes_keys else None,
            key_set=key_set,
            now_ms=_now_ms,
        )
        yield Opened(gate, keys)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
