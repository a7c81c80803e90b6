"""Keys of dense services over the mesh: one turn at a time, and state that moves with it."""
