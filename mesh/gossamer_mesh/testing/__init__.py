<<<<<<< HEAD
"""Virtual time, a seeded network, and clusters of the real cores on both: for tests only."""
=======
"""Virtual time and networks for tests of the mesh's state machines; imported by tests only."""
>>>>>>> leases
