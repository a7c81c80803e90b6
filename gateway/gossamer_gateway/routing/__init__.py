"""Which engine a new instance starts in, as every gateway of a mesh decides it alike."""
