"""What runs cost: steps by the engine on each storage, and beside it the same by hand."""
