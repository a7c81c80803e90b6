"""What the mesh raises. Four kinds of blame, so that a caller knows whose move is next.

Junk from the network is in none of them: it is counted and dropped, never raised.
"""


class MeshError(Exception):
    """Anything that this package raises on purpose."""


class MisuseError(MeshError):
    """Our own caller broke a rule of the API; the object is as it was before the call."""


class KeyFileError(MeshError):
    """A key file is missing, unreadable, of the wrong form, or open to other users."""


class ListenError(MeshError):
    """An address cannot be bound: it is in use, or is not an address of this machine."""


class JoinError(MeshError):
    """No seed answered: nobody is there, or what is there is no member of this mesh."""


class ForeignMeshError(JoinError):
    """A seed is a node with another mesh key or mesh name: asking again will not help."""


class IdentityTakenError(MeshError):
    """Another process has this node's key file, and the mesh took that one for the node."""


class PeerError(MeshError):
    """A member did not do what it was asked: out of reach, somebody else, or silent."""


class OrderError(MeshError):
    """An order is not to be followed: not of an operator, replayed, or not for this state."""
