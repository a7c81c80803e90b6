"""What runs of workflows cost on each storage, by hand, and until they are in a page."""
