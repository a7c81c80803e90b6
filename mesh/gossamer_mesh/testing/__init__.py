"""Virtual time, a seeded network, and clusters of the real cores on both: for tests only."""
