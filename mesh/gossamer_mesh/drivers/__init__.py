"""The mesh on trio: `open_mesh` runs the cores of this package on real sockets."""

from gossamer_mesh.drivers.config import (
    Address,
    Member,
    MemberEvent,
    MemberEventKind,
    MemberState,
    MeshConfig,
    Plain,
)
from gossamer_mesh.drivers.mesh import Mesh, open_mesh

__all__ = [
    "Address",
    "Member",
    "MemberEvent",
    "MemberEventKind",
    "MemberState",
    "Mesh",
    "MeshConfig",
    "Plain",
    "open_mesh",
]
