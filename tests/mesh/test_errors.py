"""Every error of the mesh says whose fault it is by its class."""

from gossamer_mesh import errors


def test_all_share_one_base() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert all(issubclass(kind, errors.MeshError) for kind in kinds)
