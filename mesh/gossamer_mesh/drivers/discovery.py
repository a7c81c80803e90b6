"""Members on the local network, by zeroconf (DNS-SD over multicast): announce and find.

Each node announces its address under its node id, with the mesh's name beside it, and hears of
others of that name. What is found is only a hint where to ask: who answers there proves itself by
the mesh key like anyone. The library brings its own threads and event loop; results come back
through trio's token, and its blocking calls run in worker threads.
"""

import ipaddress
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

import trio
from zeroconf import (
    Error,
    InterfaceChoice,
    ServiceBrowser,
    ServiceInfo,
    ServiceListener,
    Zeroconf,
)

from gossamer_mesh.drivers.config import Address

SERVICE_TYPE = "_gossamer._udp.local."
"""RFC 6763 §7: at most 15 characters of name."""

ANSWER_TIMEOUT_MS = 1_000
"""For the address behind an announced name; it mostly comes with the announcement. Stopping waits
for a lookup that runs: closed under it, zeroconf ends its thread with an error nobody can catch."""

STOP_TIMEOUT_S = 5.0
"""For a running lookup and the goodbye on the network, three datagrams some 100 ms apart."""

_log = logging.getLogger("gossamer.mesh")


async def discover(
    *,
    mesh_name: str,
    node_id: str,
    address: Address,
    bound_host: str,
    found: Callable[[Address], None],
) -> None:
    """Announces `address` and tells of others until cancelled; without multicast, only logs so.

    Args:
        mesh_name: only members of this mesh are told of.
        node_id: the announced instance.
        address: what other members use, the host in digits.
        bound_host: the interface with this address takes part; for a wildcard, all do.
        found: called in trio's thread, again each time a member is announced again.
    """
    token = trio.lowlevel.current_trio_token()
    zeroconf: Zeroconf | None = None
    browser: ServiceBrowser | None = None

    def start() -> None:
        nonlocal zeroconf, browser
        zeroconf = Zeroconf(interfaces=_interfaces(bound_host))
        zeroconf.register_service(_announcement(mesh_name, node_id, address))
        listener = _Listener(mesh_name, node_id, lambda each: token.run_sync_soon(found, each))
        browser = ServiceBrowser(zeroconf, SERVICE_TYPE, listener)

    def stop() -> None:
        if browser is not None:
            browser.cancel()
        if zeroconf is not None:
            zeroconf.close()

    try:
        try:
            await trio.to_thread.run_sync(start)
        except (OSError, Error) as error:
            _log.warning("discovery is off, multicast does not work here: %s", error)
        await trio.sleep_forever()
    finally:
        with trio.move_on_after(STOP_TIMEOUT_S, shield=True):
            await trio.to_thread.run_sync(stop, abandon_on_cancel=True)


class _Listener(ServiceListener):
    """Runs in zeroconf's thread."""

    def __init__(self, mesh_name: str, node_id: str, tell: Callable[[Address], None]) -> None:
        self._mesh_name = mesh_name
        self._own = f"{node_id}.{SERVICE_TYPE}"
        self._tell = tell

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        if name == self._own:
            return
        try:
            info = zc.get_service_info(type_, name, ANSWER_TIMEOUT_MS)
        except Error as error:  # its own loop was too busy
            _log.debug("the address of %s was not found: %s", name, error)
            return
        if info is None or info.port is None:
            return
        if info.properties.get(b"mesh") != self._mesh_name.encode():
            return
        for host in info.parsed_addresses():
            with suppress(trio.RunFinishedError):
                self._tell((host, info.port))

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.add_service(zc, type_, name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """Who has gone is the membership protocol's to find out."""


def _announcement(mesh_name: str, node_id: str, address: Address) -> ServiceInfo:
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return ServiceInfo(
        SERVICE_TYPE,
        f"{node_id}.{SERVICE_TYPE}",
        port=port,
        addresses=[socket.inet_pton(family, host)],
        properties={"mesh": mesh_name},
        server=f"{node_id}.local.",
    )


def _interfaces(bound_host: str) -> InterfaceChoice | list[str]:
    try:
        if ipaddress.ip_address(bound_host).is_unspecified:
            return InterfaceChoice.All
    except ValueError:  # a name
        return InterfaceChoice.Default
    return [bound_host]
