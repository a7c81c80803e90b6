"""Virtual time and networks for tests of the mesh's state machines; imported by tests only."""
